"""The line before one backend: urgent work first, fair between principals, bounded in number and tokens. Pure.

Priorities are strict: interactive, then agent, then batch. So that none is starved, one that was passed over PATIENCE
times has the next place: whatever comes before it, batch gets one of PATIENCE + 1. Places are counted and not seconds,
because a second is long before one backend and nothing before another.

Inside a priority it is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): each principal has a virtual clock,
which goes on by the tokens that it is given; the one whose clock is furthest behind is next, and who comes anew starts
at the time of whoever was served last. A hundred requests of one principal weigh as much as one of another.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import count
from typing import Generic, TypeVar

from msgspec import Struct

from proxy.fairness import Work

PRIORITIES: tuple[Work, ...] = ("interactive", "agent", "batch")
PATIENCE = 10  # places


class Ticket(Struct, frozen=True):
    """One request for a place. `tokens` are those of its prompt and of its longest answer, estimated, at least 1.

    `deadline` is how many seconds it may wait at most, None for as long as any. `kind` is what its time to the first
    token may be compared with: the same model, a prompt of about the same length. `id` is what its owner knows it by.
    """

    who: str
    work: Work = "interactive"
    tokens: int = 1
    deadline: float | None = None
    kind: tuple[str, int] = ("", 0)
    id: str = ""


class Entry:
    """One who wants a place. `number` is its place in the order of coming; it `waits` while it is in line."""

    __slots__ = ("number", "ticket", "waits")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.number, self.waits = 0, False


E = TypeVar("E", bound=Entry)


class Share(Generic[E]):
    """What one principal has in line, in the order of coming. `clock` is where its first one starts."""

    __slots__ = ("clock", "line", "tokens")

    def __init__(self, clock: int) -> None:
        self.clock, self.tokens = clock, 0
        self.line: OrderedDict[int, E] = OrderedDict()

    def first(self) -> tuple[int, int]:
        """When the first of it starts; who came first goes before who starts at the same time."""
        return self.clock, next(iter(self.line))

    def last(self) -> tuple[int, int]:
        """When the last of it starts."""
        number = next(reversed(self.line))
        return self.clock + self.tokens - self.line[number].ticket.tokens, number


class Fair(Generic[E]):
    """Those of one priority. `passed` is how often a more urgent one had the place while any of these waited."""

    def __init__(self) -> None:
        self._shares: dict[str, Share[E]] = {}
        self._ahead: dict[str, int] = {}  # clocks of those who have nothing in line and were given more than others
        self._clock = 0
        self._count = 0
        self.tokens = self.passed = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, entry: E) -> None:
        """At the end of what its principal has in line."""
        who = entry.ticket.who
        if (share := self._shares.get(who)) is None:
            share = self._shares[who] = Share(max(self._clock, self._ahead.pop(who, 0)))
        share.line[entry.number] = entry
        share.tokens += entry.ticket.tokens
        self.tokens += entry.ticket.tokens
        self._count += 1

    def take(self) -> E:
        """The next one, who is given its tokens."""
        share = min(self._shares.values(), key=Share.first)
        entry = next(iter(share.line.values()))
        self._clock = share.clock
        share.clock += entry.ticket.tokens
        self.passed = 0
        self._remove(entry, share)
        return entry

    def leave(self, entry: E) -> None:
        """As if it had never come."""
        self._remove(entry, self._shares[entry.ticket.who])

    def last(self) -> E:
        """Who would be served last."""
        share = max(self._shares.values(), key=Share.last)
        return share.line[next(reversed(share.line))]

    def next(self) -> E:
        """Who would be served now."""
        return next(iter(min(self._shares.values(), key=Share.first).line.values()))

    def ahead(self, who: str) -> int:
        """How many would be served before one who came now; where requests differ in size, about."""
        mine = self._shares.get(who)
        start = mine.clock + mine.tokens if mine else max(self._clock, self._ahead.get(who, 0))
        found = 0
        for share in self._shares.values():
            if share.clock <= start:
                found += min(len(share.line), (start - share.clock) * len(share.line) // share.tokens + 1)
        return found

    def ordered(self) -> list[E]:
        """All of them, the next one first."""
        rows: list[tuple[int, int, E]] = []
        for share in self._shares.values():
            start = share.clock
            for number, entry in share.line.items():
                rows.append((start, number, entry))
                start += entry.ticket.tokens
        return [entry for _, _, entry in sorted(rows, key=lambda row: row[:2])]

    def _remove(self, entry: E, share: Share[E]) -> None:
        del share.line[entry.number]
        share.tokens -= entry.ticket.tokens
        self.tokens -= entry.ticket.tokens
        self._count -= 1
        if not share.line:
            del self._shares[entry.ticket.who]
            if share.clock > self._clock:
                self._ahead[entry.ticket.who] = share.clock
        if not self._count:  # who comes now has waited for nobody
            self._ahead.clear()
            self._clock = self.passed = 0
        elif len(self._ahead) > 2 * self._count:
            self._ahead = {who: clock for who, clock in self._ahead.items() if clock > self._clock}


class Line(Generic[E]):
    """Of all priorities together at most `most` wait, with at most `most_tokens`; one may always, whatever its size.

    `count` wait. Where there are more, whoever would be served last has to go, which is not always who came last.
    """

    def __init__(self, most: int, most_tokens: int, patience: int = PATIENCE) -> None:
        self._most, self._most_tokens, self._patience = most, most_tokens, patience
        self._of: Mapping[Work, Fair[E]] = {work: Fair() for work in PRIORITIES}
        self._lines = tuple(self._of.values())
        self._numbers = count(1)
        self.count = 0

    @property
    def tokens(self) -> int:
        """Of all who wait."""
        return sum(each.tokens for each in self._lines)

    def waiting(self) -> Mapping[Work, int]:
        """How many wait, by priority."""
        return {work: len(each) for work, each in self._of.items()}

    def ahead(self, ticket: Ticket) -> int:
        """How many would be served before one who came now."""
        found = 0
        for work, line in self._of.items():
            if work == ticket.work:
                return found + line.ahead(ticket.who)
            found += len(line)
        return found

    def enter(self, entry: E) -> list[E]:
        """Stand in line. Gives those who have to go for it, none of whom is in line any more; it may be one itself."""
        entry.number, entry.waits = next(self._numbers), True
        self._of[entry.ticket.work].enter(entry)
        self.count += 1
        out: list[E] = []
        while self.count > self._most or (self.count > 1 and self.tokens > self._most_tokens):
            last = next(each for each in reversed(self._lines) if each).last()
            self.leave(last)
            out.append(last)
            if last is entry:
                break
        return out

    def take(self, wanted: Callable[[E], bool]) -> E | None:
        """Whose turn it is, now out of the line; None where nobody is left. Who does not want it any more when it is
        theirs is out of the line too, and was given nothing.
        """
        while self.count:
            waiting = [each for each in self._lines if each]
            line = next((each for each in waiting[1:] if each.passed >= self._patience), waiting[0])
            entry = line.next()
            if not wanted(entry):
                self.leave(entry)
                continue
            line.take()
            self.count -= 1
            entry.waits = False
            for each in waiting[waiting.index(line) + 1 :]:
                each.passed += 1
            return entry
        return None

    def leave(self, entry: E) -> None:
        """Give up. Nothing is left of it."""
        self._of[entry.ticket.work].leave(entry)
        self.count -= 1
        entry.waits = False

    def ordered(self) -> list[E]:
        """All who wait, as they would be served if nobody else came and nobody lost patience."""
        return [entry for line in self._lines for entry in line.ordered()]
