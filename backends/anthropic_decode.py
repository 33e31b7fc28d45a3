"""Anthropic's Messages: what the events of an answer say, of its own API and where others host it. Pure."""

from typing import Any

import msgspec

from backends.anthropic_encode import DIALECT, REDACTED
from backends.anthropic_errors import classify
from backends.chat_errors import count
from backends.errors import ProtocolViolation, StreamBroken
from backends.events import (
    Citation,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import SHAPE_ERRORS, JsonError, decoder, loads, object_in

REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}  # end_turn, tool_use, stop_sequence and pause_turn are stops, as is a reason that is new to us
KNOWN_WORDS = (
    "message_start message_delta message_stop message content_block_start content_block_delta content_block_stop error "
    "text thinking redacted_thinking tool_use text_delta thinking_delta signature_delta input_json_delta"
)
KNOWN = frozenset(KNOWN_WORDS.split())  # events, blocks and deltas; one that is new to us may have fields of any type
HELD_LIMIT = 4 * 1024 * 1024  # bytes of a block's signature and citations, which are kept until it is whole
COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class Delta(msgspec.Struct, gc=False):
    """The fields of a delta of any type that we read."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None


class Block(msgspec.Struct):
    """A block of content as it begins, or whole in a message that was not streamed."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"")  # an object; handed on as it stands there
    citations: Any = None


class Message(msgspec.Struct):
    usage: Any = None


class Said(msgspec.Struct):
    """An event, or a message that was not streamed."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None
    content_block: Block | None = None
    message: Message | None = None
    content: tuple[Block, ...] = ()
    stop_reason: str | None = None
    usage: Any = None


said_of = decoder(Said)


class Decoder:
    """One answer. `feed` takes the data of one event, or a whole message that was not streamed; `end` the end.

    `model` is that of the request.
    """

    def __init__(self, model: str = "") -> None:
        self.finished = False
        self._model = model
        self._reason: FinishReason | None = None
        self._counts: dict[str, int] = {}
        self._calls: dict[int, int] = {}  # theirs by block: ours by call
        self._argued = False
        self._given = b""  # the arguments of a call that began with all of them
        self._signature: list[str] = []
        self._held = 0  # bytes of what is kept of the block that is open
        self._length = 0  # characters of the answer so far
        self._start = 0  # of the block of text that is open
        self._citations: list[Any] = []

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no event, and what an error inside the stream means."""
        if self.finished or not data:
            return []
        try:
            said = said_of(data)
        except SHAPE_ERRORS:
            return no_event(data)
        kind, delta = said.type, said.delta
        if kind == "content_block_delta" and delta is not None:
            if delta.text:  # nearly always
                self._length += len(delta.text)
                return [TextDelta(delta.text)]
            return self._delta(said.index, delta, len(data))
        return self._other(said, data)

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if self.finished:
            return []
        if self._reason is None:
            raise StreamBroken
        return self._finish(self._reason)

    def _delta(self, index: int, delta: Delta, size: int) -> list[Event]:
        if delta.thinking:
            return [ReasoningDelta(delta.thinking)]
        if delta.partial_json and index in self._calls:
            self._argued = True
            return [ToolCallDelta(self._calls[index], delta.partial_json)]
        self._held += size
        if self._held > HELD_LIMIT:
            raise ProtocolViolation(f"more than {HELD_LIMIT} bytes of signatures and citations in one block")
        if delta.signature:
            self._signature.append(delta.signature)
        if isinstance(delta.citation, dict):
            self._citations.append(delta.citation)
        return []

    def _other(self, said: Said, data: bytes) -> list[Event]:
        match said.type:
            case "message_start":
                self._count(said.message.usage if said.message else None)
            case "content_block_start" if said.content_block is not None:
                return self._begin(said.index, said.content_block)
            case "content_block_stop":
                return self._stop(said.index)
            case "message_delta":
                self._count(said.usage)
                self._ended(said.delta.stop_reason if said.delta else None)
            case "message_stop":
                return self._finish(self._reason or "stop")
            case "message":
                return self._whole(said)
            case "error":
                raise classify(None, {}, data, model=self._model)
        return []  # a ping, or an event that is new to us

    def _begin(self, index: int, block: Block) -> list[Event]:
        """A block begins; its text may be there already. One of a type that we do not know says nothing."""
        self._start, self._signature, self._citations, self._held = self._length, [], [], 0
        match block.type:
            case "text" if block.text:
                self._length += len(block.text)
                return [TextDelta(block.text)]
            case "thinking":
                self._signature = [block.signature]
                return [ReasoningDelta(block.thinking)] if block.thinking else []
            case "redacted_thinking" if block.data:
                self._signature = [REDACTED, block.data]
            case "tool_use":
                if not block.id or not block.name:
                    raise ProtocolViolation("a tool call without id or name")
                call = self._calls[index] = len(self._calls)
                self._argued, self._given = False, bytes(block.input)
                return [ToolCallStart(call, block.id, block.name)]
        return []

    def _stop(self, index: int) -> list[Event]:
        """What is known of a block once it is whole."""
        events: list[Event] = []
        if signature := "".join(self._signature):
            events.append(Signature(DIALECT, signature))
        if index in self._calls and not self._argued:
            events.append(ToolCallDelta(self._calls[index], object_in(self._given)))
        events += [citation(each, self._start, self._length) for each in self._citations]
        self._signature, self._citations, self._argued = [], [], True
        return events

    def _whole(self, said: Said) -> list[Event]:
        """A message that was not streamed."""
        events: list[Event] = []
        for index, block in enumerate(said.content):
            events += self._begin(index, block)
            if isinstance(block.citations, list):
                self._citations = [each for each in block.citations if isinstance(each, dict)]
            events += self._stop(index)
        self._count(said.usage)
        self._ended(said.stop_reason)
        return events + self._finish(self._reason or "stop")

    def _ended(self, reason: str | None) -> None:
        if reason is not None:
            self._reason = REASONS.get(reason, "stop")

    def _count(self, usage: object) -> None:
        """Counts are cumulative: those of the end replace those of the start, one by one."""
        if isinstance(usage, dict):
            found = {name: count(usage.get(name)) for name in COUNTS}
            details = usage.get("output_tokens_details")
            found["thinking_tokens"] = count(details.get("thinking_tokens")) if isinstance(details, dict) else None
            self._counts |= {name: number for name, number in found.items() if number is not None}

    def _finish(self, reason: FinishReason) -> list[Event]:
        self.finished = True
        return [Finished(reason, usage_of(self._counts))]


def no_event(data: bytes) -> list[Event]:
    """Nothing for a type that is new to us. Raises ProtocolViolation for what breaks the types that we know."""
    try:
        value = loads(data)
    except JsonError:
        raise ProtocolViolation("an event that is not JSON") from None
    if isinstance(value, dict):
        inner = next((part for name in ("delta", "content_block") if isinstance(part := value.get(name), dict)), value)
        if not all(isinstance(each.get("type"), str) and each["type"] in KNOWN for each in (value, inner)):
            return []
    raise ProtocolViolation("an event whose fields have wrong types")


def usage_of(counts: dict[str, int]) -> Usage | None:
    """ "Total input tokens in a request is the summation of `input_tokens`, `cache_creation_input_tokens`, and
    `cache_read_input_tokens`." """
    if "input_tokens" not in counts or "output_tokens" not in counts:
        return None
    cached = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    tokens_in = counts["input_tokens"] + written + cached
    tokens_out = counts["output_tokens"]
    thought = min(counts.get("thinking_tokens", 0), tokens_out)
    return Usage(tokens_in, tokens_out, cached, thought, written_tokens=written)


def citation(given: dict[str, Any], start: int, end: int) -> Citation:
    """A citation is for the whole block of text that it stands in."""
    document = given.get("document_index")
    place = f"document {document}" if isinstance(document, int) else ""
    source = next((str(given[name]) for name in ("url", "source", "file_id") if given.get(name)), place)
    title = given.get("title") or given.get("document_title") or ""
    return Citation(start, end, str(given.get("cited_text") or ""), source, str(title))
