"""The keys of one backend: whose they are, which is next, which was refused, and when that one is tried again. Pure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from backends.errors import AuthenticationFailed, CallerKeyNeeded
from backends.request import Secret

Source: TypeAlias = Literal["gateway", "caller", "hybrid"]
"""Whose key is sent: the configuration's; the one that the caller sent for this backend; the caller's where it did."""

PAUSES = (5.0, 15.0, 60.0, 300.0)  # seconds; a key may be enabled again, and one refusal may be a slip of the server

REST = 10.0  # seconds for a key that was used too often, where nobody said how long


class KeyCounts(NamedTuple):
    """How many of the gateway's own keys a backend takes, and how many it refused."""

    usable: int
    refused: int


class Keys:
    """Takes turns with the keys of the configuration and of `file`, whose lines somebody else reads.

    One that was refused is not used again while there is another. When none is left, the backend is asked with one of
    them after each of the PAUSES, the last of which repeats. One that was used too often rests while another does not.
    `now` is in seconds, from any clock that does not go back.
    """

    def __init__(self, keys: Sequence[str] = (), source: Source = "gateway", file: Path | None = None) -> None:
        self.source = source
        self.file = file
        self._own = (*dict.fromkeys(keys),)  # one that stands there twice is one key
        self._keys: tuple[str, ...] = self._own
        self._refused: set[str] = set()
        self._rests: dict[str, float] = {}  # until when
        self._next = 0
        self._probes = 0  # since the last usable one was refused
        self._probe_at = 0.0

    @property
    def counts(self) -> KeyCounts:
        """How many are usable, and how many were refused."""
        return KeyCounts(len(self._keys) - len(self._refused), len(self._refused))

    def holds(self, key: str | None) -> bool:
        """Whether `key` is still one of ours; None is, where there are none."""
        return key in self._keys or (key is None and not self._keys)

    def any_of_ours(self) -> str | None:
        """One for what tells nothing of the key, such as whether a server is ready: it is no probe. None without keys.

        Raises AuthenticationFailed when the file has given none.
        """
        if self.source == "caller":
            return None
        if not self._keys:
            if self.file is not None:
                raise AuthenticationFailed(401, "key in the file")
            return None
        return next((key for key in self._keys if key not in self._refused), self._keys[0])

    def from_file(self, keys: Sequence[str]) -> None:
        """The file's keys, when it is read for the first time or has changed. New ones are usable."""
        self._keys = (*self._own, *(key for key in dict.fromkeys(keys) if key not in self._own))
        self._refused &= {*self._keys}
        self._rests = {key: until for key, until in self._rests.items() if key in self._keys}

    def choose(self, callers: Secret | None = None, *, now: float = 0.0, of_ours: bool = False) -> str | None:
        """The key for the next attempt; None where none is needed. `of_ours`: what is asked is no caller's request.

        Raises CallerKeyNeeded where only a caller's will do, and AuthenticationFailed when all of ours were refused.
        """
        if self.source != "gateway" and callers is not None:
            return callers.value
        if self.source == "caller":
            if of_ours:
                return None
            raise CallerKeyNeeded
        if not self._keys:
            if self.source == "hybrid" and not of_ours:
                raise CallerKeyNeeded
            if self.file is not None:  # it holds none, or could not be read
                raise AuthenticationFailed(401, "key in the file")
            return None
        usable = [key for key in self._keys if key not in self._refused]
        if not usable:
            if now < self._probe_at:
                raise AuthenticationFailed(401)
            self._probes = min(self._probes + 1, len(PAUSES) - 1)
            self._probe_at = now + PAUSES[self._probes]
            usable = [*self._keys]
        rested = [key for key in usable if self._rests.get(key, now) <= now]
        usable = rested or [min(usable, key=self._rests.__getitem__)]
        self._next += 1
        return usable[(self._next - 1) % len(usable)]

    def refused(self, key: str | None, now: float = 0.0) -> int | None:
        """The backend said 401 to this key: its place among ours, counted from 1, when that is news."""
        if key not in self._keys or key in self._refused:
            return None
        assert key is not None
        self._refused.add(key)
        self._probes, self._probe_at = 0, now + PAUSES[0]
        return self._keys.index(key) + 1

    def limited(self, key: str | None, seconds: float | None, now: float) -> bool:
        """The backend said 429 to this key, which rests for so long. Whether another one of ours may be asked now."""
        if key not in self._keys:
            return False
        assert key is not None
        self._rests[key] = now + (seconds or REST)
        usable = (each for each in self._keys if each not in self._refused)
        return any(self._rests.get(each, now) <= now for each in usable)

    def accepted(self, key: str | None) -> int | None:
        """The backend took this key: its place, when it had refused it before."""
        if key not in self._refused:
            return None
        assert key is not None
        self._refused.discard(key)
        return self._keys.index(key) + 1
