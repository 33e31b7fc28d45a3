"""Long work on the loop in short slices, so that streams go on meanwhile."""

import asyncio
import time
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

SLICE = 0.005  # seconds; a stream's token waits no longer, and taking turns costs nothing yet


async def unhurried(items: Iterable[T]) -> list[T]:
    """All of `items`, each made when it is asked for: others get a turn after every 5 ms of it."""
    made: list[T] = []
    until = time.perf_counter() + SLICE
    for item in items:
        made.append(item)
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE
    return made
