"""`streamlane router history`, and `calibrate --from-history`: what they make of the file, or say without one."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from proxy.cli import app
from proxy.history.compact import compact
from proxy.history.history import Bounds, History, kept
from proxy.store.database import database
from tests.unit.proxy.history.test_history import LARGE, OUTCOME, ROUTED, ask


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMLANE_DATA_DIR", str(tmp_path))
    return tmp_path


async def written(folder: Path, *outcomes: Any) -> None:
    async with database(folder / "streamlane.db") as file:
        made = History(database=file, features=compact, prompts=False, bounds=Bounds(), now=lambda: 1_800_000_000.0)
        async with kept(made) as history:
            for outcome in outcomes:
                ask(history, outcome)
            if outcomes:
                await history.rate("me", outcomes[0].response_id, "up")


def said(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["router", *arguments])
    return done.exit_code, done.output


async def test_each_decision_is_a_line_with_why_who_cost_and_feedback(folder: Path) -> None:
    by_rule = replace(OUTCOME, response_id="resp_0", routed=replace(ROUTED, rule="code [x]", score=None), cost=None)
    broken = replace(OUTCOME, response_id="resp_3", status="failed", error="backend_failed", first_event=None)
    await written(folder, by_rule, OUTCOME, LARGE, broken)
    code, text = said("history")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert code == 0
    assert lines[1].endswith("auto 0.300 < 0.400 failed: backend_failed, after gpu/small $0.001234")
    assert lines[2].endswith("cloud/large asked again cloud/large, after gpu/small $0.001234")
    assert lines[3].endswith("auto 0.300 < 0.400 local/small, after gpu/small $0.001234 asked cloud/large again")
    assert lines[4].endswith("auto rule code [x] local/small, after gpu/small up")
    assert "These are the newest 2" in said("history", "--limit", "2")[1]
    [newest] = json.loads(said("history", "--limit", "1", "--json")[1])["data"]
    assert (newest["response_id"], newest["score"], newest["rating"]) == ("resp_3", 0.3, None)
    assert not {"features", "question"} & set(newest)


def test_without_a_history_it_says_what_to_do(folder: Path) -> None:
    code, text = said("history")
    assert code == 2
    assert f"{folder}/streamlane.db is not there" in text
    assert "Ask the gateway for auto" in text


async def test_the_history_calibrates_the_router(folder: Path) -> None:
    asked = [
        replace(OUTCOME, response_id=f"resp_{number}", routed=replace(ROUTED, question=f"What is {number} + {number}?"))
        for number in range(200)
    ]
    await written(folder, *asked[:50])
    code, text = said("calibrate", "--from-history", "--strong-share", "0.3")
    assert (code, "50 prompts are too few" in text) == (2, True)
    await written(folder, *asked)
    assert said("calibrate", "--from-history", "--strong-share", "0.3")[0] == 0
    made = json.loads((folder / "router-calibration.json").read_text())
    assert made["n"] == 250
    for wrong in (["--from-history", "--quality", "0.9"], ["--strong-share", "0.3"]):
        assert said("calibrate", *wrong)[0] == 2
