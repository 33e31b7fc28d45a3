"""Values by key that are held for a while: bounded by bytes and by time, the least recently used go first. Pure."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")
SWEEP = 60.0  # seconds between two searches for what is past its time


class Held(Generic[V]):
    """At most `max_bytes` of values. `now` is the clock that `expires` is given by, in seconds."""

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._entries: OrderedDict[str, tuple[V, int, float]] = OrderedDict()
        self._swept = now()
        self.size = 0

    def put(self, key: str, value: V, size: int, expires: float) -> None:
        """Hold `value`, in place of what had its key. What is larger than the whole bound is not held."""
        self.pop(key)
        self.sweep()
        if size > self._max_bytes:
            return
        self._entries[key] = (value, size, expires)
        self.size += size
        while self.size > self._max_bytes:
            self.pop(next(iter(self._entries)))

    def get(self, key: str) -> V | None:
        """The value, which is now the most recently used; None when it is not held, or past its time."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[2] <= self._now():
            self.pop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def pop(self, key: str) -> V | None:
        """Let go of one value."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self.size -= entry[1]
        return entry[0]

    def items(self) -> Iterator[tuple[str, V]]:
        """What is held, the least recently used first; some of it may be past its time."""
        return ((key, entry[0]) for key, entry in tuple(self._entries.items()))

    def __len__(self) -> int:
        return len(self._entries)

    def sweep(self) -> None:
        """Let go of what is past its time. Searches once in SWEEP seconds, however often it is called."""
        now = self._now()
        if now - self._swept < SWEEP:
            return
        self._swept = now
        for key in [key for key, (_, _, expires) in self._entries.items() if expires <= now]:
            self.pop(key)
