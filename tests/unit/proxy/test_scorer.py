"""The learned router as the gateway asks it: where a score lies in a calibration, and which file it takes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config_router import Router
from proxy.dispatch_setup import scorers_of
from proxy.learned.calibration import calibration, threshold_for
from proxy.learned.router import LearnedRouter, Scored
from proxy.ports import StartError
from proxy.routing.choosing import rung
from proxy.runtime import RouterAsk
from proxy.scorer import LearnedScorer

ABOUT = {"router_hash": "a", "strong": "s", "weak": "w", "made": "2026-11-21", "data_hash": "b"}
PAIR = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
PROMPT = "A shop sells pens at 3 dollars each. Tom buys 4 pens. How much does he pay?"


class Said:
    """A learned router that says the next of some scores."""

    def __init__(self, scores: Any) -> None:
        self._scores = iter(scores)

    def score(self, _: str) -> Scored:
        return Scored(float(next(self._scores)), 0.0, False)


def strong(scores: Any, quantiles: Any, share: float) -> float:
    """The part of the scores for which the gateway asks the strong model first."""
    scorer = LearnedScorer(Said(scores), quantiles)  # type: ignore[arg-type]  # what is asked of it is here
    ask = RouterAsk("auto", (1 - share, share))
    return sum(rung(2, ask, scorer.scored("")) for _ in scores) / len(scores)


@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_gateway_sends_the_wanted_share_of_calibrated_prompts_to_the_strong_model(share: float, seed: int) -> None:
    scores = np.random.default_rng(seed).random(500)
    assert strong(scores, calibration(scores, **ABOUT).quantiles, share) == pytest.approx(share, abs=0.006)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.95, 1.0])
def test_the_gateway_does_with_equal_scores_what_the_calibration_told(share: float) -> None:
    scores = np.concatenate((np.linspace(0.1, 0.2, 50), np.full(320, 0.3), np.linspace(0.4, 0.5, 50)))
    told = threshold_for(scores, share).share
    assert strong(scores, calibration(scores, **ABOUT).quantiles, share) == pytest.approx(told, abs=0.01)


def test_a_strong_share_of_none_is_none_also_for_the_highest_score() -> None:
    assert strong([0.9], [0.1, 0.2], 0.0) == 0
    assert strong([0.0], [0.1, 0.2], 1.0) == 1


def calibrated(file: Path, **changes: Any) -> Router:
    """A [router] with a calibration for the shipped weights and their pair, but for `changes`."""
    made = {"version": 1, "router_hash": LearnedRouter.load().hash, "strong": PAIR[0], "weak": PAIR[1]}
    file.write_text(json.dumps({**made, "quantiles": [0.1, 0.2], **changes}))
    return Router(strong=("a/m",), weak=("b/m",), calibration=file)


def test_a_calibration_says_where_a_score_lies(tmp_path: Path) -> None:
    scorer = scorers_of(calibrated(tmp_path / "made.json"))["streamlane"]
    assert scorer.scored(PROMPT).share == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"router_hash": "other"}, "made for other weights"),
        ({"strong": "gemini-1.5-pro"}, "made for gemini-1.5-pro and mixtral-8x7b-instruct-v0.1"),
        ({"weak": "gemini-1.5-flash"}, "made for gpt-4-1106-preview and gemini-1.5-flash"),
        ({"version": 2}, "holds no calibration"),
        ({"quantiles": [0.2, 0.1]}, "not in order"),
        ({"quantiles": []}, "not in order"),
        ({"quantiles": "x"}, "holds no calibration"),
    ],
)
def test_a_calibration_of_something_else_is_refused(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=why) as refused:
        scorers_of(calibrated(tmp_path / "made.json", **changes))
    assert "streamlane router calibrate" in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b'{"router_hash": "\xff"}', b'{"x": ' + b"[" * 100_000])
def test_a_calibration_that_cannot_be_read_is_refused(text: bytes, tmp_path: Path) -> None:
    options = calibrated(tmp_path / "made.json")
    (tmp_path / "made.json").write_bytes(text)
    with pytest.raises(StartError, match="holds no calibration"):
        scorers_of(options)
