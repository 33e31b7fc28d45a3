"""The line of those who wait for quota to come back: fair between principals, one at a time where there is some."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count

from backends.unasked import QueueFull
from proxy.fairness import Waiting, order


class Place:
    """One who waits. `tell` hears the place in line at each change: 1 is next."""

    __slots__ = ("arrival", "called", "tell", "told", "who")

    def __init__(self, who: str, arrival: int, tell: Callable[[int], None]) -> None:
        self.who, self.arrival, self.tell = who, arrival, tell
        self.called: asyncio.Future[None] | None = None  # set while it wants its turn
        self.told = 0


class Line:
    """At most `most` wait of one principal. `use` says how much each of them has had: who had least comes first."""

    def __init__(self, most: int, use: Callable[[str], float]) -> None:
        self._most, self._use = most, use
        self._places: list[Place] = []
        self._arrivals = count()
        self._taken = False
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    @contextmanager
    def place(self, who: str, tell: Callable[[int], None]) -> Iterator[Place]:
        """A place in line, until the context is left. Raises QueueFull."""
        if self.full(who):
            raise QueueFull
        place = Place(who, next(self._arrivals), tell)
        self._of[who] += 1
        self._places.append(place)
        try:
            self._say()
            yield place
        finally:
            self._places.remove(place)
            self._of[who] -= 1
            if not self._of[who]:
                del self._of[who]
            self._say()

    def full(self, who: str) -> bool:
        """Whether as many of one principal wait as may."""
        return self._of[who] >= self._most

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[None]:
        """Nobody else has a turn inside. Of those who want one, it goes to who comes first in the fair order: also of
        those who begin to want it in the same moment.
        """
        loop = asyncio.get_running_loop()
        called = place.called = loop.create_future()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._next)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():  # it was given in the moment in which we left
                self._next()
            raise
        finally:
            place.called = None
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        """Give the turn on."""
        self._taken = False
        for place in self._ordered():
            if place.called is not None and not place.called.done():
                self._taken = True
                place.called.set_result(None)
                return

    def _ordered(self) -> list[Place]:
        use = {who: self._use(who) for who in self._of}
        places = {place.arrival: place for place in self._places}
        waiting = [Waiting(place.who, place.arrival) for place in self._places]
        return [places[each.arrival] for each in order(waiting, use)]

    def _say(self) -> None:
        """Tell everyone whose place has changed."""
        for number, place in enumerate(self._ordered(), start=1):
            if place.told != number:
                place.told = number
                place.tell(number)
