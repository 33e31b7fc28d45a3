"""The keys of one backend: whose they are, which is next, and which was refused."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from backends.errors import AuthenticationFailed
from backends.request import Secret

Source: TypeAlias = Literal["gateway", "caller", "hybrid"]
"""Whose key is sent: the configuration's; the one that the caller sent for this backend; the caller's where it did."""


class Keys:
    """Takes turns with the keys of the configuration. One that was refused is not used again.

    `on_refused` is told of each that is refused, by its place among them, counted from 1; never of a caller's.
    """

    def __init__(
        self, keys: Sequence[str] = (), source: Source = "gateway", on_refused: Callable[[int], None] = lambda _: None
    ) -> None:
        self._keys = [*keys]
        self._source = source
        self._on_refused = on_refused
        self._refused: set[str] = set()
        self._next = 0

    def choose(self, callers: Secret | None = None) -> str | None:
        """The key for the next attempt; None where none is needed. Raises AuthenticationFailed when there is none."""
        if self._source != "gateway" and callers is not None:
            return callers.value
        if self._source == "caller":
            raise AuthenticationFailed(401)
        if not self._keys:
            return None
        usable = [key for key in self._keys if key not in self._refused]
        if not usable:
            raise AuthenticationFailed(401)
        self._next += 1
        return usable[self._next % len(usable)]

    def refused(self, key: str | None) -> None:
        """The backend said 401 to this key."""
        if key in self._keys and key not in self._refused:
            assert key is not None
            self._refused.add(key)
            self._on_refused(self._keys.index(key) + 1)
