"""scripts/train-router: from a file of outcomes to weights that can be used, and what it says of a bad one."""

import subprocess
from pathlib import Path

from backends.json import dumps
from proxy.learned.router import LearnedRouter
from tests.unit.proxy.learned.outcomes import some

PROGRAM = Path(__file__).parents[4] / "scripts" / "train-router"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100)


def test_a_file_of_outcomes_becomes_weights(tmp_path: Path) -> None:
    lines = [
        {"prompt": row.prompt, "scores": {"big": 1, "small": number % 2}, "license": "MIT" if number < 80 else "mine"}
        for number, row in enumerate(some(1000)[:100])
    ]
    (tmp_path / "own.jsonl").write_bytes(b"\n".join(map(dumps, lines)))
    out = tmp_path / "own.npz"
    done = run(
        "--data",
        tmp_path / "own.jsonl",
        "--out",
        out,
        "--licenses",
        "Apache-2.0, MIT",
        "--strong",
        "big",
        "--weak",
        "small",
    )
    assert done.returncode == 0, done.stderr
    assert "80 prompts" in done.stderr
    router = LearnedRouter.load(out)
    assert (router.card["rows"], router.card["licenses"]) == (80, ["Apache-2.0", "MIT"])
    assert (router.pair().strong, router.pair().weak) == ("big", "small")


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": "p"}\n')
    done = run("--data", tmp_path / "bad.jsonl", "--out", tmp_path / "never.npz")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Line 1: `scores` must name at least one model")
    assert not (tmp_path / "never.npz").exists()
    assert "name both sides" in run("--data", "x", "--strong", "a").stderr
