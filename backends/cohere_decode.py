"""Cohere's API, version 2: what the messages of an answer say. Pure."""

from typing import Any

import msgspec

from backends.chat_errors import MOST_TOKENS
from backends.chat_tools import Piece, ToolCalls
from backends.cohere_encode import DIALECT, PLAN, THINKING
from backends.cohere_errors import classify, message_of
from backends.errors import BackendError, ProtocolViolation, ServerFailed, StreamBroken
from backends.events import (
    Citation,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    Signature,
    TextDelta,
    Usage,
)
from backends.json import SHAPE_ERRORS, decoder, dumps

DONE = b"[DONE]"
BROKEN = ("ERROR", "TIMEOUT")
MOST_BLOCKS = 1024  # of one answer; there are rarely more than two
MOST_SOURCES = 32  # of one piece of text; there are rarely more than two


class Content(msgspec.Struct, gc=False):
    """Part of a block of content, or all of it."""

    text: str | None = None
    thinking: str | None = None


class Source(msgspec.Struct):
    id: str | None = None
    document: Any = None
    tool_output: Any = None


class Cited(msgspec.Struct):
    start: int = 0  # in characters of its block
    end: int = 0
    text: str = ""
    sources: tuple[Source, ...] | None = None
    content_index: int | None = None
    type: str | None = None


class Message(msgspec.Struct):
    """The fields of a delta, which has one of each, or of a whole message, which has lists of them."""

    content: Content | tuple[Content, ...] | str | None = None
    tool_plan: str | None = None
    tool_calls: Piece | tuple[Piece, ...] | None = None
    citations: Cited | tuple[Cited, ...] | None = None


class Delta(msgspec.Struct):
    message: Message | None = None
    error: Any = None
    finish_reason: str | None = None
    usage: Any = None


class Chunk(msgspec.Struct):
    """One event of a stream; an answer that was not streamed has `message`, `finish_reason` and `usage`."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    message: Message | None = None
    finish_reason: str | None = None
    usage: Any = None


chunk_of = decoder(Chunk)


class Decoder:
    """One answer. `feed` takes the data of one message, or a whole answer that was not streamed; `end` the end."""

    def __init__(self, model: str = "") -> None:
        self.finished = False
        self._model = model
        self._calls = ToolCalls()
        self._length = 0  # characters of the answer's text so far
        self._blocks: dict[int, int] = {}  # the index of a block of text: where it begins in that text
        self._last = 0  # where the last of them begins
        self._inside: str | None = None  # what it reasons in now: PLAN or THINKING

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no chunk, and what an error inside the stream means."""
        if self.finished or not data or data == DONE:
            return []
        try:
            chunk = chunk_of(data)
        except SHAPE_ERRORS:
            raise self._no_chunk(data) from None
        delta = chunk.delta
        if delta is None:
            return [] if chunk.message is None else self._whole(chunk)
        message = delta.message
        if message is not None:
            content = message.content
            if type(content) is Content and content.text and self._inside is None:  # nearly always
                self._length += len(content.text)
                return [TextDelta(content.text)]
            return self._message(message, chunk.index)
        if chunk.type != "message-end":
            return []
        if isinstance(delta.error, str) and delta.error:
            raise classify(None, {}, dumps({"message": delta.error}), model=self._model)
        return self._finish(delta.finish_reason, delta.usage)

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if not self.finished:
            raise StreamBroken
        return []

    def _no_chunk(self, data: bytes) -> BackendError:
        if message_of(data):  # an error has a text where an answer has its message
            return classify(None, {}, data, model=self._model)
        return ProtocolViolation("a chunk that is not JSON, or whose fields have wrong types")

    def _whole(self, chunk: Chunk) -> list[Event]:
        assert chunk.message is not None
        return [*self._message(chunk.message, None), *self._finish(chunk.finish_reason, chunk.usage)]

    def _message(self, message: Message, index: int | None) -> list[Event]:
        """`index` is that of the block or the call; in a whole message they have none, but an order."""
        events: list[Event] = []
        if message.tool_plan:
            events += self._reason(PLAN, message.tool_plan)
        content = message.content
        if isinstance(content, str):
            content = Content(content)
        for place, block in enumerate(several(content)):
            if block.thinking:
                events += self._reason(THINKING, block.thinking)
            if block.text is not None:  # a block begins with an empty text
                events += self._thought()
                if len(self._blocks) < MOST_BLOCKS:
                    self._last = self._blocks.setdefault(place if index is None else index, self._length)
                self._length += len(block.text)
                if block.text:
                    events.append(TextDelta(block.text))
        for place, piece in enumerate(several(message.tool_calls)):
            piece.index = place if index is None else index
            events += [*self._thought(), *self._calls.feed(piece)]
        for cited in several(message.citations):
            events += self._cite(cited)
        return events

    def _reason(self, what: str, text: str) -> list[Event]:
        ended = self._thought() if self._inside not in {None, what} else []
        self._inside = what
        return [*ended, ReasoningDelta(text)]

    def _thought(self) -> list[Event]:
        """It has stopped thinking, or planning: it wants that back while tools are called."""
        if self._inside is None:
            return []
        what, self._inside = self._inside, None
        return [Signature(DIALECT, what)]

    def _cite(self, cited: Cited) -> list[Event]:
        """One event per source of a piece of the answer. What it thought or planned is not the answer."""
        if cited.type not in {None, "TEXT_CONTENT"} or not 0 <= cited.start <= cited.end:
            return []
        # Where it does not say which block, there is one: the last, for thoughts come before it.
        begins = self._last
        if cited.content_index is not None:
            begins = self._blocks.get(cited.content_index, begins)
        start, end = (min(begins + place, self._length) for place in (cited.start, cited.end))
        return [
            Citation(start, end, cited.text, source.id, title_of(source))
            for source in (cited.sources or ())[:MOST_SOURCES]
            if source.id
        ]

    def _finish(self, reason: str | None, usage: object) -> list[Event]:
        if reason is not None and reason.startswith(BROKEN):
            raise ServerFailed
        ours: FinishReason = "length" if reason == "MAX_TOKENS" else "stop"
        events = [*self._thought(), *self._calls.end(ours)]
        self.finished = True
        return [*events, Finished(ours, usage_of(usage))]


def several(value: Any) -> tuple[Any, ...]:
    """None of them, one, or all."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def title_of(source: Source) -> str:
    for place in (source.document, source.tool_output):
        if isinstance(place, dict) and isinstance(title := place.get("title"), str):
            return title
    return ""


def usage_of(usage: object) -> Usage | None:
    """The counts, or None when they are not counts. They are written as 12.0."""
    if not isinstance(usage, dict) or not isinstance(tokens := usage.get("tokens"), dict):
        return None
    tokens_in, tokens_out = count_of(tokens.get("input_tokens")), count_of(tokens.get("output_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    return Usage(tokens_in, tokens_out, min(count_of(usage.get("cached_tokens")) or 0, tokens_in))


def count_of(value: object) -> int | None:
    """A number of tokens, or None when `value` is none."""
    if type(value) not in {int, float}:  # a bool is no count
        return None
    assert isinstance(value, int | float)
    return int(value) if 0 <= value <= MOST_TOKENS else None
