"""Thresholds for a strong share, and the smallest share that keeps a quality."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.learned.calibration import LEAST, TooFewPrompts, calibration, keeping, threshold_for
from proxy.learned.measures import Run

SCORES = np.random.default_rng(0).beta(4, 5, 5000)
ABOUT = {"router_hash": "a", "strong": "s", "weak": "w", "made": "2026-11-21", "data_hash": "b"}


@given(st.floats(0.01, 1))
def test_the_share_of_the_sample_is_what_was_wanted(wanted: float) -> None:
    found = threshold_for(SCORES, wanted)
    assert found.share == pytest.approx(wanted, abs=1 / len(SCORES) + 1e-9)
    assert found.low <= found.value <= found.high
    assert found.share_low <= found.share <= found.share_high


def test_the_file_says_what_it_is_of() -> None:
    made = calibration(SCORES, **ABOUT)
    assert (made.version, made.n, made.router_hash, made.data_hash) == (1, 5000, "a", "b")
    assert len(made.quantiles) == 201
    assert list(made.quantiles) == sorted(made.quantiles)


def test_nothing_goes_to_the_strong_model_when_its_share_is_none() -> None:
    assert threshold_for(SCORES, 0).value == inf
    assert threshold_for(SCORES, 0).share == 0


def test_equal_scores_are_told() -> None:
    """Half of the prompts have one score: 30 % of them cannot be told apart from the others."""
    found = threshold_for(np.concatenate((np.full(200, 0.5), np.linspace(0, 0.4, 200))), 0.3)
    assert found.share == 0.5


def test_the_interval_covers_thresholds_of_other_samples() -> None:
    """Of 40 small samples at most 6 intervals may miss the threshold of the whole."""
    truth = threshold_for(SCORES, 0.3).value
    dice = np.random.default_rng(1)
    found = [threshold_for(dice.choice(SCORES, 300), 0.3) for _ in range(40)]
    assert sum(not each.low <= truth <= each.high for each in found) <= 6


def test_too_few_prompts_are_refused_with_what_to_do() -> None:
    few = SCORES[: LEAST - 1]
    for refused in (lambda: threshold_for(few, 0.3), lambda: calibration(few, **ABOUT)):
        with pytest.raises(TooFewPrompts, match=r"199 prompts are too few .* at least 200"):
            refused()


def labelled(size: int, seed: int) -> Run:
    dice = np.random.default_rng(seed)
    need = dice.random(size)
    weak = (dice.random(size) > need).astype(np.float64)
    return Run(need, np.maximum(weak, dice.random(size) < 0.8), weak, np.arange(size))


def test_a_quality_is_kept_on_other_prompts_of_the_same_kind() -> None:
    kept = keeping(labelled(2000, 0), 0.95, draws=200)
    assert kept.low >= 0.95
    assert kept.expected >= kept.low
    other = labelled(20_000, 1)
    chosen = other.scores >= np.quantile(other.scores, 1 - kept.share)
    assert np.where(chosen, other.strong, other.weak).mean() >= 0.95 * other.strong.mean()
    assert kept.share < 0.8


def test_fewer_prompts_need_more_calls_to_be_sure() -> None:
    shares = [keeping(labelled(size, 2), 0.95, draws=200).share for size in (250, 5000)]
    assert shares[0] > shares[1]


def test_a_weak_model_that_is_as_good_needs_no_strong_calls() -> None:
    run = labelled(500, 3)
    assert keeping(Run(run.scores, run.weak, run.weak, run.key), 0.95, draws=50).share == 0
