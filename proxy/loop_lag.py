"""How late the event loop is: one timer that looks at the clock when it is called."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

EVERY = 0.25  # seconds between two looks
REMEMBERED = 60.0  # seconds for which `longest` looks back


class LoopLag:
    """Each lag goes to `observe`, in seconds. uvloop's timers count milliseconds, so less than one says nothing."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._recent: deque[float] = deque(maxlen=round(REMEMBERED / EVERY))

    @property
    def longest(self) -> float:
        """The longest of the last minute, in seconds."""
        return max(self._recent, default=0.0)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.perf_counter() + EVERY
            await asyncio.sleep(EVERY)
            lag = max(0.0, time.perf_counter() - due)
            self._recent.append(lag)
            self._observe(lag)
