"""The Book against a ledger that is easy to believe: any order of acts, moments, jumps, crashes and prunings."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quota.clock import Clock
from quota.ledger import Attempt, Cooldown, Denied, Granted, Observation, Operation, Settled
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Pool, Rolling
from tests.quota_naive import NaivePool
from tests.quota_storage import Storage

LOS_ANGELES = "America/Los_Angeles"
POOLS = {
    pool.id: pool
    for pool in [
        Pool("day", 7, Fixed("day", LOS_ANGELES, guard=MINUTE)),
        Pool("arriving", 6, Fixed("day", LOS_ANGELES, guard=MINUTE), on_arrival=True),
        Pool("hour", 6, Fixed("hour", "Asia/Kathmandu", anchor=7 * MINUTE)),
        Pool("minute", 5, Fixed("minute"), margin=1, on_arrival=True),
        Pool("week", 40, Fixed("week", LOS_ANGELES)),
        Pool("month", 25, Fixed("month", anchor=2 * DAY)),
        Pool("ever", 30, Fixed("ever")),
        Pool("rolling", 5, Rolling(MINUTE)),
        Pool("rolling-day", 30, Rolling(DAY, slots=7), margin=2),
        Pool("rolling-arrival", 6, Rolling(MINUTE), on_arrival=True),
        Pool("bucket", 6, Gcra(MINUTE)),
        Pool("bucket-day", 11, Gcra(DAY), margin=1),
        Pool("at-once", 2, Concurrent()),
    ]
}
NAMES = sorted(POOLS)
STARTS = {
    "spring": 1_805_011_200 * SECOND,  # 2027-03-14 08:00 UTC: midnight of a day with 23 hours
    "autumn": 1_825_570_800 * SECOND,  # 2027-11-07 07:00 UTC: midnight of a day with 25 hours
    "month": 1_809_129_600 * SECOND,  # 2027-05-01 00:00 UTC
}
EDGES = (0, 1, SECOND, MINUTE, 30 * MINUTE, HOUR)
STEPS = st.one_of(
    st.integers(0, 2 * SECOND),
    st.integers(0, 2 * MINUTE),
    st.integers(0, 30 * HOUR),
    st.builds(
        lambda much, edge, off: max(0, much + edge + off),
        st.sampled_from([0, MINUTE, HOUR, 12 * HOUR, 23 * HOUR, DAY, 25 * HOUR, 7 * DAY]),
        st.sampled_from([-1, 0, 1]),
        st.integers(-2, 2),
    ),
)
POOL = st.sampled_from(NAMES)
AMOUNTS = st.dictionaries(POOL, st.one_of(st.integers(0, 3), st.integers(0, 9)), max_size=4)
WHICH = st.integers(0, 10**6)


class LedgerMachine(RuleBasedStateMachine):
    @initialize(start=st.sampled_from(sorted(STARTS)), before=st.sampled_from([1, SECOND, MINUTE, 90 * MINUTE, DAY]))
    def begin(self, start: str, before: int) -> None:
        self.wall, self.passed = STARTS[start] - before, 12345
        self.clock = Clock(lambda: self.wall, lambda: self.passed)
        self.latest = self.clock.now()
        self.storage = Storage()
        self.book = self.storage.book()
        self.naive = {name: NaivePool(pool, pool.cap) for name, pool in POOLS.items()}
        self.open: dict[Attempt, tuple[dict[str, int], int, int]] = {}
        self.lapsed: dict[Attempt, tuple[dict[str, int], int, int]] = {}
        self.answers: dict[Attempt, Settled] = {}
        self.count = 0
        self.book.define(self.now(), list(POOLS.values()))
        self.write()

    # What time and the storage do

    def now(self) -> int:
        now = self.clock.now()
        assert now >= self.latest, "time went back"
        self.latest = now
        return now

    def write(self) -> Sequence[Operation]:
        """Store what the Book has changed. The operations among it."""
        operations = self.storage.write(self.book.take()).operations
        assert all(operation.at == self.latest for operation in operations)
        return operations

    @rule(step=STEPS)
    def advance(self, step: int) -> None:
        assume(self.latest < STARTS["autumn"] + 40 * DAY)
        self.wall += step
        self.passed += step

    @rule(by=st.one_of(st.integers(-2 * DAY, 2 * DAY), st.integers(-SECOND, SECOND)), confirmed=st.booleans())
    def jump(self, by: int, confirmed: bool) -> None:
        """The wall clock is set. Without anybody's word that moves time by two seconds at most."""
        assume(self.wall + by > STARTS["spring"] - 20 * DAY)
        before = self.now()
        self.wall += by
        if confirmed:
            self.clock.confirm(self.wall - SECOND)
            assert self.now() == max(before, self.wall)
        else:
            self.clock.confirm(self.wall + 5 * SECOND)
            assert before <= self.now() <= before + 2 * SECOND

    @rule()
    def crash(self) -> None:
        """All that was in memory is lost."""
        before = self.book.headroom(self.now())
        self.book = self.storage.book()
        assert self.book.headroom(self.now()) == before

    @rule(kept=st.sampled_from([0, MINUTE, HOUR, DAY, 3 * DAY]))
    def prune(self, kept: int) -> None:
        self.storage.prune(self.now() - kept)

    # What callers do

    @rule(amounts=AMOUNTS, tag=st.sampled_from(["", "ann", "bob"]))
    def reserve(self, amounts: dict[str, int], tag: str) -> None:
        now = self.now()
        self.count += 1
        attempt = Attempt(f"request {self.count}")
        refusing = [name for name, amount in amounts.items() if not self.naive[name].fits(now, amount)]
        lease_end = now + 60 * SECOND
        answer = self.book.reserve(now, attempt, amounts, tag=tag, owner="me", lease_end=lease_end)
        if refusing:
            assert isinstance(answer, Denied)
            assert answer.pool in refusing or answer.opens_at is None
            assert not self.write()
            self.is_exact(answer, amounts)
            return
        assert answer == Granted(attempt, lease_end)
        assert self.book.reserve(now, attempt, {"day": 99}, tag=tag, owner="me", lease_end=0) == answer
        for name, amount in amounts.items():
            naive = self.naive[name]
            naive.reserved += amount
            assert naive.reserved <= naive.room(now)[0] - naive.margin(now)
        self.open[attempt] = dict(amounts), now, lease_end
        self.write()

    def is_exact(self, denied: Denied, amounts: dict[str, int]) -> None:
        """`opens_at` is the first moment at which the same is granted, once all that is open is settled in full."""

        def at(moment: int) -> Granted | Denied:
            book = self.storage.copied().book()
            for attempt in self.open:
                book.settle(self.latest, attempt, {})
            return book.reserve(moment, Attempt("later"), amounts, tag="", owner="", lease_end=0)

        if denied.opens_at is None:
            for later in (self.latest, self.latest + 40 * DAY, self.latest + 300 * DAY):
                assert isinstance(at(later), Denied)
            return
        assert denied.opens_at >= self.latest
        assert isinstance(at(denied.opens_at), Granted)
        if denied.opens_at > self.latest:
            assert isinstance(at(denied.opens_at - 1), Denied)

    @precondition(lambda self: self.open)
    @rule(
        which=WHICH,
        off=st.one_of(st.just({}), st.dictionaries(POOL, st.integers(0, 12), max_size=3)),
        ago=st.one_of(st.none(), st.integers(0, 3 * SECOND), st.integers(0, 2 * HOUR)),
    )
    def settle(self, which: int, off: dict[str, int], ago: int | None) -> None:
        now = self.now()
        attempt = list(self.open)[which % len(self.open)]
        amounts, since, _ = self.open.pop(attempt)
        expected = self.charged(now, amounts, off, since, ago)
        answer = self.book.settle(now, attempt, off, None if ago is None else now - ago)
        self.answers[attempt] = Settled(expected)
        assert answer == Settled(expected)
        [operation] = self.write()
        assert ("overdraft" in operation.why) == bool(expected)
        self.is_overdrawn(now, expected)

    def charged(
        self, now: int, amounts: dict[str, int], used: dict[str, int], since: int, ago: int | None
    ) -> dict[str, int]:
        """Book it all in the naive ledger. What goes beyond the caps by it."""
        over = {}
        answered = now if ago is None else max(since, now - ago)
        for name in list(amounts) + [name for name in used if name not in amounts]:
            naive, amount = self.naive[name], amounts.get(name, 0)
            upto = answered if naive.pool.on_arrival and name in amounts else now
            before = max(0, naive.reserved - naive.room(now)[0])
            naive.reserved -= amount
            naive.charge(since, upto, used.get(name, amount))
            beyond = max(0, naive.reserved - naive.room(now)[0]) - before
            if beyond > 0:
                over[name] = beyond
        return over

    def is_overdrawn(self, now: int, overdraft: dict[str, int]) -> None:
        """What is overdrawn grants nothing more."""
        for name, amount in overdraft.items():
            assert amount > 0
            assert self.book.headroom(now)[name].left == 0

    @precondition(lambda self: self.open)
    @rule(which=WHICH)
    def release(self, which: int) -> None:
        attempt = list(self.open)[which % len(self.open)]
        for name, amount in self.open.pop(attempt)[0].items():
            self.naive[name].reserved -= amount
        assert self.book.release(self.now(), attempt, "no connection")
        assert len(self.write()) == 1
        assert self.book.release(self.now(), attempt, "no connection")
        assert self.book.settle(self.now(), attempt, {}) is None
        assert not self.write()

    @precondition(lambda self: self.open)
    @rule(which=WHICH, longer=st.integers(0, HOUR))
    def renew(self, which: int, longer: int) -> None:
        attempt = list(self.open)[which % len(self.open)]
        amounts, since, end = self.open[attempt]
        self.book.renew([attempt, Attempt("unheard of")], self.now() + longer)
        self.write()
        self.open[attempt] = amounts, since, max(end, self.latest + longer)
        assert self.storage.reservations[attempt].lease_end == self.open[attempt][2]

    @rule(dead=st.booleans())
    def expire(self, dead: bool) -> None:
        """A janitor comes by; or the process that opened them all is found dead."""
        now = self.now()
        over = [each for each in self.storage.opened() if dead or each.lease_end <= now]
        assert self.book.lapse(now, over) == len(over)
        for each in over:
            amounts, since, _ = self.open.pop(each.attempt)
            self.charged(now, amounts, {}, since, None)
            self.lapsed[each.attempt] = amounts, since, now
        assert len(self.write()) == len(over)
        assert all(end > now for _, _, end in self.open.values())
        assert self.book.lapse(now, over) == 0

    @precondition(lambda self: self.lapsed)
    @rule(which=WHICH, used=st.dictionaries(POOL, st.integers(0, 12), max_size=4))
    def settle_late(self, which: int, used: dict[str, int]) -> None:
        """Its owner was only asleep. What lapsed was charged in full."""
        now = self.now()
        attempt = list(self.lapsed)[which % len(self.lapsed)]
        amounts, since, lapsed_at = self.lapsed.pop(attempt)
        over = {}
        for name, spent in used.items():
            booked = amounts.get(name, 0)
            if spent < booked:
                self.naive[name].give_back(now, lapsed_at, booked - spent)
            else:
                over |= self.charged(now, {}, {name: spent - booked}, since, None)
        answer = self.answers[attempt] = Settled(over, late=True)
        assert self.book.settle(now, attempt, used) == answer
        self.write()

    @rule(which=WHICH, used=st.dictionaries(POOL, st.integers(0, 5), max_size=2))
    @precondition(lambda self: self.answers)
    def settle_again(self, which: int, used: dict[str, int]) -> None:
        attempt = list(self.answers)[which % len(self.answers)]
        assert self.book.settle(self.now(), attempt, used) == self.answers[attempt]
        assert not self.book.release(self.now(), attempt, "too late")
        assert isinstance(self.book.reserve(self.now(), attempt, used, tag="", owner="", lease_end=0), Granted)
        assert not self.write()

    @rule()
    def settle_unknown(self) -> None:
        assert self.book.settle(self.now(), Attempt("unheard of"), {"day": 3}) is None
        assert not self.book.release(self.now(), Attempt("unheard of"), "")
        assert not self.write()

    # What providers and operators do

    @rule(
        name=POOL,
        age=st.one_of(st.just(0), st.integers(-MINUTE, 5 * SECOND), st.integers(0, DAY)),
        said=st.tuples(st.one_of(st.none(), st.integers(0, 12)), st.one_of(st.none(), st.integers(0, 12))),
        reset=st.one_of(st.none(), st.integers(-MINUTE, 3 * MINUTE), st.integers(0, 2 * DAY)),
        refused=st.booleans(),
    )
    def observe(
        self, *, name: str, age: int, said: tuple[int | None, int | None], reset: int | None, refused: bool
    ) -> None:
        now = self.now()
        seen = Observation(name, now - age, "header", *said, None if reset is None else now + reset, refused)
        before = self.book.headroom(now)[name]
        self.book.observe(now, seen)
        self.naive[name].observe(now, seen)
        self.write()
        after = self.book.headroom(now)[name]
        if isinstance(POOLS[name].window, Fixed):
            assert after.left <= before.left
            assert after.cap <= before.cap
        if refused and (before.observed_at is None or min(seen.at, now) >= before.observed_at):
            assert after.left == 0
            assert after.closed_until is not None

    @rule(name=POOL, used=st.integers(-9, 9))
    def adjust(self, name: str, used: int) -> None:
        now = self.now()
        self.book.adjust(now, name, used, "counted by hand")
        if used > 0:
            self.naive[name].charge(now, now, used)
        else:
            self.naive[name].reduce(now, -used)
        self.write()

    @rule(name=POOL, cap=st.integers(0, 12), margin=st.integers(0, 2))
    def define(self, name: str, cap: int, margin: int) -> None:
        now, naive = self.now(), self.naive[name]
        pool = Pool(name, cap, POOLS[name].window, margin, POOLS[name].on_arrival)
        self.book.define(now, [pool])
        if cap != naive.pool.cap:
            naive.recap(now, cap)
            naive.said = naive.pending = None
            if naive.closed >= 253_370_764_800 * SECOND:
                naive.closed = naive.grown = naive.grown_until = 0
        naive.pool = pool
        self.write()

    @rule(scope=st.sampled_from(["model", "account"]), for_=st.integers(0, HOUR), guessed=st.booleans())
    def cool(self, scope: str, for_: int, guessed: bool) -> None:
        now = self.now()
        old = self.book.cooldowns(now).get(scope)
        new = Cooldown(scope, now + for_, "429", guessed)
        self.book.cool(now, new)
        self.write()
        if old is None or new.guessed < old.guessed or (new.guessed == old.guessed and new.until > old.until):
            assert self.book.cooldowns(now).get(scope) == (new if new.until > now else None)
        else:
            assert self.book.cooldowns(now)[scope] == old

    @rule(scope=st.sampled_from(["model", "account"]))
    def warm(self, scope: str) -> None:
        self.book.warm(self.now(), scope)
        assert scope not in self.book.cooldowns(self.now())
        self.write()

    # What always holds

    @invariant()
    def as_the_naive_ledger_says(self) -> None:
        now = self.now()
        for name, seen in self.book.headroom(now).items():
            naive = self.naive[name]
            free, cap = naive.room(now)
            assert (name, seen.cap, seen.used, seen.reserved) == (name, cap, cap - free, naive.reserved)
            assert seen.margin == naive.margin(now)
            closed = naive.closed > now
            assert (seen.closed_until or 0) == (naive.closed if closed else 0)
            assert seen.left == (0 if closed else max(0, free - naive.reserved - seen.margin))
            assert seen.used >= 0
            assert seen.reserved >= 0
            assert (seen.opens_at is None) or seen.left == 0

    @invariant()
    def the_history_is_the_balances(self) -> None:
        self.storage.check()
        assert {each.attempt for each in self.storage.opened()} == set(self.open)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestLedgerAtLength(LedgerMachine.TestCase):
    settings = settings(
        max_examples=500, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
