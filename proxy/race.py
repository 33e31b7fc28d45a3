"""Two ways to the same thing, of which the second begins when the first is slow: who is there first is taken."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def race(ways: Sequence[Callable[[], Awaitable[T]]], after: float, may: Callable[[], bool]) -> tuple[int, T]:
    """Which of the two was first, and what it gave. The second begins after so many seconds, if it `may` then.

    The other one is cancelled, and has ended when this returns. Raises the first one's error when both fail, or when it
    fails before the second has begun.
    """
    tasks: list[asyncio.Future[T]] = [asyncio.ensure_future(ways[0]())]
    try:
        await asyncio.wait(tasks, timeout=after)
        if not tasks[0].done() and may():
            tasks.append(asyncio.ensure_future(ways[1]()))
        left = set(tasks)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for number, task in enumerate(tasks):
                if task in done and task.exception() is None:
                    return number, task.result()
        return 0, tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
