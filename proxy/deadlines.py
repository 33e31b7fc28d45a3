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
    retry: float = 30


class Deadline:
    """The code inside must end in time. Raises DeadlineExceeded, with its name. `seconds` None sets no bound.

    It is asyncio.timeout without what we never ask of it, for a third of the time.
    """

    __slots__ = ("_bound", "_cancels", "_expired", "_name", "_seconds", "_task", "_timer")

    def __init__(self, name: str, seconds: float | None) -> None:
        self._name, self._seconds = name, seconds or 0.0
        self._bound = seconds is not None
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancels = task, task.cancelling()
        if self._bound:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._due)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Cancelled by us, and by nobody else: then it is our error, not a cancel.
        if self._expired and self._task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise DeadlineExceeded(self._name, self._seconds) from None

    def _due(self) -> None:
        self._expired = True
        self._task.cancel()


class Silence(Deadline):
    """`since` must never lie longer than `seconds` in the past. Raises DeadlineExceeded.

    It gives the loop's time since which something is waited for, None while nothing is. One timer asks now and then, so
    that who waits pays nothing per wait.
    """

    __slots__ = ("_since",)

    def __init__(self, name: str, seconds: float, since: Callable[[], float | None]) -> None:
        super().__init__(name, seconds)
        self._since = since

    def _due(self) -> None:
        loop, began = asyncio.get_running_loop(), self._since()
        left = self._seconds if began is None else began + self._seconds - loop.time()
        if left <= 0:
            super()._due()
        else:
            self._timer = loop.call_later(left, self._due)
