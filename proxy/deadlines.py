"""The deadlines of one call, by name: each is a scope around code."""

import asyncio
from collections.abc import AsyncIterator, Callable
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
async def silence(name: str, seconds: float, since: Callable[[], float | None]) -> AsyncIterator[None]:
    """`since` must never lie longer than `seconds` in the past. Raises DeadlineExceeded.

    It is the loop's time since which something is waited for, None while nothing is. One timer asks now and then, so
    that who waits pays nothing per wait.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def check() -> None:
        nonlocal timer
        began, now = since(), loop.time()
        left = seconds if began is None else began + seconds - now
        if left <= 0:
            scope.reschedule(now)
        else:
            timer = loop.call_later(left, check)

    timer = loop.call_later(seconds, check)
    try:
        async with asyncio.timeout(None) as scope:
            yield
    except TimeoutError:
        if scope.expired():
            raise DeadlineExceeded(name, seconds) from None
        raise
    finally:
        timer.cancel()
