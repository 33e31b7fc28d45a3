"""The places of one backend, and the line before them: first come, first served, each told where it stands."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from backends.errors import Overloaded
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

    @asynccontextmanager
    async def one(self, slots: int | None, tell: Callable[[int], None]) -> AsyncIterator[None]:
        """A place, held until the context is left. Raises Overloaded or DeadlineExceeded.

        `tell` hears the place in line at each change: 1 is next, 0 is its turn. `slots` None sets no limit.
        """
        if slots is not None and (self._taken >= slots or self._line):
            if len(self._line) >= self._queue:
                raise Overloaded(retry_after=1.0)
            await self._turn(tell)
        else:
            self._taken += 1
        try:
            tell(0)
            yield
        finally:
            self._leave()

    async def _turn(self, tell: Callable[[int], None]) -> None:
        """Wait in line. Whoever leaves hands its place over, so `_taken` already counts us when our turn comes."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (turn, tell)
        self._line.append(waiter)
        try:
            tell(len(self._line))
            async with Deadline("queue", self._seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # our turn came in the very moment in which we gave up
                self._leave()
            else:
                with suppress(ValueError):  # whoever left just now has passed us over
                    self._line.remove(waiter)
                self._tell()
            raise

    def _leave(self) -> None:
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
