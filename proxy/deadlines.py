"""The deadlines of one call, by name: each is a scope around code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from backends.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. `idle` counts while the backend is silent; an empty batch is no silence."""

    queue: float = 60
    first_event: float = 120
    idle: float = 60
    total: float = 1800


@asynccontextmanager
async def deadline(name: str, seconds: float) -> AsyncIterator[None]:
    """The code inside must end in time. Raises DeadlineExceeded, with its name."""
    try:
        async with asyncio.timeout(seconds) as scope:
            yield
    except TimeoutError:
        if scope.expired():
            raise DeadlineExceeded(name, seconds) from None
        raise


@asynccontextmanager
async def silence(name: str, seconds: float) -> AsyncIterator["Silence"]:
    """The code inside may wait at most so long at a time, as it notes in the Silence. Raises DeadlineExceeded."""
    try:
        async with asyncio.timeout(None) as scope:
            watch = Silence(seconds, scope)
            try:
                yield watch
            finally:
                watch.close()
    except TimeoutError:
        if scope.expired():
            raise DeadlineExceeded(name, seconds) from None
        raise


class Silence:
    """Many waits in a row for one timer in all: who waits sets `since` to `time()`, and to None when it is over."""

    __slots__ = ("_check_handle", "_loop", "_scope", "_seconds", "since", "time")

    def __init__(self, seconds: float, scope: asyncio.Timeout) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._scope = scope
        self.since: float | None = None
        self.time = self._loop.time
        self._check_handle = self._loop.call_later(seconds, self._check)

    def close(self) -> None:
        """No more waits."""
        self._check_handle.cancel()

    def _check(self) -> None:
        now = self.time()
        left = self._seconds if self.since is None else self.since + self._seconds - now
        if left <= 0:
            self._scope.reschedule(now)
        else:
            self._check_handle = self._loop.call_later(left, self._check)
