"""Training: a few hundred rows already tell something, the same rows always the same, and a base is kept close to."""

from dataclasses import replace

import numpy as np
import pytest

from proxy.learned.measures import Ranking, apgr
from proxy.learned.router import LearnedRouter
from proxy.learned.rows import Row
from proxy.learned.training import STRONG as STRONG_TIER
from proxy.learned.training import WEAK as WEAK_TIER
from proxy.learned.training import TooFewRows, fit
from proxy.learned.weights import Weights, packed, read
from tests.unit.proxy.learned.outcomes import STRONG, WEAK, everything, some

PAIR = (STRONG, WEAK)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return some(1000)


@pytest.fixture(scope="module")
def small(rows: list[Row]) -> Weights:
    return fit(rows[::2], models=PAIR, default=PAIR)


def gained(weights: Weights, rows: list[Row]) -> float:
    scores = LearnedRouter(weights).pair().scores(row.prompt for row in rows)
    strong, weak = (np.array([row.scores[model] for row in rows]) for model in PAIR)
    return apgr(Ranking(scores, strong, weak).curve())


def test_a_few_hundred_rows_beat_chance_on_others(small: Weights, rows: list[Row]) -> None:
    keys = {row.key for row in rows[::2]}
    assert gained(small, [row for row in rows[1::2] if row.key not in keys]) > 0.55


def test_the_same_rows_teach_the_same(rows: list[Row]) -> None:
    first, second = (fit(rows[:200], models=PAIR, default=PAIR, seed=3) for _ in range(2))
    assert packed(first) == packed(second)


def test_models_that_answered_the_same_rows_share_a_panel() -> None:
    rows = [
        Row(f"Question {n} of many?", {"a": n % 2, "b": 1} | ({"c": 0} if n < 50 else {}), f"k{n}") for n in range(90)
    ]
    weights = fit(rows)
    assert [(panel.models, panel.rows) for panel in weights.panels] == [
        (("a", "b"), 90),
        (("a", "b", "c"), 50),
        ((STRONG_TIER, WEAK_TIER), 90),
    ]
    assert weights.default == (STRONG_TIER, WEAK_TIER)


def test_too_little_is_refused() -> None:
    with pytest.raises(TooFewRows, match="give at least 30"):
        fit(some(1000)[:29])
    with pytest.raises(TooFewRows, match="answered by the same model"):
        fit([Row(f"Question {n}?", {f"model {n}": 1.0}, f"k{n}") for n in range(40)])


def test_rows_that_count_nothing_teach_nothing(rows: list[Row]) -> None:
    some_count = [replace(row, weight=float(number < 60)) for number, row in enumerate(rows[:100])]
    assert packed(fit(some_count, models=PAIR, default=PAIR)) == packed(fit(rows[:60], models=PAIR, default=PAIR))
    with pytest.raises(TooFewRows, match="20 rows"):
        fit([replace(row, weight=float(number < 20)) for number, row in enumerate(rows[:100])], models=PAIR)


def test_part_of_a_success_and_weights_count(rows: list[Row]) -> None:
    halves = [replace(row, scores=dict.fromkeys(row.scores, 0.5)) for row in rows[:100]]
    router = LearnedRouter(fit(halves, models=PAIR, default=PAIR))
    assert all(router.pair().score(row.prompt).score < 0.1 for row in rows[:20]), "nobody ever wins a draw"
    twice = fit([*rows[:100], *rows[:50]], models=PAIR, default=PAIR)
    heavy = fit(
        [replace(row, weight=2.0 if n < 50 else 1.0) for n, row in enumerate(rows[:100])], models=PAIR, default=PAIR
    )
    assert twice.panels[0].bias[0] == pytest.approx(heavy.panels[0].bias[0], abs=0.05)


def test_few_rows_leave_a_base_nearly_as_it_was(rows: list[Row]) -> None:
    base = read()[0]
    moved = fit(rows[:60], models=PAIR, base=base)
    before, after = (
        LearnedRouter(weights).pair().scores([row.prompt for row in rows[500:700]]) for weights in (base, moved)
    )
    assert np.corrcoef(before, after)[0, 1] > 0.8
    assert {panel.models for panel in moved.panels} >= {panel.models for panel in base.panels if panel.models != PAIR}


def test_a_new_model_may_begin_like_a_known_one(rows: list[Row]) -> None:
    known = [replace(row, scores={"new": row.scores[STRONG], "old": row.scores[WEAK]}) for row in rows[:60]]
    base = read()[0]
    weights = fit(known, base=base, like={"new": STRONG, "old": WEAK}, default=("new", "old"))
    here = LearnedRouter(weights).pair().scores([row.prompt for row in rows[500:700]])
    there = LearnedRouter(base).pair().scores([row.prompt for row in rows[500:700]])
    assert np.corrcoef(here, there)[0, 1] > 0.8


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_shipped_weights_can_be_trained_again() -> None:
    shipped = read()[0]
    again = fit(everything(), default=PAIR)
    assert [panel.models for panel in again.panels] == [panel.models for panel in shipped.panels]
    prompts = [row.prompt for row in some(300)]
    for models in (PAIR, ("strong", "weak"), ("gemini-1.5-pro", "llama-3.1-8b-it")):
        mine, theirs = (LearnedRouter(weights).pair(*models).scores(prompts) for weights in (again, shipped))
        # Threads add up in another order, and the solver stops where more digits change no order of prompts.
        assert np.abs(mine - theirs).mean() < 0.005
        assert np.abs(mine - theirs).max() < 0.03
