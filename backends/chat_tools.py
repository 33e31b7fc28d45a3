"""Chat completions: the tool calls of an answer, put together from whatever pieces a server sends. Pure."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from backends.errors import ProtocolViolation
from backends.events import Event, FinishReason, ToolCallDelta, ToolCallStart
from backends.json import dumps

MOST_CALLS = 1024  # of one answer; pieces without a name would count for nothing elsewhere


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # some send the object itself


class Piece(msgspec.Struct, gc=False):
    """Part of a tool call, or all of it."""

    index: int | None = None  # of the call in the answer, in most servers
    id: str | None = None
    function: Function | None = None


class Call:
    """One call so far. It has begun, under `index`, once its name is known."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.index = -1
        self.argued = False


class ToolCalls:
    """`feed` it pieces; `end` is the end of the answer. `new_id` makes the ids that a server leaves out."""

    def __init__(self, new_id: Callable[[], str] = lambda: f"call_{uuid4().hex[:24]}") -> None:
        self._new_id = new_id
        self._calls: list[Call] = []
        self._by_index: dict[int | None, Call] = {}

    def feed(self, piece: Piece) -> list[Event]:
        """Raises ProtocolViolation when arguments come before the name of what they are for."""
        function = piece.function or Function()
        call = self._by_index.get(piece.index)
        if call is None or begins_another(call, piece, function.name):
            if not (piece.id or function.name or function.arguments):
                return []
            if len(self._calls) >= MOST_CALLS:
                raise ProtocolViolation(f"more than {MOST_CALLS} tool calls in one answer")
            call = self._by_index[piece.index] = Call()
            self._calls.append(call)
        call.id = call.id or piece.id
        events: list[Event] = []
        if call.name is None and function.name:
            call.name, call.index = function.name, sum(other.name is not None for other in self._calls)
            events.append(ToolCallStart(call.index, call.id or self._new_id(), call.name))
        arguments = function.arguments
        if isinstance(arguments, dict):
            try:
                arguments = dumps(arguments).decode()
            except TypeError:  # a number of more than 64 bits
                raise ProtocolViolation("the arguments of a tool call with a number that is too long") from None
        if arguments:
            if call.name is None:
                raise ProtocolViolation("the arguments of a tool call before its name")
            call.argued = True
            events.append(ToolCallDelta(call.index, arguments))
        return events

    def end(self, reason: FinishReason) -> list[Event]:
        """A call without arguments gets empty ones, for those who read them as JSON."""
        if any(call.name is None for call in self._calls):
            raise ProtocolViolation("a tool call without a name")
        empty = [call for call in self._calls if not call.argued] if reason == "stop" else []
        return [ToolCallDelta(call.index, "{}") for call in empty]


def begins_another(call: Call, piece: Piece, name: str | None) -> bool:
    """Whether `piece` is of another call than `call`, which came under the same index.

    Some servers count every call as 0, or do not count, and some give no ids; but a name comes once per call.
    """
    if not name or call.name is None:
        return False
    return piece.id != call.id if piece.id else piece.index is None or call.argued
