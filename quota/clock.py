"""The ledger's time: the wall clock, as long as it moves as time does. A jump is not followed until somebody agrees.

A clock that leaps ahead would hand out tomorrow's quota. So time is the wall's at the start plus what has passed since,
sleep of the machine included; while the wall agrees within two seconds it is followed. When it has jumped, time goes on
as it passes, and `confirm` decides: a provider's `Date` that agrees with the wall makes it the time again. Nothing else
does, and nothing else need: until then windows open late by the jump, and the first request brings a date.
"""

import sys
import threading
import time
from collections.abc import Callable

from quota.pool import SECOND, Micros

AGREES: Micros = 2 * SECOND
"""As far as the wall may be from passing time: it is slewed by less, and stepped by more."""
CONFIRMS: Micros = AGREES + SECOND
"""As far as a `Date` may be from the wall: it is cut to whole seconds, and travels."""


def wall() -> Micros:
    """The time of the machine."""
    return time.time_ns() // 1000


def elapsed() -> Micros:
    """What has passed since some moment; where the system can tell, also while it slept."""
    if sys.platform == "win32":
        return time.monotonic_ns() // 1000
    return time.clock_gettime_ns(BOOTTIME) // 1000


BOOTTIME: int = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", 0))


class Clock:
    """May be asked from any thread. `wall` and `elapsed` are microseconds."""

    def __init__(self, wall: Callable[[], Micros] = wall, elapsed: Callable[[], Micros] = elapsed) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._latest = wall()
        self._ahead = self._latest - elapsed()  # of what has passed
        self._jumped = False

    def now(self) -> Micros:
        """The time, which never goes back: after a jump back that was confirmed it stands until the wall is there."""
        with self._lock:
            passed = self._elapsed()
            seen = self._wall()
            self._jumped = abs(seen - passed - self._ahead) > AGREES
            if not self._jumped:
                self._ahead = seen - passed
            self._latest = max(self._latest, passed + self._ahead)
            return self._latest

    @property
    def jumped(self) -> bool:
        """Whether the wall has jumped, when last asked, and nobody has confirmed it."""
        return self._jumped

    def confirm(self, date: Micros) -> None:
        """A provider's `Date`, as soon as it has arrived. It is asked between our clocks, and never believed alone."""
        with self._lock:
            seen = self._wall()
            if abs(seen - date) <= CONFIRMS:
                self._ahead = seen - self._elapsed()
                self._jumped = False
