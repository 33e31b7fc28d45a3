"""Responses in memory: bounded by bytes and time, gone with the process. Pure."""

from collections.abc import Callable

from proxy.held import Held
from proxy.store.port import Row


class MemoryStore:
    """At most `max_bytes`; the least recently used go first. `now` is in Unix seconds."""

    unwritten = 0
    lost = 0

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._held: Held[Row] = Held(max_bytes, now)

    def remember(self, row: Row) -> None:
        """Keep it, as far as the bounds allow."""
        self._held.put(row.id, row, row.size, row.expires)

    async def get(self, response_id: str, principal: str) -> Row | None:
        """The response of that id, if it is the principal's."""
        return self.find(response_id, principal)

    def find(self, response_id: str, principal: str) -> Row | None:
        """The same, without waiting."""
        row = self._held.get(response_id)
        return row if row is not None and row.principal == principal else None

    async def delete(self, response_id: str, principal: str) -> bool:
        """Whether it was there."""
        return self.find(response_id, principal) is not None and self._held.pop(response_id) is not None

    async def delete_all(self, principal: str) -> int:
        """How many there were."""
        theirs = [key for key, row in self._held.items() if row.principal == principal]
        for key in theirs:
            self._held.pop(key)
        return len(theirs)

    def sweep(self) -> None:
        """Let go of what is past its time."""
        self._held.sweep()

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._held.size
