"""A day that passes in a minute: a clock that every process of the demonstration shares."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

LENGTH = 24 * 3600.0  # seconds of the day


@dataclass(frozen=True)
class Day:
    """It begins at `begins` (Unix seconds) when the machine's monotonic clock shows `origin`, and lasts `lasts` real
    seconds.
    """

    begins: float
    origin: float
    lasts: float

    @property
    def speed(self) -> float:
        """Seconds of the day in a real second."""
        return LENGTH / self.lasts

    def now(self) -> float:
        """Unix seconds, in the day."""
        return self.begins + self.passed()

    def passed(self) -> float:
        """Seconds of the day since its begin."""
        return (time.monotonic() - self.origin) * self.speed  # CLOCK_MONOTONIC is the same in all processes

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of the day."""
        await asyncio.sleep(seconds / self.speed)

    def words(self) -> str:
        """What another process makes this clock of."""
        return f"{self.begins},{self.origin},{self.lasts}"


def read(words: str) -> Day:
    """The clock that `words` speaks of."""
    return Day(*map(float, words.split(",")))


def clock(moment: float) -> str:
    """15:04, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M")
