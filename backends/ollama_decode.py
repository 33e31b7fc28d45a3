"""Ollama's own API: what the lines of an answer say. Pure."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from backends.chat_errors import count
from backends.chat_logprobs import logprobs_of
from backends.errors import ProtocolViolation, StreamBroken
from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import SHAPE_ERRORS, decoder, object_in
from backends.ollama_encode import DIALECT
from backends.ollama_errors import classify


class Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")  # an object, whole


class Call(msgspec.Struct, gc=False):
    function: Function
    id: str | None = None


class Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: tuple[Call, ...] | None = None


class Line(msgspec.Struct):
    """`message` is of a chat; `response` and `thinking` of a raw generation."""

    message: Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None


line_of = decoder(Line)


class Decoder:
    """One answer. `feed` takes one line, or a whole answer that was not streamed; `end` the end of the body.

    `new_id` makes the ids that older servers do not give to tool calls. `top_logprobs` is that of the request.
    """

    def __init__(
        self,
        model: str = "",
        top_logprobs: int | None = None,
        new_id: Callable[[], str] = lambda: f"call_{uuid4().hex[:24]}",
    ) -> None:
        self.finished = False
        self._model = model
        self._top_logprobs = top_logprobs
        self._new_id = new_id
        self._calls = 0
        self._thinking = False  # it thinks now
        self._likely: tuple[Logprob, ...] = ()  # of tokens whose text is yet to come

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no line of an answer, and what an error inside the stream means."""
        if self.finished:
            return []
        try:
            line = line_of(data)
        except SHAPE_ERRORS:
            raise ProtocolViolation("a line that is not JSON, or whose fields have wrong types") from None
        if line.error:
            raise classify(None, {}, data, model=self._model)
        message = line.message
        if message is None:
            message = Message(line.response, line.thinking)
        if (
            message.content  # nearly always
            and line.logprobs is None
            and not (self._thinking or line.done or message.thinking or message.tool_calls)
        ):
            return [TextDelta(message.content)]
        events = self._content(message, line.logprobs)
        if line.done:
            events += self._thought()
            self.finished = True
            events.append(Finished("length" if line.done_reason == "length" else "stop", usage_of(line)))
        return events

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if not self.finished:
            raise StreamBroken
        return []

    def _content(self, message: Message, logprobs: object) -> list[Event]:
        events: list[Event] = []
        if message.thinking:
            self._thinking = True
            events.append(ReasoningDelta(message.thinking))
        if message.content or message.tool_calls:
            events += self._thought()
        if logprobs is not None and self._top_logprobs is not None:
            self._likely += logprobs_of({"content": logprobs}, self._top_logprobs)
        if message.content:
            likely, self._likely = self._likely, ()
            events.append(TextDelta(message.content, likely or None))
        elif message.thinking:
            self._likely = ()  # they were of what it thought
        for call in message.tool_calls or ():
            events += self._call(call)
        return events

    def _thought(self) -> list[Event]:
        """It has stopped thinking: the template of some models wants that back while tools are called."""
        if not self._thinking:
            return []
        self._thinking = False
        return [Signature(DIALECT, "thinking")]

    def _call(self, call: Call) -> list[Event]:
        """Calls come whole."""
        if not call.function.name:
            raise ProtocolViolation("a tool call without a name")
        index, self._calls = self._calls, self._calls + 1
        start = ToolCallStart(index, call.id or self._new_id(), call.function.name)
        return [start, ToolCallDelta(index, object_in(call.function.arguments))]


def usage_of(line: Line) -> Usage | None:
    """The counts, None when one is missing: older servers leave out the prompt's where all of it was cached."""
    tokens_in, tokens_out = count(line.prompt_eval_count), count(line.eval_count)
    return None if tokens_in is None or tokens_out is None else Usage(tokens_in, tokens_out)
