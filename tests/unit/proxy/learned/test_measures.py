"""The cost-quality curve and its measures: by hand, by property, and against RouteLLM's definition read plainly."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.learned.measures import (
    Curve,
    Floats,
    Prices,
    Ranking,
    Run,
    apgr,
    calibration_error,
    cpt,
    estimates,
    of_oracle,
    of_random,
    share_at,
)

Outcomes = tuple[Floats, Floats, Floats]  # scores, strong, weak


def outcomes_of(size: int, levels: int, seed: int) -> Outcomes:
    """A few prompts, some with the same score, of which the strong model does better in all."""
    dice = np.random.default_rng(seed)
    scores, strong, weak = (dice.integers(0, levels, size) / levels for _ in range(3))
    while (strong - weak).sum() < 0.01:
        strong[strong.argmin()], weak[weak.argmax()] = 1, 0
    return scores, strong, weak


OUTCOMES = st.builds(outcomes_of, st.integers(2, 30), st.integers(2, 9), st.integers(0, 10_000))


def curve(*parts: Floats) -> Curve:
    return Ranking(*parts).curve()


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def test_four_prompts_by_hand() -> None:
    """The strong model helps with the first and the third of four prompts, and harms with the second."""
    drawn = curve(floats(0.9, 0.7, 0.4, 0.1), floats(1, 0, 1, 1), floats(0, 1, 0, 1))
    assert drawn.share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert drawn.quality.tolist() == [0.5, 0.75, 0.5, 0.75, 0.75]
    assert (drawn.weak, drawn.strong, drawn.gap) == (0.5, 0.75, 0.25)
    # PGR is 0, 1, 0, 1, 1: its area is 0.25 * (0.5 + 0.5 + 0.5 + 1).
    assert apgr(drawn) == pytest.approx(0.625)
    assert cpt(drawn, 0.5) == pytest.approx(0.125)
    assert cpt(drawn, 0.8) == pytest.approx(0.2)
    # 95 % of 0.75 is 0.7125, which is 85 % of the way to the first point.
    assert share_at(drawn, 0.95) == pytest.approx(0.2125)


def test_prompts_with_the_same_score_are_one_straight_line() -> None:
    drawn = curve(floats(0.5, 0.5, 0.2), floats(1, 1, 1), floats(0, 1, 0))
    assert drawn.share.tolist() == pytest.approx([0, 2 / 3, 1])
    assert drawn.quality.tolist() == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_weak_model_that_is_good_enough_costs_nothing() -> None:
    drawn = curve(floats(0.9, 0.1), floats(1, 1), floats(1, 0.96))
    assert share_at(drawn, 0.95) == 0


def test_where_the_strong_model_is_not_better_there_is_no_gap_to_recover() -> None:
    drawn = curve(floats(0.9, 0.1), floats(1, 0), floats(0, 1))
    assert isnan(apgr(drawn))
    assert isnan(cpt(drawn, 0.5))


def test_prices_make_costs_and_savings() -> None:
    prices = Prices(strong=10, weak=2)
    assert prices.cost(0.25) == 4
    assert prices.saving(0.25) == pytest.approx(0.6)
    assert Prices().saving(1) == 0


@pytest.mark.parametrize(
    "parts",
    [
        (floats(), floats(), floats()),
        (floats(1), floats(1, 0), floats(0)),
        (floats(float("nan")), floats(1), floats(0)),
    ],
)
def test_what_is_no_set_of_outcomes_is_refused(parts: Outcomes) -> None:
    with pytest.raises(ValueError, match="Scores and outcomes must be"):
        Ranking(*parts)


@given(OUTCOMES)
def test_a_router_that_knows_nothing_has_one_half(parts: Outcomes) -> None:
    _, strong, weak = parts
    same = curve(np.full(len(strong), 0.3), strong, weak)
    assert apgr(same) == pytest.approx(0.5)
    assert cpt(same, 0.3) == pytest.approx(0.3)
    straight = of_random(same.strong, same.weak)
    assert apgr(straight) == pytest.approx(0.5)
    assert share_at(straight, 0.95) == pytest.approx(share_at(same, 0.95))


@given(OUTCOMES)
def test_equal_scores_are_the_mean_of_their_orders(parts: Outcomes) -> None:
    """Forwards and backwards within each group of equal scores: the mean of the two areas is that of the line."""
    scores, strong, weak = parts
    place = np.arange(len(scores)) * 1e-6
    both = [apgr(curve(scores + sign * place, strong, weak)) for sign in (1, -1)]
    assert apgr(curve(scores, strong, weak)) == pytest.approx(np.mean(both))


@given(OUTCOMES)
def test_nobody_orders_better_than_the_oracle(parts: Outcomes) -> None:
    scores, strong, weak = parts
    drawn, best = curve(scores, strong, weak), of_oracle(strong, weak)
    grid = np.linspace(0, 1, 50)
    assert (best.at(grid) >= drawn.at(grid) - 1e-9).all()
    assert apgr(best) >= apgr(drawn) - 1e-9
    assert share_at(best, 0.95) <= share_at(drawn, 0.95) + 1e-9


@given(OUTCOMES)
def test_who_wants_more_of_the_gap_pays_for_more_calls(parts: Outcomes) -> None:
    drawn = curve(*parts)
    shares = [cpt(drawn, part) for part in np.linspace(0, 1, 21)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] <= 1


@given(OUTCOMES, st.sampled_from([np.exp, np.cbrt, lambda scores: 5 * scores - 3]))
def test_only_the_order_of_the_scores_matters(parts: Outcomes, function: object) -> None:
    scores, strong, weak = parts
    moved = function(scores)  # type: ignore[operator]  # one of the three above
    assert apgr(curve(moved, strong, weak)) == pytest.approx(apgr(curve(scores, strong, weak)))


@given(OUTCOMES)
def test_counting_a_prompt_twice_is_as_having_it_twice(parts: Outcomes) -> None:
    weights = np.arange(len(parts[0])) % 3 + 0.0
    if not weights.any() or (weights * (parts[1] - parts[2])).sum() < 0.01:
        return
    weighted = Ranking(*parts).curve(weights)
    repeated = curve(*(np.repeat(part, weights.astype(int)) for part in parts))
    assert apgr(weighted) == pytest.approx(apgr(repeated))
    assert cpt(weighted, 0.5) == pytest.approx(cpt(repeated, 0.5))


@given(OUTCOMES)
def test_as_routellm_defines_it(parts: Outcomes) -> None:
    """Its program, read plainly: route at every threshold, count the calls and the right answers, draw lines."""
    scores, strong, weak = parts
    calls, accuracy = [], []
    for threshold in [*sorted(set(scores), reverse=True), -1.0]:
        for chosen in (scores > threshold, scores >= threshold):
            calls.append(chosen.mean())
            accuracy.append(np.where(chosen, strong, weak).mean())
    area = sum((accuracy[i] + accuracy[i + 1]) / 2 * (calls[i + 1] - calls[i]) for i in range(len(calls) - 1))
    drawn = curve(*parts)
    assert apgr(drawn) == pytest.approx((area - weak.mean()) / (strong.mean() - weak.mean()))
    wanted = weak.mean() + 0.5 * (strong.mean() - weak.mean())
    last = next(i for i, each in enumerate(accuracy) if each >= wanted - 1e-12)
    rise = accuracy[last] - accuracy[last - 1]
    way = (wanted - accuracy[last - 1]) / rise * (calls[last] - calls[last - 1])
    assert cpt(drawn, 0.5) == pytest.approx(calls[last - 1] + way)


def test_what_is_said_and_what_happens_are_compared_in_bins() -> None:
    said = np.repeat([0.2, 0.8], 100)
    happened = np.tile([0.0, 0.0, 0.0, 1.0], 50)  # a quarter, in both
    assert calibration_error(said, happened, bins=2) == pytest.approx((0.05 + 0.55) / 2)
    assert calibration_error(np.full(200, 0.25), happened) == pytest.approx(0)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Of 60 samples whose true APGR is known, at most 9 may miss it: so many do once in a thousand times."""
    dice = np.random.default_rng(7)
    missed = 0
    for seed in range(60):
        scores = dice.random(400)
        helps = dice.random(400) < scores  # chance of a gain: the score; the true curve is 2c - c², its area 2/3
        run = Run(scores, helps.astype(np.float64), np.zeros(400), np.arange(400))
        [found] = estimates([run], lambda drawn: [apgr(drawn)], draws=100, seed=seed)
        missed += not found.low <= 2 / 3 <= found.high
    assert missed <= 9


def test_rows_of_one_question_are_drawn_together() -> None:
    """The same row ten times over says no more than once, so the interval must not shrink."""
    dice = np.random.default_rng(3)
    scores, strong, weak = dice.random(100), dice.integers(1, 3, 100) / 2, dice.integers(0, 2, 100) / 2
    once = Run(scores, strong, weak, np.arange(100))
    ten = Run(*(np.tile(part, 10) for part in (scores, strong, weak)), np.tile(np.arange(100), 10))
    one, other = (estimates([run], lambda drawn: [apgr(drawn)], draws=100)[0] for run in (once, ten))
    assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_several_runs_give_the_mean_of_their_measures() -> None:
    good = Run(floats(1, 0), floats(1, 1), floats(0, 1), np.arange(2))
    bad = Run(floats(0, 1), floats(1, 1), floats(0, 1), np.arange(2))
    [found] = estimates([good, bad], lambda drawn: [apgr(drawn)], draws=1)
    assert found.value == pytest.approx((0.75 + 0.25) / 2)


def test_without_a_gap_in_most_samples_there_is_no_interval() -> None:
    run = Run(floats(1, 0, 0.5), floats(1, 0, 0.5), floats(0, 1, 0.4), np.arange(3))
    [found] = estimates([run], lambda drawn: [apgr(drawn)], draws=50)
    assert isnan(found.low)
    assert isnan(found.high)
