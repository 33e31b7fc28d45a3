"""What providers and operators say of a pool, and what follows from it."""

import pytest

from quota.ledger import Denied, Observation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window
from tests.quota_desk import COUNTED, DAY_END, EVERY_WINDOW, LOS_ANGELES, MORNING, Desk, desk

# What providers say


@pytest.mark.parametrize("window", COUNTED)
def test_what_others_spent_is_booked(window: Window) -> None:
    there = desk(window)
    there.spend(p=2)
    there.observe(limit=10, remaining=5)
    assert there.at().used == 5
    there.observe(remaining=9)
    assert there.at().used == 5


def test_what_is_in_flight_may_be_what_the_provider_has_counted() -> None:
    there = desk(LOS_ANGELES)
    attempt = there.take(p=3)
    there.observe(remaining=6)
    assert (there.at().used, there.at().reserved) == (1, 3)
    there.settle(attempt)
    assert there.at().used == 4


def test_a_figure_just_after_midnight_may_be_of_yesterday() -> None:
    there = desk(LOS_ANGELES)
    there.now = DAY_END + MINUTE - 1
    there.observe(remaining=0)
    assert there.at().left == 0
    there.now += 1
    assert there.at().left == 10


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_a_smaller_limit_holds_at_once(window: Window) -> None:
    there = desk(window)
    there.observe(limit=4)
    assert (there.at().cap, there.at().left, there.at().source) == (4, 4, "header")
    there.observe(limit=3, remaining=3)
    assert there.at().left == 3


def test_a_greater_limit_said_twice_holds_from_the_next_window_on() -> None:
    there = desk(LOS_ANGELES)
    there.observe(limit=20)
    there.observe(limit=10)
    there.observe(limit=30)
    assert there.at().cap == 10
    there.observe(limit=25)
    assert (there.at().cap, there.at().left) == (10, 10)
    assert there.refuse(p=25).opens_at == DAY_END + MINUTE
    there.now = DAY_END + MINUTE
    assert there.at().cap == 25
    there.take(p=25)


@pytest.mark.parametrize("window", [Rolling(MINUTE), Gcra(MINUTE), Concurrent()])
def test_a_greater_limit_said_twice_holds_at_once_elsewhere(window: Window) -> None:
    there = desk(window)
    there.observe(limit=20)
    assert there.at().cap == 10
    there.observe(limit=20)
    assert (there.at().cap, there.at().left) == (20, 20)


def test_nobody_raises_what_the_operator_has_set() -> None:
    there = Desk(Pool("p", 10, Rolling(MINUTE), source="configuration"))
    for limit in (5, 100, 100, 100):
        there.observe(limit=limit)
    assert there.at().cap == 10


def test_what_is_older_than_the_last_word_is_ignored() -> None:
    there = desk(LOS_ANGELES)
    there.observe(remaining=8)
    there.book.observe(there.now, Observation("p", there.now - 1, "header", limit=1, remaining=0, refused=True))
    assert (there.at().cap, there.at().left) == (10, 8)
    there.book.observe(there.now, Observation("p", there.now + DAY, "header", remaining=7))  # its clock is ahead
    there.observe(remaining=6)
    assert there.at().left == 6
    there.observe("undefined", remaining=0)


def test_a_refusal_closes_until_the_stated_time() -> None:
    there = desk(LOS_ANGELES, 40)
    there.refused(MORNING + 36 * SECOND)
    assert there.refuse(p=1) == Denied("p", "closed", MORNING + 36 * SECOND)
    assert (there.at().left, there.at().closed_until) == (0, MORNING + 36 * SECOND)
    there.now += 36 * SECOND
    assert (there.at().left, there.at().margin) == (38, 2)
    there.refused(there.now + 1)
    there.now += 1
    assert there.at().margin == 4
    assert there.refuse(p=37) == Denied("p", "spent", DAY_END + MINUTE)
    there.now = DAY_END + MINUTE
    assert (there.at().left, there.at().margin) == (40, 0)


@pytest.mark.parametrize(
    ("window", "until"),
    [
        (LOS_ANGELES, DAY_END + MINUTE),
        (Rolling(HOUR), MORNING + HOUR),
        (Gcra(HOUR), MORNING + HOUR),
        (Concurrent(), MORNING + MINUTE),
    ],
)
@pytest.mark.parametrize("stated", [None, MORNING - 1])
def test_a_refusal_without_a_time_closes_for_the_window(window: Window, until: Micros, stated: Micros | None) -> None:
    there = desk(window)
    there.refused(stated)
    assert there.refuse(p=1) == Denied("p", "closed", until)


def test_a_credit_that_was_refused_opens_by_an_operators_word() -> None:
    there = desk(Fixed("ever"))
    there.refused()
    assert there.refuse(p=1) == Denied("p", "closed", None)
    there.book.define(MORNING, [Pool("p", 11, Fixed("ever"))])
    assert there.at().left == 11
    there.refused()
    there.book.adjust(MORNING, "p", 0, "paid")
    assert there.at().left == 11


# What operators say


@pytest.mark.parametrize("window", COUNTED)
def test_an_operator_books_more_or_less(window: Window) -> None:
    there = desk(window)
    there.book.adjust(MORNING, "p", 6, "counted")
    assert there.at().used == 6
    there.book.adjust(MORNING, "p", -4, "counted again")
    assert there.at().used == 2
    there.book.adjust(MORNING, "p", -4, "and again")
    assert there.at().used == 0
    with pytest.raises(KeyError):
        there.book.adjust(MORNING, "undefined", 1, "")


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_a_definition_holds_over_an_observation_when_its_cap_changes(window: Window) -> None:
    there = desk(window)
    there.observe(limit=4)
    there.book.define(MORNING, [Pool("p", 10, window, labels={"model": "m"})])
    assert (there.at().cap, there.at().pool.labels) == (4, {"model": "m"})
    there.book.define(MORNING, [Pool("p", 12, window, source="configuration")])
    assert (there.at().cap, there.at().source) == (12, "configuration")


def test_the_same_definition_again_is_no_news() -> None:
    there = desk(LOS_ANGELES)
    there.book.define(MORNING + HOUR, [Pool("p", 10, LOS_ANGELES)])
    assert not there.book.take().operations


def test_of_two_definitions_of_one_pool_the_last_holds() -> None:
    there = desk(Rolling(MINUTE))
    there.spend(p=4)
    there.book.define(MORNING, [Pool("p", 9, LOS_ANGELES), Pool("p", 8, Fixed("hour"))])
    assert (there.at().pool.window, there.at().cap, there.at().used) == (Fixed("hour"), 8, 4)


@pytest.mark.parametrize("before", COUNTED)
@pytest.mark.parametrize("after", COUNTED)
def test_another_window_counts_on(before: Window, after: Window) -> None:
    there = desk(before)
    there.spend("ann", p=4)
    attempt = there.take(p=2)
    there.book.define(MORNING, [Pool("p", 10, after)])
    there.write()
    assert (there.at().used, there.at().reserved, there.at().left) == (4, 2, 4)
    assert there.at().shares == ({} if before != after else {"ann": 4})  # whose it was is not carried over
    there.settle(attempt)
    assert there.at().used == 6


@pytest.mark.parametrize(
    "pool",
    [
        Pool("q", -1, LOS_ANGELES),
        Pool("q", 1, LOS_ANGELES, margin=-1),
        Pool("q", 1, Fixed("day", "Mars/Olympus")),
        Pool("q", 1, Fixed("day", guard=-1)),
        Pool("q", 1, Rolling(0)),
        Pool("q", 1, Rolling(MINUTE, slots=0)),
        Pool("q", 1, Gcra(0)),
    ],
)
def test_a_pool_that_makes_no_sense_defines_nothing(pool: Pool) -> None:
    there = desk(LOS_ANGELES)
    with pytest.raises(ValueError, match=r"pool q|time zone"):
        there.book.define(MORNING, [Pool("p", 99, LOS_ANGELES), pool])
    assert list(there.book.headroom(MORNING)) == ["p"]
    assert there.at().cap == 10
