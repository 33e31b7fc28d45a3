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
    hedges, now, began, taken = Hedges(share, window=60.0), 1000.0, list[float](), list[float]()
    block = 60.0 / BLOCKS
    for wait, begins in [*((0.0, True) for _ in range(60)), *steps]:
        now += wait
        if begins:
            began.append(now)
            assert hedges.due(0.5, now) == 0.5
        elif hedges.take(now):
            taken.append(now)
            oldest = (now // block - BLOCKS + 1) * block  # the window slides by whole blocks
            inside = [sum(each >= oldest for each in times) for times in (taken, began)]
            assert inside[0] <= share * inside[1]


@given(SHARES, st.integers(0, 500))
def test_as_many_as_the_share_allows_are_taken_in_one_moment(share: float, requests: int) -> None:
    hedges = Hedges(share)
    for _ in range(requests):
        hedges.due(None, 5.0)
    taken = sum(hedges.take(5.0) for _ in range(requests))
    assert taken <= share * requests < taken + 1


def test_it_is_off_unless_somebody_wants_it() -> None:
    hedges = Hedges()
    assert hedges.due(0.5, 0.0) is None
    assert not hedges.take(0.0)


def test_the_wait_is_the_targets_own_or_the_operators() -> None:
    assert Hedges(0.05).due(0.7, 0.0) == 0.7
    assert Hedges(0.05).due(None, 0.0) is None, "nobody knows what is late there"
    assert Hedges(0.05, after=2.0).due(None, 0.0) == 2.0
    assert Hedges(0.05, after=2.0).due(0.7, 0.0) == 2.0


def test_a_window_that_is_over_allows_nothing() -> None:
    hedges = Hedges(0.05)
    for _ in range(100):
        hedges.due(0.5, 0.0)
    assert hedges.take(59.0)
    assert not hedges.take(60.0)
