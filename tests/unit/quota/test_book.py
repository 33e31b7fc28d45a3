"""What the Book grants, books and answers: one case for each rule, with the reason in its name."""

import pytest

from quota.held import Held
from quota.ledger import Attempt, Denied, Granted, Settled
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window
from quota.rows import Bucket, PoolRow, Rows, Share
from quota.tallies import tally_of
from tests.quota_desk import COUNTED, DAY_END, EVERY_WINDOW, LOS_ANGELES, MORNING, Desk, desk


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_the_cap_is_granted_to_the_last_unit_and_no_further(window: Window) -> None:
    there = desk(window, 10, margin=2)
    for _ in range(8):
        there.take(p=1)
    assert there.refuse(p=1).why == "spent"
    assert there.at().left == 0


def test_all_pools_or_none() -> None:
    there = Desk(Pool("a", 5, LOS_ANGELES), Pool("b", 1, Rolling(MINUTE)))
    assert there.refuse(a=1, b=2).pool == "b"
    assert (there.at("a").reserved, there.at("b").reserved) == (0, 0)
    assert there.refuse(a=1, c=1) == Denied("c", "unknown", None)
    there.take(a=5, b=1)


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_more_than_the_cap_never_fits(window: Window) -> None:
    assert desk(window, 10, margin=1).refuse(p=10) == Denied("p", "too_large", None)


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_nothing_of_a_pool_can_be_asked_for(window: Window) -> None:
    there = desk(window, 1)
    attempt = there.take(p=0)
    there.settle(attempt)
    assert (there.at().used, there.at().reserved, there.at().left) == (0, 0, 1)
    there.observe(limit=0)
    assert there.refuse(p=1).why == "too_large"
    there.take(p=0)


def test_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 of pool p"):
        desk(LOS_ANGELES).ask(p=-1)


# When it opens


def test_a_day_opens_when_the_guard_of_its_reset_has_passed() -> None:
    there = desk(LOS_ANGELES)
    there.spend(p=10)
    denied = there.refuse(p=1)
    assert denied == Denied("p", "spent", DAY_END + MINUTE)
    assert there.at().resets_at == there.at().opens_at == DAY_END + MINUTE
    there.now = DAY_END + MINUTE - 1
    assert there.refuse(p=1) == denied
    there.now += 1
    there.take(p=10)


def test_a_credit_that_is_spent_never_opens() -> None:
    there = desk(Fixed("ever"))
    there.spend(p=10)
    there.now += 20 * 365 * DAY
    assert there.refuse(p=1) == Denied("p", "spent", None)
    assert there.at().resets_at is None


def test_a_bucket_opens_as_it_refills() -> None:
    """Groq's text: limit 100000 a day, used 97050, requested 3619: try again in 9m38.016s."""
    there = desk(Gcra(DAY), 100_000)
    there.spend(p=97_050)
    assert there.refuse(p=3619).opens_at == MORNING + 578_016_000


def test_slots_leave_one_by_one() -> None:
    there = desk(Rolling(MINUTE, slots=6), 4)
    for _ in range(4):
        there.spend(p=1)
        there.now += 10 * SECOND
    denied = there.refuse(p=2)
    assert denied.opens_at == MORNING + 80 * SECOND  # the slot of 10 s that began at 10 s counts until 80 s
    assert there.at().opens_at == MORNING + 70 * SECOND
    assert there.at().resets_at == MORNING + 100 * SECOND


def test_what_runs_at_once_opens_when_something_ends() -> None:
    there = desk(Concurrent(), 1)
    attempt = there.take(p=1)
    assert there.refuse(p=1) == Denied("p", "spent", MORNING)
    there.settle(attempt)
    assert there.at().used == 0
    there.take(p=1)


def test_of_several_that_refuse_the_last_to_open_is_named() -> None:
    there = Desk(Pool("a", 1, Rolling(MINUTE)), Pool("b", 1, LOS_ANGELES), Pool("c", 1, Gcra(HOUR)))
    there.spend(a=1, b=1, c=1)
    assert there.refuse(a=1, b=1, c=1) == Denied("b", "spent", DAY_END + MINUTE)
    assert there.refuse(a=1, c=1) == Denied("c", "spent", MORNING + HOUR)


# In which windows a charge counts


def test_in_flight_across_a_reset_counts_in_both_days() -> None:
    there = desk(LOS_ANGELES)
    there.now = DAY_END - HOUR
    attempt = there.take(p=4)
    there.now = DAY_END + HOUR
    assert there.at().left == 6
    there.settle(attempt)
    assert (there.at().used, there.at().left) == (4, 6)


@pytest.mark.parametrize("off", [-MINUTE, -1, 0, 1, MINUTE - 1])
def test_what_is_asked_near_an_edge_counts_on_both_sides(off: Micros) -> None:
    there = desk(LOS_ANGELES)
    there.now = DAY_END + off
    there.spend(p=6)
    there.now = DAY_END + HOUR
    assert there.at().used == 6


def test_just_after_an_edge_yesterday_still_counts() -> None:
    there = desk(LOS_ANGELES)
    there.now = DAY_END - HOUR
    there.spend(p=5)
    there.now = DAY_END + 1
    there.spend(p=5)  # the provider's clock may still show yesterday
    assert there.refuse(p=1) == Denied("p", "spent", DAY_END + MINUTE)
    there.now = DAY_END + MINUTE
    assert there.at().left == 5


def test_what_is_asked_well_before_an_edge_counts_on_its_side() -> None:
    there = desk(LOS_ANGELES)
    there.now = DAY_END - MINUTE - 1
    there.spend(p=6)
    there.now = DAY_END + MINUTE
    assert there.at().used == 0


def test_a_provider_that_counts_arrivals_had_counted_when_it_answered() -> None:
    there = Desk(Pool("arriving", 10, LOS_ANGELES, on_arrival=True), Pool("tokens", 10, LOS_ANGELES))
    there.now = DAY_END - HOUR
    attempt = there.take(arriving=1, tokens=4)
    there.now = DAY_END + HOUR
    there.settle(attempt, answered_at=DAY_END - HOUR // 2)
    assert (there.at("arriving").used, there.at("tokens").used) == (0, 4)


def test_a_long_stream_charges_no_window_that_is_over() -> None:
    there = desk(Fixed("minute"))
    attempt = there.take(p=1)
    there.now += DAY
    there.book.settle(there.now, attempt, {})
    [operation] = there.book.take().operations
    assert len(operation.changes["p"].used) <= 2


# Said twice, or too late


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_what_is_said_twice_has_one_effect(window: Window) -> None:
    there = desk(window)
    attempt = there.take(p=3)
    again = there.book.reserve(there.now, attempt, {"p": 3}, tag="", owner="", lease_end=0)
    assert again == Granted(attempt, MORNING + MINUTE)
    first = there.settle(attempt, p=2)
    before = there.at()
    assert there.settle(attempt, p=9) == first
    assert not there.book.release(there.now, attempt, "")
    assert there.at() == before
    assert there.kinds() == ["define", "reserve", "settle"]


def test_attempts_of_one_request_are_counted_each() -> None:
    there = desk(LOS_ANGELES)
    for number in (1, 2, 3):
        there.book.reserve(there.now, Attempt("r", number), {"p": 2}, tag="", owner="", lease_end=0)
    assert there.at().reserved == 6


@pytest.mark.parametrize("window", EVERY_WINDOW)
def test_what_is_released_is_free_again(window: Window) -> None:
    there = desk(window)
    attempt = there.take(p=7)
    assert there.book.release(there.now, attempt, "no route")
    assert there.book.release(there.now, attempt, "no route")
    assert there.book.settle(there.now, attempt, {}) is None
    assert (there.at().left, there.at().reserved) == (10, 0)


def test_a_lapse_is_charged_in_full_and_put_right_by_a_late_settlement() -> None:
    there = Desk(Pool("day", 10, LOS_ANGELES), Pool("minute", 10, Rolling(MINUTE)), Pool("bucket", 10, Gcra(HOUR)))
    attempt = there.take("ann", day=8, minute=8, bucket=8)
    there.now += 2 * MINUTE
    assert there.lapse() == 1
    assert [there.at(name).used for name in ("day", "minute", "bucket")] == [8, 8, 8]
    assert not there.book.release(there.now, attempt, "")
    late = there.settle(attempt, day=3, minute=3, bucket=3)
    assert late == Settled({}, late=True)
    assert [there.at(name).used for name in ("day", "minute", "bucket")] == [3, 3, 8]  # a bucket refills by itself
    assert there.at("day").shares == {"ann": 3}
    assert there.settle(attempt, day=0) == late
    assert there.at("day").used == 3


def test_a_late_settlement_changes_no_window_that_is_over() -> None:
    there = desk(LOS_ANGELES)
    attempt = there.take(p=8)
    there.lapse()
    there.now = DAY_END + HOUR
    there.spend(p=5)
    there.settle(attempt, p=1)
    assert there.at().used == 5


def test_a_late_settlement_never_goes_below_what_is_there() -> None:
    there = desk(LOS_ANGELES)
    attempt = there.take(p=8)
    there.lapse()
    there.book.adjust(there.now, "p", -6, "the provider's page says so")
    there.settle(attempt, p=0)
    assert there.at().used == 0


def test_a_lease_that_was_renewed_ends_later() -> None:
    there = desk(LOS_ANGELES)
    attempt = there.take(p=1)
    there.book.renew([attempt], MORNING + HOUR)
    there.book.renew([attempt], MORNING + 1)
    there.write()
    assert there.storage.reservations[attempt].lease_end == MORNING + HOUR


# More than was reserved


@pytest.mark.parametrize("window", COUNTED)
def test_an_overdraft_is_booked_and_said_and_closes_the_pool(window: Window) -> None:
    there = desk(window)
    attempt, other = there.take(p=5), there.take(p=3)
    assert there.settle(attempt, p=9) == Settled({"p": 2})
    assert there.settle(other) == Settled({})
    assert there.at().used == 12
    assert there.refuse(p=1).why == "spent"


def test_more_than_was_reserved_is_no_overdraft_where_there_is_room() -> None:
    there = desk(LOS_ANGELES)
    assert there.settle(there.take(p=5), p=9) == Settled({})
    assert there.at().used == 9


def test_what_nobody_reserved_is_booked_too() -> None:
    there = Desk(Pool("p", 10, LOS_ANGELES), Pool("other", 3, LOS_ANGELES))
    assert there.settle(there.take(p=5), other=4, undefined=9) == Settled({"other": 1})
    assert (there.at().used, there.at("other").used) == (5, 4)


# Who used it, and what is stored


@pytest.mark.parametrize("window", COUNTED)
def test_shares_say_who_used_how_much(window: Window) -> None:
    there = desk(window)
    there.spend("ann", p=3)
    there.spend("bob", p=2)
    there.spend("ann", p=1)
    there.observe(remaining=1)
    assert there.at().shares == {"ann": 4, "bob": 2}
    assert there.at().used == 9


def test_shares_end_with_their_window() -> None:
    there = Desk(Pool("day", 10, LOS_ANGELES), Pool("rolling", 10, Rolling(MINUTE)), Pool("bucket", 10, Gcra(MINUTE)))
    there.spend("ann", day=1, rolling=1, bucket=1)
    there.now = DAY_END + HOUR
    assert [there.at(name).shares for name in ("day", "rolling", "bucket")] == [{}, {}, {}]


def test_time_never_goes_back() -> None:
    there = desk(Rolling(MINUTE))
    there.spend(p=10)
    there.now -= HOUR
    assert there.refuse(p=1).opens_at == MORNING + 65 * SECOND
    assert there.book.time == MORNING


@pytest.mark.parametrize("window", [Fixed("minute"), Rolling(MINUTE)])
def test_who_only_hears_of_others_forgets_what_no_longer_counts(window: Window) -> None:
    tally, now = tally_of(PoolRow(Pool("p", 10, window), 10, "catalog")), MORNING
    for number in range(100):
        now = MORNING + number * 5 * SECOND
        start = now - now % (5 * SECOND)
        row = Bucket("p", start, start + 5 * SECOND, start + 65 * SECOND, 1)
        tally.load(now, [row], [Share("p", row.start, row.end, row.until, "ann", 1)])
    assert isinstance(tally, Held)
    assert len(tally.buckets) == len(tally.by_tag) == 13


def test_two_books_on_one_storage_see_each_other() -> None:
    one = desk(LOS_ANGELES)
    two = one.storage.book()
    attempt = two.reserve(MORNING, Attempt("two"), {"p": 7}, tag="", owner="two", lease_end=MORNING + MINUTE)
    assert isinstance(attempt, Granted)
    changes = one.storage.write(two.take())
    one.book.load(Rows(changes.seq, changes.time, changes.pools, changes.buckets, changes.shares))
    assert one.refuse(p=4).why == "spent"
    assert one.settle(Attempt("two"), p=1) == Settled({})
    assert one.at().left == 9
