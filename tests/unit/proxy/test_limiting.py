"""The limit of a backend follows its times to the first token: down when they grow with what runs, and up again."""

from collections.abc import Callable
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.limiting import FEW, LEAST, MEASURE, Bounds, Limit

KIND = ("model", 5)


def queue_behind(capacity: int, service: float, base: float = 0.2) -> Callable[[int], float]:
    """A server that works on `capacity` requests, each for `service` seconds, and lets the rest wait."""
    return lambda among: base + max(0, among - capacity) * service / capacity


def run(limit: Limit, first: Callable[[int], float], times: int, offered: int, now: float = 0.0) -> list[float]:
    """Times to the first token while `offered` are there at any time. Each is begun as one of as many as may."""
    seen = []
    for number in range(times):
        among = int(min(offered, max(1, limit.value)))
        seen.append(first(among))
        limit.first(KIND, seen[-1], among, now + number / 100)
    return seen


def half() -> float:
    return 0.5


def test_there_is_none_before_times_grow() -> None:
    limit = Limit(Bounds(), half)
    for among in (1, 10, 1000, 100_000):
        run(limit, lambda _: 0.3, 200, among)
    assert limit.value == inf


@given(st.integers(0, 2**32), st.floats(0.01, 0.4))
def test_a_machine_that_stutters_is_never_throttled(seed: int, base: float) -> None:
    dice, limit = Random(seed), Limit(Bounds(), half)
    run(limit, lambda _: base + dice.choice([0, 0, 0.1, 0.5, 0.95]), 500, 200)
    assert limit.value == inf


@pytest.mark.parametrize(("capacity", "service"), [(8, 0.5), (16, 2.0), (64, 4.0)])
def test_ten_times_too_many_are_held_back_and_the_others_keep_their_time(capacity: int, service: float) -> None:
    limit, first = Limit(Bounds(), half), queue_behind(capacity, service)
    run(limit, first, 50, capacity // 2)
    run(limit, first, 500, 10 * capacity)
    seen = run(limit, first, 500, 10 * capacity)
    assert capacity <= limit.value, "nothing of what it can do is lost"
    assert sorted(seen)[475] <= 2.0, "the usual time, and the buffer of a second"


def test_it_grows_again_when_the_backend_is_well_and_only_while_it_is_in_use() -> None:
    limit = Limit(Bounds(), half)
    run(limit, queue_behind(64, 2.0), 20, 32)
    run(limit, queue_behind(8, 2.0), 300, 300)
    run(limit, queue_behind(64, 2.0), 40, 2)
    low = limit.value
    assert low < 32
    run(limit, queue_behind(64, 2.0), 300, 2)
    assert limit.value == low
    run(limit, queue_behind(64, 2.0), 600, 300)
    assert limit.value >= 64


def test_it_stays_within_its_bounds() -> None:
    limit = Limit(Bounds(least=6, most=20), half)
    assert limit.value == 20
    run(limit, lambda _: 0.2, 100, 100)
    assert limit.value == 20
    values = []
    for _ in range(100):
        run(limit, lambda _: 60.0, 1, 20)
        values.append(limit.value)
    assert min(values) == 6
    fixed = Limit(Bounds(most=20, adaptive=False), half)
    run(fixed, lambda _: 0.2, FEW, 20)
    run(fixed, lambda _: 60.0, 100, 20)
    assert fixed.value == 20


def test_a_backend_that_has_become_slower_for_good_is_the_usual_after_a_while() -> None:
    limit = Limit(Bounds(), half)
    run(limit, lambda _: 0.2, 100, 50)
    run(limit, lambda _: 5.0, 60, 50)
    assert limit.value == LEAST
    run(limit, lambda _: 5.0, 2000, 50)
    assert limit.value >= 50


def test_long_prompts_are_compared_with_long_prompts() -> None:
    limit = Limit(Bounds(), half)
    for _ in range(200):
        limit.first(("model", 5), 0.2, 40, 0.0)
    for _ in range(200):
        limit.first(("model", 17), 20.0, 40, 0.0)
    assert limit.value == inf


def test_in_use_for_long_it_measures_anew_for_a_moment() -> None:
    limit, first = Limit(Bounds(most=100), half), queue_behind(10, 1.0)
    run(limit, first, 400, 200)  # overloaded from the start: that is what it thinks is usual
    high = limit.value
    run(limit, first, 10, 200, now=MEASURE * 1.2)
    assert limit.value == pytest.approx(high / 2, rel=0.2)
