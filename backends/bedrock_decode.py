"""Amazon Bedrock's Converse: what the events of an answer say. Pure."""

from typing import Any

import msgspec

from backends.anthropic_decode import HELD_LIMIT
from backends.bedrock_encode import DIALECT, REDACTED
from backends.bedrock_errors import inside
from backends.chat_errors import count
from backends.errors import BackendError, ProtocolViolation, StreamBroken
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
from backends.json import SHAPE_ERRORS, JsonError, decoder, loads

REASONS: dict[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}  # end_turn, tool_use, stop_sequence and malformed_… are stops, as is a reason that is new to us


class ToolUse(msgspec.Struct, gc=False):
    toolUseId: str = ""  # noqa: N815  # their names
    name: str = ""
    input: str = ""


class Reasoning(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None  # noqa: N815


class Delta(msgspec.Struct, gc=False):
    """One of the members that a delta may have."""

    text: str | None = None
    toolUse: ToolUse | None = None  # noqa: N815
    reasoningContent: Reasoning | None = None  # noqa: N815
    citation: Any = None


class Start(msgspec.Struct, gc=False):
    toolUse: ToolUse | None = None  # noqa: N815


class Block(msgspec.Struct, gc=False):
    contentBlockIndex: int = 0  # noqa: N815
    delta: Delta | None = None
    start: Start | None = None


class Stop(msgspec.Struct, gc=False):
    stopReason: str | None = None  # noqa: N815


class Metadata(msgspec.Struct, gc=False):
    usage: Any = None


class Said(msgspec.Struct, gc=False):
    """One event: the framing made its name the only member."""

    contentBlockDelta: Block | None = None  # noqa: N815
    contentBlockStart: Block | None = None  # noqa: N815
    contentBlockStop: Block | None = None  # noqa: N815
    messageStop: Stop | None = None  # noqa: N815
    metadata: Metadata | None = None


said_of = decoder(Said)


class Decoder:
    """One answer. `feed` takes one message of `EventStreamDecoder`; `end` the end. `model` is that of the request.

    `Finished` waits for the metadata, which holds the usage and comes last.
    """

    def __init__(self, model: str = "") -> None:
        self.finished = False
        self._model = model
        self._reason: FinishReason | None = None
        self._calls: dict[int, int] = {}  # theirs by block: ours by call
        self._argued: set[int] = set()
        self._signature: list[str] = []
        self._held = 0  # bytes of what is kept of the block that is open
        self._length = 0  # characters of the answer so far
        self._start = 0  # of the block that is open
        self._citations: list[Any] = []

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no event, and what an exception inside the stream means."""
        if self.finished or not data:
            return []
        try:
            said = said_of(data)
        except SHAPE_ERRORS:
            raise self._other(data) or ProtocolViolation("an event whose fields have wrong types") from None
        block = said.contentBlockDelta
        if block is not None and block.delta is not None:
            if block.delta.text:  # nearly always
                self._length += len(block.delta.text)
                return [TextDelta(block.delta.text)]
            return self._delta(block.contentBlockIndex, block.delta, len(data))
        if said.contentBlockStart is not None and said.contentBlockStart.start is not None:
            return self._begin(said.contentBlockStart.contentBlockIndex, said.contentBlockStart.start)
        if said.contentBlockStop is not None:
            return self._stop(said.contentBlockStop.contentBlockIndex)
        if said.messageStop is not None:
            self._reason = REASONS.get(said.messageStop.stopReason or "", "stop")
        elif said.metadata is not None and self._reason is not None:
            return self._finish(self._reason, usage_of(said.metadata.usage))
        elif error := self._other(data):
            raise error
        return []

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if self.finished:
            return []
        if self._reason is None:
            raise StreamBroken
        return self._finish(self._reason, None)

    def _other(self, data: bytes) -> BackendError | None:
        """An exception, or an event that is new to us."""
        try:
            name, value = next(iter(loads(data).items()))
        except (JsonError, StopIteration, AttributeError):
            return ProtocolViolation("an event that is not JSON")
        fields = value if isinstance(value, dict) else {}
        message = str(fields.get("message") or fields.get("originalMessage") or "")
        if name == "error":
            return inside(str(fields.get("code") or ""), message, self._model)
        return inside(name, message, self._model) if name.endswith("Exception") else None

    def _begin(self, index: int, start: Start) -> list[Event]:
        if start.toolUse is None:
            return []
        if not start.toolUse.toolUseId or not start.toolUse.name:
            raise ProtocolViolation("a tool call without id or name")
        call = self._calls[index] = len(self._calls)
        return [ToolCallStart(call, start.toolUse.toolUseId, start.toolUse.name)]

    def _delta(self, index: int, delta: Delta, size: int) -> list[Event]:
        if (reasoning := delta.reasoningContent) is not None:
            if reasoning.text:
                return [ReasoningDelta(reasoning.text)]
            if reasoning.signature:
                self._signature.append(reasoning.signature)
            if reasoning.redactedContent:
                self._signature += [*([] if self._signature else [REDACTED]), reasoning.redactedContent]
        elif delta.toolUse is not None and delta.toolUse.input and index in self._calls:
            self._argued.add(index)
            return [ToolCallDelta(self._calls[index], delta.toolUse.input)]
        self._held += size
        if self._held > HELD_LIMIT:
            raise ProtocolViolation(f"more than {HELD_LIMIT} bytes of signatures and citations in one block")
        if isinstance(delta.citation, dict):
            self._citations.append(delta.citation)
        return []

    def _stop(self, index: int) -> list[Event]:
        """What is known of a block once it is whole."""
        events: list[Event] = []
        if self._signature:
            events.append(Signature(DIALECT, "".join(self._signature)))
        if index in self._calls and index not in self._argued:
            events.append(ToolCallDelta(self._calls[index], "{}"))
        events += [citation(each, self._start, self._length) for each in self._citations]
        self._signature, self._citations, self._held, self._start = [], [], 0, self._length
        return events

    def _finish(self, reason: FinishReason, usage: Usage | None) -> list[Event]:
        self.finished = True
        return [Finished(reason, usage)]


def usage_of(usage: object) -> Usage | None:
    """The whole input is what was read anew, read from the cache and written to it."""
    if not isinstance(usage, dict):
        return None
    names = ("inputTokens", "cacheWriteInputTokens", "cacheReadInputTokens", "outputTokens")
    fresh, written, cached, tokens_out = (count(usage.get(name)) for name in names)
    if fresh is None or tokens_out is None:
        return None
    written, cached = written or 0, cached or 0
    return Usage(fresh + written + cached, tokens_out, cached, written_tokens=written)


def citation(given: dict[str, Any], start: int, end: int) -> Citation:
    """A citation is for the whole block of text that it stands in."""
    where = given.get("location")
    places = [place for place in where.values() if isinstance(place, dict)] if isinstance(where, dict) else []
    document = next((place["documentIndex"] for place in places if "documentIndex" in place), None)
    url = next((place["url"] for place in places if place.get("url")), None)
    source = url or given.get("source") or ("" if document is None else f"document {document}")
    parts = given.get("sourceContent")
    texts = [str(part.get("text") or "") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return Citation(start, end, "".join(texts), str(source), str(given.get("title") or ""))
