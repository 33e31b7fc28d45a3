"""What a store of responses can do, and what it holds: the port that memory and SQLite stand behind. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from backends.json import dumps, loads_own

OVERHEAD = 512  # bytes that a row takes in memory beside its body, about


class Stored(Struct, frozen=True, kw_only=True):
    """One response that has ended. `response` is the object as its terminal event has it, `items` its input, each
    with an id. `principal` is the owner's id. `expires` is in Unix seconds.
    """

    id: str
    principal: str
    response: Mapping[str, Any]
    items: tuple[Mapping[str, Any], ...]
    previous_id: str | None
    expires: float


class Row(Struct, frozen=True):
    """A response as stores hold it: `body` is JSON, which takes a fraction of the memory of its objects."""

    id: str
    principal: str
    previous_id: str | None
    expires: float
    body: bytes

    @classmethod
    def of(cls, stored: Stored) -> "Row":
        """Packed."""
        # As long as it is: what orjson gives keeps a buffer of many times its length.
        body = bytes(memoryview(dumps({"response": stored.response, "items": stored.items})))
        return cls(stored.id, stored.principal, stored.previous_id, stored.expires, body)

    def stored(self) -> Stored:
        """Unpacked."""
        body = loads_own(self.body)
        return Stored(
            id=self.id,
            principal=self.principal,
            response=body["response"],
            items=tuple(body["items"]),
            previous_id=self.previous_id,
            expires=self.expires,
        )

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return len(self.body) + OVERHEAD


class Store(Protocol):
    """Responses by id. A principal sees its own and no others: what is another's is as if it were not there."""

    def remember(self, row: Row) -> None:
        """Keep it. Neither waits nor raises: a store that cannot says so in the log and counts it in `lost`."""

    async def get(self, response_id: str, principal: str) -> Row | None:
        """The response; None when it is not there, another's, or past its time. A disk that fails has nothing."""

    async def delete(self, response_id: str, principal: str) -> bool:
        """Forget one for good; whether it was there. Raises StoreFailed when it may still be on the disk."""

    async def delete_all(self, principal: str) -> int:
        """Forget all of a principal's for good; how many. Raises StoreFailed when some may still be on the disk."""

    def sweep(self) -> None:
        """Let go of what is past its time in memory; a file has a time of its own for that."""

    @property
    def size(self) -> int:
        """Bytes held in memory."""

    @property
    def unwritten(self) -> int:
        """Bytes that wait to be written."""

    @property
    def lost(self) -> int:
        """How many responses could not be written."""
