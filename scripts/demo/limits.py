"""How providers count: a calendar day, a rolling window, a token bucket. Exact, and knows nothing of Streamlane."""

from __future__ import annotations

from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Limit(Protocol):
    """Amounts against a cap. Times are Unix seconds and never go back."""

    cap: int

    def used(self, now: float) -> float:
        """What is counted against the cap."""

    def take(self, now: float, amount: int) -> None:
        """Count it; a negative amount gives back what the last requests had reserved too much."""

    def opens(self, now: float, amount: int) -> float:
        """The moment from which there is room for `amount`."""


class Daily:
    """Begins anew at each midnight of a zone."""

    def __init__(self, cap: int, zone: str) -> None:
        self.cap = cap
        self._zone = ZoneInfo(zone)
        self._day = date.min
        self._used = 0

    def used(self, now: float) -> float:
        today = datetime.fromtimestamp(now, self._zone).date()
        if today != self._day:
            self._day, self._used = today, 0
        return self._used

    def take(self, now: float, amount: int) -> None:
        self.used(now)
        self._used = max(0, self._used + amount)

    def opens(self, now: float, amount: int) -> float:
        if self.used(now) + amount <= self.cap:
            return now
        midnight = datetime.combine(self._day + timedelta(days=1), time.min, self._zone)
        return midnight.astimezone(UTC).timestamp()


class Rolling:
    """What was counted in the last `length` seconds."""

    def __init__(self, cap: int, length: float) -> None:
        self.cap = cap
        self._length = length
        self._events: deque[tuple[float, int]] = deque()

    def used(self, now: float) -> float:
        while self._events and self._events[0][0] <= now - self._length:
            self._events.popleft()
        return sum(amount for _, amount in self._events)

    def take(self, now: float, amount: int) -> None:
        self._events.append((now, amount))

    def opens(self, now: float, amount: int) -> float:
        over = self.used(now) + amount - self.cap
        for at, each in self._events:
            if over <= 0:
                break
            over -= each
            now = at + self._length
        return now


class Bucket:
    """Holds the cap, and refills all the time: cap in `length` seconds."""

    def __init__(self, cap: int, length: float) -> None:
        self.cap = cap
        self._length = length
        self._level = float(cap)
        self._at = 0.0

    def used(self, now: float) -> float:
        self._level = min(self.cap, self._level + max(0.0, now - self._at) * self.cap / self._length)
        self._at = now
        return self.cap - self._level

    def take(self, now: float, amount: int) -> None:
        self.used(now)
        self._level = min(self.cap, self._level - amount)

    def opens(self, now: float, amount: int) -> float:
        return now + max(0.0, self.used(now) + amount - self.cap) * self._length / self.cap
