"""The deadlines of one call, by name: each is a scope around code. Classes, because a call enters several of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from backends.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. `idle` counts while the backend is silent; an empty batch is no silence."""

    queue: float = 60
    first_event: float = 120
    idle: float = 60
    total: float = 1800


class Deadline:
    """The code inside must end in time. Raises DeadlineExceeded, with its name."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._scope = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded(self._name, self._seconds) from None


class Silence(Deadline):
    """`since` must never lie longer than `seconds` in the past. Raises DeadlineExceeded.

    It gives the loop's time since which something is waited for, None while nothing is. One timer asks now and then, so
    that who waits pays nothing per wait.
    """

    def __init__(self, name: str, seconds: float, since: Callable[[], float | None]) -> None:
        self._name, self._seconds = name, seconds
        self._scope = asyncio.timeout(None)
        self._since = since
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._check)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await super().__aexit__(kind, error, trace)

    def _check(self) -> None:
        began, now = self._since(), self._loop.time()
        left = self._seconds if began is None else began + self._seconds - now
        if left <= 0:
            self._scope.reschedule(now)
        else:
            self._timer = self._loop.call_later(left, self._check)
