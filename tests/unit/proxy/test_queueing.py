"""The line before a backend: it is what a naive list of all who wait would be, fair, bounded, and nobody starves."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fairness import Work
from proxy.queueing import PATIENCE, PRIORITIES, Entry, Line, Ticket

MOST, MOST_TOKENS = 9, 40


class Naive:
    """The same line as one list, in which everything is counted anew each time."""

    def __init__(self) -> None:
        self.waiting: list[Entry] = []
        self.clocks: dict[Work, Counter[str]] = {work: Counter() for work in PRIORITIES}
        self.time = Counter[Work]()
        self.passed = Counter[Work]()

    def of(self, work: Work) -> list[Entry]:
        """Those of one priority, as they would be served."""
        clocks, rows = Counter(self.clocks[work]), []
        for entry in self.waiting:
            if entry.ticket.work == work:
                rows.append((clocks[entry.ticket.who], entry.number, entry))
                clocks[entry.ticket.who] += entry.ticket.tokens
        return [entry for *_, entry in sorted(rows, key=lambda row: row[:2])]

    def ordered(self) -> list[Entry]:
        return [entry for work in PRIORITIES for entry in self.of(work)]

    def enter(self, entry: Entry) -> list[Entry]:
        work, who = entry.ticket.work, entry.ticket.who
        if not any(each.ticket.who == who for each in self.of(work)):
            self.clocks[work][who] = max(self.clocks[work][who], self.time[work])
        self.waiting.append(entry)
        out = []
        while len(self.waiting) > MOST or (
            len(self.waiting) > 1 and sum(each.ticket.tokens for each in self.waiting) > MOST_TOKENS
        ):
            out.append(self.ordered()[-1])
            self.leave(out[-1])
            if out[-1] is entry:
                break
        return out

    def leave(self, entry: Entry) -> None:
        self.waiting.remove(entry)
        work = entry.ticket.work
        if not self.of(work):
            self.clocks[work].clear()
            self.time[work] = self.passed[work] = 0

    def take(self) -> Entry | None:
        waiting = [work for work in PRIORITIES if self.of(work)]
        if not waiting:
            return None
        work = next((each for each in waiting[1:] if self.passed[each] >= PATIENCE), waiting[0])
        entry = self.of(work)[0]
        self.passed[work] = 0
        for each in waiting[waiting.index(work) + 1 :]:
            self.passed[each] += 1
        self.time[work] = self.clocks[work][entry.ticket.who]
        self.clocks[work][entry.ticket.who] += entry.ticket.tokens
        self.leave(entry)
        return entry


def anybody(_: Entry) -> bool:
    return True


TICKETS = st.builds(Ticket, st.sampled_from("abc"), st.sampled_from(PRIORITIES), st.integers(1, 12))
MOVES = st.lists(TICKETS | st.none() | st.integers(0, 12), max_size=80)


@given(MOVES)
def test_it_is_what_a_naive_list_would_be_and_when_it_is_empty_nothing_is_left(
    moves: list[Ticket | int | None],
) -> None:
    line, naive = Line[Entry](MOST, MOST_TOKENS), Naive()
    for move in moves:
        if isinstance(move, Ticket):
            entry = Entry(move)
            out = line.enter(entry)
            assert out == naive.enter(entry)
            assert not any(each.waits for each in out)
        elif move is None:
            assert line.take(anybody) is naive.take()
        elif naive.waiting:
            gone = naive.waiting[move % len(naive.waiting)]
            naive.leave(gone)
            line.leave(gone)
        assert line.ordered() == naive.ordered()
        assert all(each.waits for each in naive.waiting)
        assert line.count == sum(line.waiting().values()) == len(naive.waiting)
        assert line.tokens == sum(each.ticket.tokens for each in naive.waiting)
    for entry in naive.waiting:
        line.leave(entry)
    for who in "cba":
        line.enter(Entry(Ticket(who)))
    assert [entry.ticket.who for entry in line.ordered()] == ["c", "b", "a"]


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5), st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_two_who_always_wait_get_as_many_tokens_however_their_requests_differ(one: list[int], many: list[int]) -> None:
    line, given_ = Line[Entry](1000, 10**9), Counter[str]()
    for number in range(100):
        line.enter(Entry(Ticket("many", tokens=many[number % len(many)])))
    line.enter(Entry(Ticket("one", tokens=one[0])))
    for number in range(100):
        taken = line.take(anybody)
        assert taken is not None
        given_[taken.ticket.who] += taken.ticket.tokens
        sizes = one if taken.ticket.who == "one" else many
        line.enter(Entry(Ticket(taken.ticket.who, tokens=sizes[number % len(sizes)])))
        assert abs(given_["one"] - given_["many"]) <= max(one) + max(many)


def test_the_more_urgent_goes_first_but_nobody_is_passed_over_for_ever() -> None:
    line = Line[Entry](1000, 10**9)
    for work in reversed(PRIORITIES):
        for number in range(100):
            line.enter(Entry(Ticket("a", work, id=f"{work}{number}")))
    taken = [entry.ticket.work for _ in range(66) if (entry := line.take(anybody))]
    assert taken[:PATIENCE] == ["interactive"] * PATIENCE
    assert taken[PATIENCE : PATIENCE + 2] == ["agent", "batch"]
    assert Counter(taken)["interactive"] >= 50
    assert min(Counter(taken)["agent"], Counter(taken)["batch"]) >= 5


@pytest.mark.parametrize("work", PRIORITIES)
def test_who_comes_now_is_told_how_many_go_first(work: Work) -> None:
    line = Line[Entry](1000, 10**9)
    for number in range(30):
        line.enter(Entry(Ticket("abbccc"[number % 6], PRIORITIES[number % 2], tokens=10)))
    for who in "abcd":
        before = line.ahead(ticket := Ticket(who, work, tokens=10))
        line.enter(entry := Entry(ticket))
        assert line.ordered().index(entry) == before
        line.leave(entry)


def test_a_full_line_gives_way_to_who_has_less_in_it_and_to_who_is_more_urgent() -> None:
    line = Line[Entry](3, 10**9)
    batch = [Entry(Ticket("a", "batch", id=str(number))) for number in range(4)]
    assert [line.enter(each) for each in batch] == [[], [], [], [batch[3]]]
    assert line.enter(other := Entry(Ticket("b", "batch"))) == [batch[2]]
    assert line.enter(urgent := Entry(Ticket("a"))) == [batch[1]]
    assert line.ordered() == [urgent, batch[0], other]


def test_what_waits_is_bounded_in_tokens_but_one_may_always_wait() -> None:
    line = Line[Entry](10, 100)
    large, small = Entry(Ticket("a", tokens=1000)), Entry(Ticket("a", tokens=1))
    assert line.enter(large) == []
    assert line.enter(small) == [small]
    assert line.ordered() == [large]


def test_who_does_not_want_its_turn_any_more_is_given_nothing() -> None:
    line = Line[Entry](10, 10**9)
    for who in "aab":
        line.enter(Entry(Ticket(who)))
    gone, other, again = line.ordered()
    assert [each.ticket.who for each in (gone, other, again)] == ["a", "b", "a"]
    assert line.take(lambda entry: entry is not gone) is again, "a has had nothing yet, and came before b"
    assert not gone.waits
    assert line.ordered() == [other]
