"""The places of each backend, and the line before them: who has one, who waits for how long, and who need not try.

A place is given by plain calls, in the step of the loop in which it is free; a waiter is a future and a timer.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from random import random
from typing import TypeAlias

from backends.base import Backend
from backends.errors import BackendError, DeadlineExceeded
from backends.unasked import QueueFull
from proxy.fairness import Work
from proxy.limiting import Bounds, Limit
from proxy.queueing import Entry, Line, Ticket

Tell: TypeAlias = Callable[[int, float | None], None]
"""Hears the place in line, 1 is next and 0 its turn, and about how many seconds are left until then, None if unknown.

It does not raise.
"""
Waited: TypeAlias = Callable[[str, Work, float], None]
"""Hears of each who had to wait for a place, and got it: at which backend, how urgent, and for how many seconds."""
RECENT = 1 / 32  # how much the newest call says of how long a place is held
SURE = 0.8  # of the time that one may wait: who waits for nearly all of it is served when it is too late
TELLING = 0.2  # seconds between two times at which those in line are told that it has moved
AWAY = (1.0, 60.0)  # seconds, the least and the most, that who is refused is asked to stay away


@dataclass(frozen=True, slots=True)
class Room:
    """What an operator says of one backend: its limit, and how many may wait, with how many tokens."""

    bounds: Bounds = Bounds()
    queued: int = 256
    queued_tokens: int = 2_000_000


class Waiter(Entry):
    """One who waits no longer than `until`. `turn` ends with None when it is theirs, else with why it never will be.

    `told` is the place that it was told last.
    """

    __slots__ = ("since", "tell", "told", "turn", "until")

    def __init__(self, ticket: Ticket, since: float, until: float, tell: Tell) -> None:
        super().__init__(ticket)
        self.since, self.until, self.tell, self.told = since, until, tell, 0
        self.turn: asyncio.Future[BackendError | None] = asyncio.get_running_loop().create_future()


class Gate:
    """One backend's places. `running` hold one; `refused` counts those who got none, by why.

    `seconds` is how long anybody may wait. `waited` hears how long those who had to have waited for their place.
    """

    def __init__(
        self,
        backend: Backend,
        room: Room,
        seconds: float,
        now: Callable[[], float],
        waited: Waited,
    ) -> None:
        self.backend, self.room = backend, room
        self._seconds, self.now, self._waited = seconds, now, waited
        self._adapting = Limit(room.bounds, random)
        self.line: Line[Waiter] = Line(room.queued, room.queued_tokens)
        self.running = 0
        self.refused: Counter[str] = Counter()
        self._held: float | None = None  # seconds that a call holds its place, of late
        self._telling: asyncio.TimerHandle | None = None
        self._told_at = -inf

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return self.line.count

    @property
    def limit(self) -> float:
        """How many may hold a place now. A backend that has slots knows that itself."""
        slots = self.backend.slots
        return self._adapting.at(self.now()) if slots is None else min(slots, self._adapting.most)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the limit may be."""
        slots, adapting = self.backend.slots, self._adapting
        return (adapting.least, adapting.most) if slots is None and adapting.adaptive else (self.limit, self.limit)

    @property
    def free(self) -> bool:
        """Whether who came now would have a place at once."""
        return self.running < self.limit

    def wait(self, place: int) -> float | None:
        """About how many seconds it takes until so many have had their turn; None before anything has ended."""
        return None if self._held is None else place * self._held / max(1, self.running)

    async def turn(self, ticket: Ticket, tell: Tell) -> None:
        """Wait in line for a place, and have it. Raises QueueFull or DeadlineExceeded."""
        if self.free:  # a backend has more slots than it had
            self._admit()
        if self.free:
            self.running += 1
            return
        since = self.now()
        most = self._seconds if ticket.deadline is None else min(self._seconds, ticket.deadline)
        place = self.line.ahead(ticket) + 1
        wait = self.wait(place)
        if wait is not None and wait > most * SURE:
            self.refused["too_late"] += 1
            raise QueueFull(away(wait - most * SURE), wait)
        waiter = Waiter(ticket, since, since + most, tell)
        for last in self.line.enter(waiter):
            if not last.turn.done():
                self.refused["full"] += 1
                last.turn.set_result(QueueFull(away(self.wait(self.waiting))))
        if waiter.waits:
            waiter.told = place
            tell(place, wait)
            self._move()
            timer = asyncio.get_running_loop().call_later(most, self._late, waiter)
            try:
                await waiter.turn
            except BaseException:
                if waiter.waits:
                    self.line.leave(waiter)
                    self._move()
                elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.result() is None:
                    self._leave()  # our turn came in the very moment in which we gave up
                raise
            finally:
                timer.cancel()
        if (error := waiter.turn.result()) is not None:
            raise error
        self._waited(self.backend.name, ticket.work, self.now() - since)

    def leave(self, seconds: float | None) -> None:
        """One who has held a place for so long gives it to the next; None for what says nothing of other answers."""
        if seconds is not None:
            held = self._held
            self._held = seconds if held is None else held + (seconds - held) * RECENT
        self._leave()

    def first(self, kind: tuple[str, int], seconds: float, among: int) -> None:
        """A first token came, `seconds` after its request was begun as one `among` so many."""
        self._adapting.first(kind, seconds, among, self.now())
        if self.line.count:
            self._admit()

    def given_up(self, kind: tuple[str, int], seconds: float, among: int) -> None:
        """There was no first token so long after a request was begun, and nobody waits for it any more."""
        self._adapting.given_up(kind, seconds, among)

    def _leave(self) -> None:
        self.running -= 1
        if self.line.count:
            self._admit()

    def _admit(self) -> None:
        """Give the places that are free."""
        while self.running < self.limit and (waiter := self.line.take(self._wanted)) is not None:
            self.running += 1
            waiter.turn.set_result(None)
        self._move()

    def _wanted(self, waiter: Waiter) -> bool:
        if not waiter.turn.done() and waiter.until <= self.now():
            self._end(waiter)
        return not waiter.turn.done()

    def _late(self, waiter: Waiter) -> None:
        """Its time is over."""
        if waiter.waits and not waiter.turn.done():
            self.line.leave(waiter)
            self._end(waiter)
            self._move()

    def _end(self, waiter: Waiter) -> None:
        self.refused["deadline"] += 1
        waiter.turn.set_result(DeadlineExceeded("queue", round(waiter.until - waiter.since, 3)))

    def _move(self) -> None:
        """The line has moved: who is in it hears of that, soon and not too often."""
        if self._telling is None and self.line.count:
            again = max(0.0, self._told_at + TELLING - self.now())
            self._telling = asyncio.get_running_loop().call_later(again, self._tell)

    def _tell(self) -> None:
        self._telling, self._told_at = None, self.now()
        for place, waiter in enumerate(self.line.ordered(), start=1):
            if waiter.told != place and not waiter.turn.done():
                waiter.told = place
                waiter.tell(place, self.wait(place))


class Place:
    """One place, held until the context is left. A class, because every call enters one.

    On entering, raises QueueFull or DeadlineExceeded.
    """

    __slots__ = ("_among", "_answered", "_gate", "_since", "_tell", "_ticket")

    def __init__(self, gate: Gate, ticket: Ticket, tell: Tell) -> None:
        self._gate, self._ticket, self._tell = gate, ticket, tell
        self._answered = False

    async def __aenter__(self) -> "Place":
        gate = self._gate
        if not gate.line.count and gate.running < gate.limit:
            gate.running += 1
        else:
            await gate.turn(self._ticket, self._tell)
        self._since, self._among = gate.now(), gate.running
        self._tell(0, None)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What was given up before its first token was short: were it counted, all would seem to be, and many would
        # be let into line who have to give up too.
        gate, seconds = self._gate, self._gate.now() - self._since
        if kind is asyncio.CancelledError and not self._answered:
            gate.given_up(self._ticket.kind, seconds, self._among)
        gate.leave(seconds if kind is None or self._answered else None)

    def first(self, seconds: float) -> None:
        """The first content came so long after the request was begun."""
        self._answered = True
        self._gate.first(self._ticket.kind, seconds, self._among)


class Places:
    """Those of all backends. `seconds` is how long one may wait; `rooms` has what the operator says of each by name."""

    def __init__(
        self,
        *,
        seconds: float,
        rooms: Callable[[str], Room] = lambda _: Room(),
        waited: Waited = lambda *_: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._rooms, self._waited, self._now = seconds, rooms, waited, now
        self._gates: dict[str, Gate] = {}

    def place(self, backend: Backend, ticket: Ticket, tell: Tell) -> Place:
        """One at `backend`; nothing happens before it is entered."""
        gate = self._gates.get(backend.name)
        if gate is None or gate.backend is not backend:
            gate = self.gate(backend)
        return Place(gate, ticket, tell)

    def gate(self, backend: Backend) -> Gate:
        """Where its places are."""
        name = backend.name
        if name not in self._gates:
            self._gates[name] = Gate(backend, self._rooms(name), self._seconds, self._now, self._waited)
        self._gates[name].backend = backend
        return self._gates[name]

    def gates(self) -> Mapping[str, Gate]:
        """By backend that was ever asked."""
        return self._gates


def away(wait: float | None) -> float:
    """How long who is refused is asked to stay away, when it is known that it takes so long."""
    return AWAY[0] if wait is None else round(min(max(wait, AWAY[0]), AWAY[1]), 3)
