"""The simulated day, as its reader starts it: a table, a picture, and words where an option is wrong."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts" / "simulate", *options], capture_output=True, text=True, check=False)


def test_an_hour_of_it_is_a_table_and_a_picture(tmp_path: Path) -> None:
    options = ("--hours", "1", "--seed", "3", "--strategies", "ordered", "least_busy", "--out", str(tmp_path / "new"))
    done = simulate(*options)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if "%" in line}
    assert list(rows) == ["ordered", "least_busy"]
    assert int(rows["ordered"][1]) > 50
    drawn = ElementTree.fromstring((tmp_path / "new" / "simulation.svg").read_text())
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ordered", "least busy", "gone", "swift"} <= set(words)
    again = simulate(*options[:-2])
    numbers = [line for line in again.stdout.splitlines() if "%" in line]
    assert numbers == [line for line in done.stdout.splitlines() if "%" in line], "the same dice, the same day"


def test_a_strategy_that_there_is_not_is_told_with_those_that_there_are() -> None:
    done = simulate("--strategies", "cheapest")
    assert done.returncode == 2
    assert "lowest_cost" in done.stderr
    assert not done.stdout
