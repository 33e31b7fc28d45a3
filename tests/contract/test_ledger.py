"""One suite for every ledger: what quota/ledger.py promises, whatever stands behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quota.ledger import Attempt, Cooldown, Denied, Granted, Ledger, Observation
from quota.memory_ledger import MemoryLedger
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling
from quota.sqlite_ledger import opened

NOON: Micros = 1_795_262_400 * SECOND  # 2026-11-21 12:00 UTC


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> Micros:
        return self.now


@asynccontextmanager
async def ledger_of(kind: str, folder: Path, clock: Clock) -> AsyncIterator[Ledger]:
    if kind == "memory":
        yield MemoryLedger(clock)
        return
    async with opened(folder / "quota.db", now=clock) as ledger:
        yield ledger


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with ledger_of(request.param, tmp_path, clock) as ledger:
        yield ledger
        assert await ledger.reconcile() == [], "whatever was done, every balance is the sum of its operations"


def attempt(number: int) -> Attempt:
    return Attempt(f"req_{number}")


def minute(name: str, cap: int, **more: object) -> Pool:
    return Pool(name, cap, Rolling(MINUTE), **more)


async def used(ledger: Ledger, name: str) -> tuple[int, int]:
    room = ledger.headroom()[name]
    return room.used, room.reserved


async def test_a_reservation_holds_and_a_settlement_books(ledger: Ledger) -> None:
    await ledger.define([minute("requests", 10), minute("tokens", 1000)])
    granted = await ledger.reserve(attempt(1), {"requests": 1, "tokens": 700}, "me")
    assert isinstance(granted, Granted)
    assert granted.attempt == attempt(1)
    assert granted.lease_end > ledger.now()
    assert await used(ledger, "tokens") == (0, 700)
    assert ledger.headroom()["tokens"].left == 300
    settled = await ledger.settle(attempt(1), {"tokens": 120})
    assert settled is not None
    assert (settled.overdraft, settled.late) == ({}, False)
    assert await used(ledger, "tokens") == (120, 0)
    assert await used(ledger, "requests") == (1, 0), "of a pool that is not named, all that was reserved"
    assert ledger.headroom()["tokens"].shares == {"me": 120}


async def test_all_pools_or_none(ledger: Ledger) -> None:
    await ledger.define([minute("wide", 100), minute("narrow", 1)])
    assert isinstance(await ledger.reserve(attempt(1), {"wide": 1, "narrow": 1}), Granted)
    denied = await ledger.reserve(attempt(2), {"wide": 1, "narrow": 1})
    assert isinstance(denied, Denied)
    assert (denied.pool, denied.why) == ("narrow", "spent")
    assert await used(ledger, "wide") == (0, 1)


@pytest.mark.parametrize("cap", [1, 7])
async def test_many_at_once_are_granted_exactly_the_cap(ledger: Ledger, cap: int) -> None:
    await ledger.define([minute("few", cap), minute("many", 1000)])
    answers = await asyncio.gather(*(ledger.reserve(attempt(n), {"few": 1, "many": 1}) for n in range(50)))
    assert sum(isinstance(answer, Granted) for answer in answers) == cap
    assert await used(ledger, "many") == (0, cap)


async def test_the_margin_is_never_granted(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10, margin=3)])
    assert isinstance(await ledger.reserve(attempt(1), {"pool": 8}), Denied)
    assert isinstance(await ledger.reserve(attempt(1), {"pool": 7}), Granted)
    assert ledger.headroom()["pool"].left == 0


async def test_a_denial_says_why_and_when_and_is_not_remembered(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([minute("pool", 10), Pool("day", 5, Fixed("day", "America/Los_Angeles"))])
    unknown = await ledger.reserve(attempt(1), {"pool": 1, "nowhere": 1})
    assert unknown == Denied("nowhere", "unknown", None)
    assert await ledger.reserve(attempt(1), {"pool": 11}) == Denied("pool", "too_large", None)
    await ledger.reserve(attempt(2), {"pool": 6, "day": 5})
    await ledger.settle(attempt(2), {})
    denied = await ledger.reserve(attempt(1), {"pool": 5})
    assert isinstance(denied, Denied)
    assert denied.why == "spent"
    assert denied.opens_at is not None
    until_midnight = await ledger.reserve(attempt(1), {"pool": 5, "day": 1})
    assert isinstance(until_midnight, Denied)
    assert until_midnight.pool == "day", "the one that stands longest in the way"
    for answer in (denied, until_midnight):
        assert answer.opens_at is not None
        clock.now = answer.opens_at - 1
        assert isinstance(await ledger.reserve(attempt(1), {answer.pool: 5}), Denied), "not before"
    clock.now = denied.opens_at
    assert isinstance(await ledger.reserve(attempt(1), {"pool": 5}), Granted)
    assert ledger.now() >= until_midnight.opens_at - 1
    clock.now = until_midnight.opens_at
    assert isinstance(await ledger.reserve(attempt(3), {"day": 1}), Granted)


async def test_said_twice_is_done_once_and_answered_the_same(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    first = await ledger.reserve(attempt(1), {"pool": 4})
    assert await ledger.reserve(attempt(1), {"pool": 4}) == first
    assert await ledger.reserve(attempt(1), {"pool": 9}) == first, "the first answer is repeated"
    assert await used(ledger, "pool") == (0, 4)
    settled = await ledger.settle(attempt(1), {"pool": 2})
    assert await ledger.settle(attempt(1), {"pool": 9}) == settled
    assert await ledger.reserve(attempt(1), {"pool": 4}) == first
    assert not await ledger.release(attempt(1), "too late")
    assert await used(ledger, "pool") == (2, 0)
    assert isinstance(await ledger.reserve(Attempt("req_1", 2), {"pool": 4}), Granted), "another try of it is another"
    assert await ledger.release(Attempt("req_1", 2), "never sent")
    assert await ledger.release(Attempt("req_1", 2), "never sent")
    assert await ledger.settle(Attempt("req_1", 2), {"pool": 4}) is None
    assert await used(ledger, "pool") == (2, 0)


async def test_what_nobody_reserved_is_neither_settled_nor_released(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    assert await ledger.settle(attempt(1), {"pool": 4}) is None
    assert not await ledger.release(attempt(1), "")
    assert await used(ledger, "pool") == (0, 0)


async def test_what_goes_beyond_the_reservation_is_booked_and_beyond_the_cap_is_said(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.reserve(attempt(1), {"pool": 4})
    settled = await ledger.settle(attempt(1), {"pool": 13})
    assert settled is not None
    assert settled.overdraft == {"pool": 3}
    room = ledger.headroom()["pool"]
    assert (room.used, room.left) == (13, 0)
    assert room.opens_at is not None


async def test_a_settlement_is_queued_by_the_call(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.reserve(attempt(1), {"pool": 4})
    await ledger.reserve(attempt(2), {"pool": 4})
    ledger.settle(attempt(1), {"pool": 1})
    ledger.release(attempt(2), "never sent")
    assert isinstance(await ledger.reserve(attempt(3), {"pool": 9}), Granted), "what came before is done before"


async def test_what_a_call_began_is_done_also_if_nobody_waits(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    task = asyncio.create_task(ledger.reserve(attempt(1), {"pool": 4}))
    await asyncio.sleep(0)  # it has begun
    task.cancel()
    await asyncio.wait([task])
    assert await ledger.release(attempt(1), "who asked has left"), "it was reserved"
    assert await used(ledger, "pool") == (0, 0)


async def test_zero_is_an_amount(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 1), minute("empty", 0)])
    assert isinstance(await ledger.reserve(attempt(1), {"pool": 0}), Granted)
    assert isinstance(await ledger.reserve(attempt(2), {}), Granted)
    assert isinstance(await ledger.reserve(attempt(3), {"empty": 1}), Denied)
    await ledger.settle(attempt(1), {"pool": 0})
    assert await used(ledger, "pool") == (0, 0)


async def test_in_flight_across_a_reset_counts_on_both_sides(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([Pool("day", 10, Fixed("day"))])
    clock.now = NOON + 12 * HOUR - MINUTE
    await ledger.reserve(attempt(1), {"day": 6})
    clock.now = NOON + 12 * HOUR + MINUTE
    assert isinstance(await ledger.reserve(attempt(2), {"day": 5}), Denied), "it may still be counted in the new day"
    await ledger.settle(attempt(1), {})
    assert await used(ledger, "day") == (6, 0)
    assert ledger.headroom()["day"].left == 4


async def test_who_counts_on_arrival_had_counted_when_its_answer_began(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([Pool("rpd", 10, Fixed("day"), on_arrival=True)])
    clock.now = NOON + 12 * HOUR - MINUTE
    await ledger.reserve(attempt(1), {"rpd": 1})
    clock.now = NOON + 12 * HOUR + MINUTE
    await ledger.settle(attempt(1), {}, answered=90.0)
    assert await used(ledger, "rpd") == (0, 0), "it was counted yesterday"


async def test_what_runs_at_once_is_only_counted_while_it_runs(ledger: Ledger) -> None:
    await ledger.define([Pool("slots", 2, Concurrent())])
    for number in (1, 2):
        assert isinstance(await ledger.reserve(attempt(number), {"slots": 1}), Granted)
    assert isinstance(await ledger.reserve(attempt(3), {"slots": 1}), Denied)
    await ledger.settle(attempt(1), {})
    assert await used(ledger, "slots") == (0, 1)
    assert isinstance(await ledger.reserve(attempt(3), {"slots": 1}), Granted)


async def test_a_token_bucket_refills_as_time_goes(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([Pool("tokens", 60, Gcra(MINUTE))])
    await ledger.reserve(attempt(1), {"tokens": 60})
    await ledger.settle(attempt(1), {})
    assert ledger.headroom()["tokens"].left == 0
    clock.now += 10 * SECOND
    assert ledger.headroom()["tokens"].left == 10
    assert isinstance(await ledger.reserve(attempt(2), {"tokens": 11}), Denied)
    assert isinstance(await ledger.reserve(attempt(2), {"tokens": 10}), Granted)


async def test_a_definition_changes_what_it_says_and_nothing_else(ledger: Ledger) -> None:
    await ledger.define([minute("one", 10), minute("two", 20)])
    await ledger.reserve(attempt(1), {"one": 4, "two": 5})
    await ledger.define([minute("one", 8, labels={"model": "m"})])
    room = ledger.headroom()["one"]
    assert (room.cap, room.reserved, room.left, dict(room.pool.labels)) == (8, 4, 4, {"model": "m"})
    assert ledger.headroom()["two"].left == 15


async def test_a_limit_that_the_provider_said_holds_until_the_cap_that_is_given_changes(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.observe(Observation("pool", NOON, "header", limit=6))
    assert ledger.headroom()["pool"].cap == 6
    await ledger.define([minute("pool", 10, labels={"model": "m"})])
    assert ledger.headroom()["pool"].cap == 6
    assert ledger.headroom()["pool"].source == "header"
    await ledger.define([minute("pool", 9)])
    assert ledger.headroom()["pool"].cap == 9


async def test_what_others_spent_is_booked(ledger: Ledger) -> None:
    await ledger.define([Pool("day", 100, Fixed("day"))])
    await ledger.reserve(attempt(1), {"day": 10})
    await ledger.settle(attempt(1), {})
    await ledger.observe(Observation("day", NOON, "header", limit=100, remaining=30))
    room = ledger.headroom()["day"]
    assert (room.used, room.left, room.observed_at) == (70, 30, NOON)
    await ledger.observe(Observation("day", NOON + 1, "header", limit=100, remaining=90))
    assert ledger.headroom()["day"].left == 30, "nothing is loosened in an open window"
    await ledger.observe(Observation("day", NOON - 1, "header", limit=100, remaining=1))
    assert ledger.headroom()["day"].left == 30, "what is older than the last one is ignored"


async def test_a_refusal_closes_until_the_time_that_was_stated(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([minute("pool", 100)])
    reopens = NOON + 40 * SECOND
    await ledger.observe(Observation("pool", NOON, "refusal", resets_at=reopens, refused=True))
    denied = await ledger.reserve(attempt(1), {"pool": 1})
    assert isinstance(denied, Denied)
    assert (denied.why, denied.opens_at) == ("closed", reopens)
    room = ledger.headroom()["pool"]
    assert (room.left, room.closed_until, room.opens_at) == (0, reopens, reopens)
    assert room.margin == 5, "a twentieth more is kept back until it has reset"
    clock.now = reopens
    assert isinstance(await ledger.reserve(attempt(1), {"pool": 1}), Granted)


async def test_a_greater_limit_must_be_said_twice(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.observe(Observation("pool", NOON, "header", limit=30))
    assert ledger.headroom()["pool"].cap == 10
    await ledger.observe(Observation("pool", NOON + 1, "header", limit=30))
    assert ledger.headroom()["pool"].cap == 30


async def test_an_observation_of_an_unknown_pool_is_ignored(ledger: Ledger) -> None:
    await ledger.observe(Observation("nowhere", NOON, "header", remaining=3))
    assert dict(ledger.headroom()) == {}


async def test_cooldowns_end_the_later_one_wins_and_a_stated_one_over_a_guess(ledger: Ledger, clock: Clock) -> None:
    soon, late = NOON + MINUTE, NOON + HOUR
    await ledger.cool(Cooldown("a", late, "first"))
    await ledger.cool(Cooldown("a", soon, "second"))
    await ledger.cool(Cooldown("b", late, "a guess", guessed=True))
    await ledger.cool(Cooldown("b", soon, "stated"))
    await ledger.cool(Cooldown("b", late, "a guess", guessed=True))
    await ledger.cool(Cooldown("c", late, "third"))
    await ledger.warm("c")
    await ledger.warm("never")
    assert dict(ledger.cooldowns()) == {"a": Cooldown("a", late, "first"), "b": Cooldown("b", soon, "stated")}
    clock.now = soon
    assert set(ledger.cooldowns()) == {"a"}


async def test_an_operators_word_is_booked(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.adjust("pool", 7, "used elsewhere")
    assert ledger.headroom()["pool"].left == 3
    await ledger.adjust("pool", -5, "not that much")
    assert ledger.headroom()["pool"].used == 2
    await ledger.adjust("pool", -50, "nothing at all")
    assert ledger.headroom()["pool"].used == 0
    with pytest.raises(KeyError):
        await ledger.adjust("nowhere", 1, "")


async def test_time_never_goes_back(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([minute("pool", 10)])
    clock.now = NOON + HOUR
    await ledger.reserve(attempt(1), {"pool": 10})
    await ledger.settle(attempt(1), {})
    clock.now = NOON
    assert ledger.now() >= NOON + HOUR
    assert ledger.headroom()["pool"].left == 0
    assert isinstance(await ledger.reserve(attempt(2), {"pool": 1}), Denied)


async def test_what_is_open_and_alive_is_not_recovered(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10)])
    await ledger.reserve(attempt(1), {"pool": 4})
    assert await ledger.recover() == 0
    assert await used(ledger, "pool") == (0, 4)


async def test_history_is_newest_first(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([minute("one", 10), minute("two", 10)])
    clock.now += SECOND
    await ledger.reserve(attempt(1), {"one": 4}, "me")
    await ledger.release(attempt(1), "connection refused")
    clock.now += SECOND
    await ledger.reserve(attempt(2), {"two": 4})
    history = await ledger.history()
    assert [operation.kind for operation in history] == ["reserve", "release", "reserve", "define"]
    assert [operation.seq for operation in history] == sorted((o.seq for o in history), reverse=True)
    assert history[1].attempt == attempt(1)
    assert (history[1].tag, history[1].why) == ("me", "connection refused")
    assert history[1].changes["one"].reserved == -4
    assert [operation.kind for operation in await ledger.history(limit=1)] == ["reserve"]
    assert len(await ledger.history(since=NOON + 2 * SECOND)) == 1
    assert [operation.kind for operation in await ledger.history(pool="one")] == ["release", "reserve", "define"]
    assert await ledger.history(pool="nowhere") == []


async def test_pruning_forgets_and_keeps_every_balance(ledger: Ledger, clock: Clock) -> None:
    credit = Pool("credit", 1000, Fixed("ever"))
    await ledger.define([credit, minute("pool", 100), Pool("bucket", 100, Gcra(HOUR))])
    for number in range(20):
        await ledger.reserve(attempt(number), {"credit": 3, "pool": 5, "bucket": 5}, "me")
        if number < 18:
            await ledger.settle(attempt(number), {"credit": 2})
        clock.now += 4 * SECOND
    before = {name: (room.used, room.reserved, room.left) for name, room in ledger.headroom().items()}
    operations = len(await ledger.history())
    assert await ledger.prune(clock.now - 30 * SECOND) > 0
    assert len(await ledger.history()) < operations
    assert [operation.kind for operation in await ledger.history()][-1] == "opening"
    assert before == {name: (room.used, room.reserved, room.left) for name, room in ledger.headroom().items()}
    assert await ledger.reconcile() == []
    assert await ledger.prune(clock.now - 30 * SECOND) == 0
    clock.now += DAY
    assert await ledger.prune(clock.now + DAY) > 0, "never more than what has been"
    assert [operation.kind for operation in await ledger.history()] == ["opening"]
    assert await used(ledger, "credit") == (36, 6), "a credit never begins anew, and what is open stays open"
    assert await ledger.settle(attempt(19), {"credit": 1}) is not None


async def test_a_window_that_ended_between_two_prunings_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    await ledger.define([Pool("month", 10, Fixed("month"))])
    await ledger.reserve(attempt(1), {"month": 3})
    await ledger.settle(attempt(1), {})
    clock.now += DAY
    assert await ledger.prune(clock.now) == 3
    assert await ledger.reconcile() == [], "the month is not over"
    clock.now += 60 * DAY
    assert await ledger.prune(clock.now) == 0
    assert await ledger.reconcile() == []


async def test_many_at_once_of_everything(ledger: Ledger) -> None:
    await ledger.define([minute("pool", 10_000), Pool("bucket", 10_000, Gcra(MINUTE))])

    async def one(number: int) -> None:
        await ledger.reserve(attempt(number), {"pool": 10, "bucket": 10}, f"tag {number % 3}")
        await (ledger.release(attempt(number), "") if number % 4 == 0 else ledger.settle(attempt(number), {"pool": 7}))

    await asyncio.gather(*(one(number) for number in range(200)))
    assert await used(ledger, "pool") == (150 * 7, 0)
    assert sum(ledger.headroom()["pool"].shares.values()) == 150 * 7
