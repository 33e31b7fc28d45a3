"""From outputs to probabilities: they come out right on average, and no two prompts change places."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proxy.learned import platt


def test_probabilities_come_out_right_where_the_curve_is_no_logistic_one() -> None:
    dice = np.random.default_rng(1)
    outputs = dice.normal(size=8000)
    truth = np.where(outputs > 0.5, 0.6, np.where(outputs > -0.5, 0.25, 0.05))
    won = (dice.random(8000) < truth).astype(float)
    curve = platt.fit(outputs, won)
    chances = platt.probability(np.array([curve.corrected(curve.slope * each + curve.intercept) for each in outputs]))
    for low, high in ((-9, -0.7), (-0.3, 0.3), (0.7, 9)):
        some = (outputs > low) & (outputs < high)
        assert abs(chances[some].mean() - truth[some].mean()) < 0.03


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), max_size=40), st.integers(1, 30))
def test_the_curve_keeps_the_order(pairs: list[tuple[float, bool]], times: int) -> None:
    outputs = np.array([output for output, _ in pairs] * times, np.float64)
    won = np.array([lucky for _, lucky in pairs] * times, np.float64)
    if not len(outputs):
        return
    curve = platt.fit(outputs, won)
    margins = curve.slope * np.linspace(-4, 4, 50) + curve.intercept
    logits = [curve.corrected(margin) for margin in margins.tolist()]
    assert curve.slope > 0
    assert all(first < second for first, second in pairwise(logits))


def test_isotonic_regression_pools_neighbours_that_fall() -> None:
    assert platt.rising(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)).tolist() == [1, 2.5, 2.5, 4]
    assert platt.rising(np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 2.0])).tolist() == [1.75] * 3
