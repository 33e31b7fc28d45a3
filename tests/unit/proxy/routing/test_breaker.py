"""A breaker: when it opens, who is the probe, how it closes; and each history against a model that keeps everything."""

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.routing.breaker import JITTER, LEARNS, MOST_LEARNT, SLICES, Breaker, Rules

RULES = Rules(
    failures=3, share=0.5, least=6, window=10.0, slow_factor=10.0, slow_least=5.0, first=4.0, longest=16.0, slow_start=8
)


def breaker(rules: Rules = RULES, luck: float = 0.0) -> Breaker:
    return Breaker(rules, lambda: luck)


def fail(one: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        one.failed(one.begin(now), now)


def answer(one: Breaker, now: float, seconds: float | None = None) -> None:
    one.answered(one.begin(now), now, seconds)


def test_it_opens_after_faults_in_a_row_and_one_probe_closes_it() -> None:
    one = breaker()
    fail(one, 0.0, 2)
    answer(one, 0.0)
    fail(one, 0.0, 2)
    assert one.state(0.0) == "closed"
    fail(one, 0.0)
    assert (one.state(3.9), one.allows(3.9), one.opens_in(1.0)) == ("open", False, 3.0)
    assert (one.state(4.0), one.allows(4.0)) == ("half_open", True)
    probe = one.begin(4.0)
    assert not one.allows(4.0)  # a second one would be another request lost
    one.answered(probe, 5.0)
    assert (one.state(5.0), one.allows(5.0)) == ("closed", True)
    fail(one, 5.0, 2)
    assert one.state(5.0) == "closed"  # what was before the recovery is forgotten


def test_it_opens_when_half_of_a_minute_s_requests_fail() -> None:
    one = breaker()
    for _ in range(2):
        fail(one, 0.0)
        answer(one, 0.0)
    fail(one, 0.0)
    assert (one.state(0.0), one.errors(0.0)) == ("closed", 0.6)  # of five, which are too few
    answer(one, 0.0)
    fail(one, 9.9)
    assert one.state(9.9) == "open"
    late = breaker()
    fail(late, 0.0, 2)
    answer(late, 0.0)
    fail(late, 0.0, 2)
    assert late.errors(10.0) == 0.0  # the window has slid past it
    answer(late, 10.0)
    fail(late, 10.0)
    assert late.state(10.0) == "closed"


def test_each_failed_probe_doubles_the_time_up_to_a_bound_with_jitter_below_it() -> None:
    one, now, lengths = breaker(), 0.0, []
    fail(one, now, 3)
    for _ in range(5):
        lengths.append(one.opens_in(now))
        now += lengths[-1]
        fail(one, now)
    assert lengths == [4.0, 8.0, 16.0, 16.0, 16.0]
    early = breaker(luck=1.0)
    fail(early, 0.0, 3)
    assert early.opens_in(0.0) == pytest.approx(4.0 * (1 - JITTER))


@pytest.mark.parametrize(("healthy", "length"), [(9.0, 8.0), (11.0, 4.0)])
def test_who_fails_again_at_once_is_left_alone_for_longer(healthy: float, length: float) -> None:
    one = breaker()
    fail(one, 0.0, 3)
    answer(one, 4.0)
    fail(one, 4.0 + healthy, 3)
    assert one.opens_in(4.0 + healthy) == length


def test_a_probe_that_is_left_makes_room_for_the_next() -> None:
    one = breaker()
    fail(one, 0.0, 3)
    first = one.begin(4.0)
    one.left(first, 4.5)
    assert one.allows(4.5)
    second = one.begin(4.5)
    one.answered(first, 5.0)  # it has had its end
    assert one.state(5.0) == "half_open"
    one.answered(second, 5.0)
    assert one.state(5.0) == "closed"


def test_what_began_before_it_opened_says_nothing_of_a_recovery() -> None:
    one = breaker()
    early = one.begin(0.0)
    late = one.begin(0.0)
    fail(one, 0.0, 3)
    one.answered(early, 1.0)
    assert one.state(1.0) == "open"
    probe = one.begin(4.0)
    one.failed(late, 4.0)
    assert one.state(4.0) == "half_open"
    one.answered(probe, 4.0)
    assert one.state(4.0) == "closed"


def test_first_tokens_far_later_than_usual_open_it_and_what_is_usual_follows_slowly() -> None:
    one = breaker()
    for _ in range(20):
        answer(one, 0.0, 1.0)
    answer(one, 0.0, 4.9)  # slow, and below what is called slow
    for _ in range(3):
        assert one.state(0.0) == "closed"
        answer(one, 0.0, 60.0)
    assert one.state(0.0) == "open"
    answer(one, 4.0, 60.0)
    assert one.state(4.0) == "closed"  # it answers, and that is what was asked
    quick = breaker()
    for _ in range(20):
        answer(quick, 0.0, 0.01)
        answer(quick, 0.0, 3.0)  # 300 times as long, and still soon
    assert quick.state(0.0) == "closed"


def test_answers_that_break_off_open_it_too() -> None:
    one = breaker()
    for _ in range(5):
        answer(one, 0.0)
        one.broke(0.0)
        assert one.state(0.0) == "closed"
    answer(one, 0.0)
    one.broke(0.0)
    assert one.state(0.0) == "open"
    together = breaker()
    for _ in range(3):
        answer(together, 0.0)
    for _ in range(3):  # as when a server is killed
        together.broke(1.0)
    assert together.state(1.0) == "open"


def test_active_probes_open_it_keep_it_open_and_let_a_request_try_at_once() -> None:
    one = breaker()
    for _ in range(3):
        one.fault(0.0)
    assert one.opens_in(0.0) == 4.0
    one.fault(2.0)
    assert one.opens_in(2.0) == 2.0
    one.fault(4.0)  # no request had to find out
    assert one.opens_in(4.0) == 8.0
    one.hint(5.0)
    assert (one.state(5.0), one.allows(5.0)) == ("half_open", True)
    one.begin(5.0)
    one.fault(5.0)
    one.hint(5.0)
    assert not one.allows(5.0)


def test_it_starts_slowly_after_a_recovery() -> None:
    one = breaker()
    assert one.weight(0.0) == 1.0
    fail(one, 0.0, 3)
    assert one.weight(4.0) == 1.0  # the probe needs no luck
    answer(one, 4.0)
    weights = [one.weight(4.0 + seconds) for seconds in (0.0, 2.0, 4.0, 8.0, 100.0)]
    assert weights == [0.05, 0.25, 0.5, 1.0, 1.0]


class Reference:
    """The same by its words alone: every verdict is kept, and each question goes through all of them."""

    def __init__(self) -> None:
        self.verdicts: list[tuple[int, int, int]] = []  # slice, good, bad; since it closed last
        self.run = 0
        self.until: float | None = None
        self.probe: object = None
        self.opened = 0
        self.closed_at = -1000.0
        self.usual: float | None = None
        self.changes = 0

    def state(self, now: float) -> str:
        if self.until is None:
            return "closed"
        return "half_open" if self.probe is not None or now >= self.until else "open"

    def counts(self, now: float) -> tuple[int, int]:
        window = [each for each in self.verdicts if int(now // 1.0) - SLICES < each[0]]
        return max(0, sum(good for _, good, _ in window)), sum(bad for _, _, bad in window)

    def verdict(self, now: float, good: int, bad: int) -> None:
        self.verdicts.append((int(now // 1.0), good, bad))
        if not bad:
            self.run = 0
            return
        self.run += 1
        fine, faults = self.counts(now)
        if self.run >= RULES.failures or (fine + faults >= RULES.least and faults / (fine + faults) >= RULES.share):
            self.opened = self.opened if now - self.closed_at < RULES.window else 0
            self.open(now)

    def open(self, now: float) -> None:
        self.until = now + min(RULES.longest, RULES.first * 2**self.opened)
        self.opened += 1
        self.probe = None
        self.changes += 1

    def close(self, now: float) -> None:
        self.until, self.probe, self.closed_at, self.run = None, None, now, 0
        self.verdicts = []
        self.changes += 1


class Histories(RuleBasedStateMachine):
    """Attempts begin, answer, fail, are left, break off; probes say this and that; time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.real, self.naive = breaker(), Reference()
        self.out: list[tuple[int, int, object]] = []  # ticket, the reference's count of changes, itself
        self.answering = 0

    @rule(halves=st.integers(1, 40))
    def time_passes(self, halves: int) -> None:
        self.now += halves / 2

    @precondition(lambda self: self.real.allows(self.now))
    @rule()
    def begins(self) -> None:
        me = object()
        if self.naive.until is not None:
            self.naive.probe = me
            self.naive.changes += 1
        self.out.append((self.real.begin(self.now), self.naive.changes, me))

    def ends(self, data: st.DataObject) -> tuple[int, bool, bool]:
        """Its ticket, whether its verdict counts, and whether it is the probe."""
        ticket, changes, me = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        return ticket, changes == self.naive.changes, self.naive.probe is me

    @precondition(lambda self: self.out)
    @rule(data=st.data(), seconds=st.sampled_from([None, 0.1, 1.0, 6.0, 90.0]))
    def answers(self, data: st.DataObject, seconds: float | None) -> None:
        ticket, counts, probe = self.ends(data)
        usual, naive = self.naive.usual, self.naive
        slow = seconds is not None and usual is not None and seconds >= max(5.0, 10.0 * usual)
        if seconds is not None:
            naive.usual = seconds if usual is None else usual + LEARNS * (min(seconds, MOST_LEARNT * usual) - usual)
        self.real.answered(ticket, self.now, seconds)
        if probe:
            naive.close(self.now)
        elif counts:
            naive.verdict(self.now, int(not slow), int(slow))
        self.answering += 1

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fails(self, data: st.DataObject) -> None:
        ticket, counts, probe = self.ends(data)
        self.real.failed(ticket, self.now)
        if probe:
            self.naive.open(self.now)
        elif counts:
            self.naive.verdict(self.now, 0, 1)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def is_left(self, data: st.DataObject) -> None:
        ticket, _, probe = self.ends(data)
        self.real.left(ticket, self.now)
        if probe:
            assert self.naive.until is not None
            self.naive.probe, self.naive.until = None, min(self.naive.until, self.now)
            self.naive.changes += 1

    @precondition(lambda self: self.answering)
    @rule()
    def breaks_off(self) -> None:
        self.answering -= 1
        self.real.broke(self.now)
        if self.naive.until is None:
            self.naive.verdict(self.now, -1, 1)

    @rule()
    def an_active_probe_fails(self) -> None:
        self.real.fault(self.now)
        if self.naive.until is None:
            self.naive.verdict(self.now, 0, 1)
        elif self.naive.probe is None and self.now >= self.naive.until:
            self.naive.open(self.now)

    @rule()
    def an_active_probe_is_well(self) -> None:
        self.real.hint(self.now)
        if self.naive.until is not None:
            self.naive.until = min(self.naive.until, self.now)

    @invariant()
    def both_say_the_same(self) -> None:
        real, naive, now = self.real, self.naive, self.now
        assert real.state(now) == naive.state(now)
        assert real.allows(now) == (naive.until is None or (naive.probe is None and now >= naive.until))
        assert real.opens_in(now) == (0.0 if naive.until is None else max(0.0, naive.until - now))
        good, bad = naive.counts(now)
        assert real.errors(now) == (bad / (good + bad) if good + bad else 0.0)
        assert real.usual == naive.usual


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40)


@pytest.mark.parametrize("luck", [0.0, 0.3, 1.0])
def test_open_times_stay_in_their_bounds(luck: float) -> None:
    one, now = breaker(luck=luck), 0.0
    fail(one, now, 3)
    seen: Sequence[float] = []
    for _ in range(40):
        seen = [*seen, one.opens_in(now)]
        now += one.opens_in(now)
        fail(one, now)
    assert max(seen) <= RULES.longest
    assert min(seen) >= RULES.first * (1 - JITTER) - 1e-9
