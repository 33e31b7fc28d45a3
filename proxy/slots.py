"""The places of one backend, and the line before them: first come, first served, each told where it stands."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from backends.errors import QueueFull
from proxy.deadlines import Deadline

Waiter = tuple[asyncio.Future[None], Callable[[int], None]]


class Slots:
    """As many at once as the backend takes; at most `queue` wait, each no longer than `seconds`."""

    def __init__(self, queue: int, seconds: float) -> None:
        self._queue, self._seconds = queue, seconds
        self._taken = 0
        self._line: deque[Waiter] = deque()

    @property
    def taken(self) -> int:
        """How many hold a place."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def one(self, slots: int | None, tell: Callable[[int], None]) -> "Place":
        """A place, held until the context is left. On entering, raises QueueFull or DeadlineExceeded.

        `tell` hears the place in line at each change: 1 is next, 0 is its turn. It does not raise. `slots` None sets no
        limit.
        """
        return Place(self, slots, tell)

    async def take(self, slots: int | None, tell: Callable[[int], None]) -> None:
        """Stand in line until there is a place, and take it. A place that was taken has to be left."""
        if slots is not None and (self._taken >= slots or self._line):
            if len(self._line) >= self._queue:
                raise QueueFull
            await self._turn(tell)
        else:
            self._taken += 1
        tell(0)

    async def _turn(self, tell: Callable[[int], None]) -> None:
        """Wait in line. Whoever leaves hands its place over, so `_taken` already counts us when our turn comes."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (turn, tell)
        self._line.append(waiter)
        try:
            tell(len(self._line))
            with Deadline("queue", self._seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # our turn came in the very moment in which we gave up
                self.leave()
            else:
                with suppress(ValueError):  # whoever left just now has passed us over
                    self._line.remove(waiter)
                self._tell()
            raise

    def leave(self) -> None:
        """Hand the place to the first in line, or have one fewer taken."""
        while self._line:
            turn, _ = self._line.popleft()
            if not turn.done():  # otherwise it has just given up
                turn.set_result(None)
                self._tell()
                return
        self._taken -= 1

    def _tell(self) -> None:
        for place, (_, tell) in enumerate(self._line, start=1):
            tell(place)


class Place:
    """One place, as a context. A class, because every call enters one."""

    __slots__ = ("_limit", "_slots", "_tell")

    def __init__(self, slots: Slots, limit: int | None, tell: Callable[[int], None]) -> None:
        self._slots, self._limit, self._tell = slots, limit, tell

    async def __aenter__(self) -> None:
        await self._slots.take(self._limit, self._tell)

    async def __aexit__(self, *_: object) -> None:
        self._slots.leave()
