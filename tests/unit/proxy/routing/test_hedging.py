"""A hedge waits for what is late, and no window ever holds more of them than its share."""

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.routing.hedging import BLOCKS, Hedges

SHARES = st.sampled_from([0.02, 0.03, 0.05])
STEPS = st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=300)
"""Seconds since the step before, and whether it is a request that begins or one that asks for a hedge."""


@settings(max_examples=100)
@given(SHARES, STEPS)
def test_no_window_holds_more_hedges_than_its_share_of_what_began(
    share: float, steps: list[tuple[float, bool]]
) -> None:
    hedges, now, began, taken = Hedges(share, 0.5), 1000.0, list[float](), list[float]()
    block = 60.0 / BLOCKS
    for wait, begins in [*((0.0, True) for _ in range(60)), *steps]:
        now += wait
        if begins:
            began.append(now)
            assert hedges.due(now) == 0.5
        elif hedges.take(now):
            taken.append(now)
            oldest = (now // block - BLOCKS + 1) * block  # the window slides by whole blocks
            inside = [sum(each >= oldest for each in times) for times in (taken, began)]
            assert inside[0] <= share * inside[1]


@given(SHARES, st.integers(0, 500))
def test_as_many_as_the_share_allows_are_taken_in_one_moment(share: float, requests: int) -> None:
    hedges = Hedges(share, 2.0)
    for _ in range(requests):
        hedges.due(5.0)
    taken = sum(hedges.take(5.0) for _ in range(requests))
    assert taken <= share * requests < taken + 1


def test_a_window_that_is_over_allows_nothing() -> None:
    hedges = Hedges(0.05, 2.0)
    for _ in range(100):
        hedges.due(0.0)
    assert hedges.take(59.0)
    assert not hedges.take(60.0)
