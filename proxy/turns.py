"""What a response continues: `previous_response_id` becomes the turns before it, from the store or the connection."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any
from weakref import WeakValueDictionary

from backends.request import Message
from proxy.create import Create
from proxy.errors import ConversationTooLong, PreviousNotEnded, UnknownPrevious
from proxy.outcome import Principal
from proxy.store.port import Row, Store, Stored
from proxy.wire.responses_input import messages_of

CONTINUABLE = ("completed", "incomplete", "cancelled")


class Turn:
    """One response that has ended, and what it continued. `items` are its input and its output.

    Turns share those before them, so the newest turns of many lanes cost little more than one conversation.
    `count` and `size` (bytes as JSON) are of the whole conversation up to here.
    """

    __slots__ = ("__weakref__", "count", "gone", "id", "items", "previous", "principal", "size")

    def __init__(
        self, response_id: str, principal: str, items: tuple[Mapping[str, Any], ...], size: int, previous: "Turn | None"
    ) -> None:
        self.id = response_id
        self.principal = principal
        self.items = items
        self.previous = previous
        self.count: int = 1 + (previous.count if previous else 0)
        self.size: int = size + (previous.size if previous else 0)
        self.gone = False

    def messages(self) -> tuple[Message, ...]:
        """The conversation up to here, instructions left out: they hold for one response only."""
        turns = [*self._back()]
        return messages_of(list(chain.from_iterable(turn.items for turn in reversed(turns))))

    @property
    def whole(self) -> bool:
        """Whether nothing of the conversation was deleted."""
        return not any(turn.gone for turn in self._back())

    def forget(self) -> None:
        """It was deleted."""
        self.gone = True
        self.items = ()

    def _back(self) -> Iterator["Turn"]:
        turn: Turn | None = self
        while turn is not None:
            yield turn
            turn = turn.previous


class Kept:
    """The newest turn of each lane of one connection, whether it is stored or not. Gone with the connection.

    At most `max_bytes` of conversations; those of the lanes that ended longest ago go first.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._newest: OrderedDict[str | None, Turn] = OrderedDict()

    def get(self, response_id: str) -> Turn | None:
        """The turn of that id, whichever lane it is of."""
        return next((turn for turn in self._newest.values() if turn.id == response_id and turn.whole), None)

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return sum(turn.size for turn in self._newest.values())

    def ended(self, stream_id: str | None, turn: Turn | None, previous_id: str | None) -> None:
        """A response of the lane has ended with `turn`, or failed or was refused, which is None.

        OpenAI: a failed continuation takes its parent along if that is of the same lane; a failed fork does not.
        """
        if turn is not None:
            self._newest[stream_id] = turn
            self._newest.move_to_end(stream_id)
            self.shrink(self._max_bytes)
        elif (newest := self._newest.get(stream_id)) is not None and newest.id == previous_id:
            del self._newest[stream_id]

    def shrink(self, most: int) -> None:
        """Let go of what was kept longest ago until at most `most` bytes are left."""
        while self.size > most:
            self._newest.popitem(last=False)


class Turns:
    """Remembers turns, and finds them again. A conversation has at most `max_turns` turns and `max_bytes`."""

    def __init__(self, *, store: Store, ttl: float, max_turns: int, max_bytes: int, now: Callable[[], float]) -> None:
        self._store = store
        self._ttl = ttl
        self._max_turns = max_turns
        self._max_bytes = max_bytes
        self._now = now
        self._alive: WeakValueDictionary[str, Turn] = WeakValueDictionary()  # so that a delete reaches all that is held

    def remember(
        self, principal: Principal, create: Create, response: Mapping[str, Any], previous: Turn | None
    ) -> tuple[Turn | None, Row]:
        """A response has ended: store it if the client wants that. The turn to continue from, None when it failed;
        and the response with its input, packed.
        """
        stored = Stored(
            id=response["id"],
            principal=principal.id,
            response=response,
            items=create.items,
            previous_id=create.previous_response_id,
            expires=self._now() + self._ttl,
        )
        row = Row.of(stored)
        if create.store:
            self._store.remember(row)
        turn = self._turn(stored, row.size, previous) if response["status"] in CONTINUABLE else None
        return turn, row

    async def previous(self, principal: Principal, response_id: str, kept: Kept | None) -> Turn:
        """The turn that `response_id` names. Raises UnknownPrevious, PreviousNotEnded or ConversationTooLong."""
        turn = kept.get(response_id) if kept else None
        if turn is None:
            turn = await self._load(principal, response_id)
        self._check(turn.count, turn.size)
        return turn

    async def get(self, principal: Principal, response_id: str) -> Stored | None:
        """A stored response."""
        row = await self._store.get(response_id, principal.id)
        return row.stored() if row else None

    async def delete(self, principal: Principal, response_id: str) -> bool:
        """Forget one, wherever it is held; whether it was there. Raises StoreFailed."""
        turn = self._alive.get(response_id)
        known = turn is not None and turn.principal == principal.id and not turn.gone
        if turn is not None and known:
            turn.forget()
        return await self._store.delete(response_id, principal.id) or known

    async def delete_all(self, principal: Principal) -> int:
        """Forget all of a principal's; how many were stored. Raises StoreFailed."""
        for turn in tuple(self._alive.values()):
            if turn.principal == principal.id:
                turn.forget()
        return await self._store.delete_all(principal.id)

    def sweep(self) -> None:
        """Let go of what is past its time."""
        self._store.sweep()

    async def _load(self, principal: Principal, response_id: str) -> Turn:
        """From the store, newest first, then linked from the oldest."""
        found: list[tuple[Stored, int]] = []
        size = 0
        wanted: str | None = response_id
        while wanted is not None:
            row = await self._store.get(wanted, principal.id)
            if row is None:
                raise UnknownPrevious
            stored = row.stored()
            if stored.response["status"] not in CONTINUABLE:
                raise PreviousNotEnded(stored.response["status"])
            found.append((stored, row.size))
            size += row.size
            self._check(len(found), size)
            wanted = stored.previous_id
        turn: Turn | None = None
        for stored, size in reversed(found):
            turn = self._turn(stored, size, turn)
        assert turn is not None
        return turn

    def _check(self, count: int, size: int) -> None:
        if count > self._max_turns:
            raise ConversationTooLong(f"{self._max_turns} turns", "max_turns")
        if size > self._max_bytes:
            raise ConversationTooLong(f"{self._max_bytes} bytes", "max_conversation_bytes")

    def _turn(self, stored: Stored, size: int, previous: Turn | None) -> Turn:
        turn = self._alive.get(stored.id)
        if turn is None or turn.gone:  # one object a turn: a delete must reach every holder
            turn = Turn(stored.id, stored.principal, (*stored.items, *stored.response["output"]), size, previous)
            self._alive[stored.id] = turn
        return turn
