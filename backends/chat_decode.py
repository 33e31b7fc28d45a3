"""Chat and raw completions: what the chunks of an answer say. Pure."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from backends.chat_errors import count, error_of
from backends.chat_logprobs import logprobs_of
from backends.chat_tools import Piece, ToolCalls
from backends.errors import BackendError, ProtocolViolation, StreamBroken
from backends.events import (
    Event,
    Finished,
    FinishReason,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    Usage,
)
from backends.json import SHAPE_ERRORS, JsonError, decoder, loads
from backends.provider_errors import classify

DONE = b"[DONE]"
REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
BROKEN = {"error", "abort"}  # vLLM and SGLang: the engine gave up, though its server could still say so


class Delta(msgspec.Struct, gc=False):
    """The fields of a delta, or of a whole message, that we read."""

    content: str | list[dict[str, Any]] | None = None  # Mistral: in parts, where a model thinks
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[Piece, ...] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None  # of a completion that was not streamed
    text: str | None = None  # of a raw completion, streamed or not
    finish_reason: Any = None
    logprobs: Any = None


class Groq(msgspec.Struct):
    """What Groq adds to its last chunk: the usage once more, and why it stopped early."""

    usage: Any = None
    error: Any = None


class Chunk(msgspec.Struct):
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    x_groq: Groq | None = None


chunk_of = decoder(Chunk)


class Decoder:
    """One answer. `feed` takes the data of one message, or a whole completion that was not streamed; `end` the end.

    `Finished` waits for [DONE] or the end, because the usage comes after the finish reason. What follows it is ignored.
    `top_logprobs` is that of the request, `now` gives Unix time, for errors that say when they end.
    """

    __slots__ = (
        "_calls",
        "_likely",
        "_model",
        "_now",
        "_reason",
        "_top_logprobs",
        "_usage",
        "finished",
    )

    def __init__(self, model: str = "", top_logprobs: int | None = None, now: Callable[[], float] = float) -> None:
        self.finished = False
        self._model, self._now = model, now
        self._top_logprobs = top_logprobs
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._calls = ToolCalls()
        self._likely: tuple[Logprob, ...] = ()  # of tokens whose text is yet to come

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no chunk, and what an error inside the stream means.

        StreamBroken where the server itself broke off.
        """
        if self.finished or not data:
            return []
        if data == DONE:
            return self._finish(self._reason or "stop")  # some give no reason; [DONE] itself says that all was said
        try:
            chunk = chunk_of(data)
        except SHAPE_ERRORS:
            raise self._no_chunk(data) from None
        if chunk.error or chunk.object == "error":
            raise classify(None, {}, data, model=self._model, now=self._now())
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage) or self._usage
        if not chunk.choices:  # the usage, a filter's verdict, a ping
            return []
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._reason = reason_of(choice.finish_reason)
        delta = choice.delta or choice.message
        if delta is None:
            return [] if choice.text is None else self._text(choice.text, choice.logprobs)
        content = delta.content
        if (
            content  # nearly always
            and choice.logprobs is None
            and type(content) is str
            and not (delta.reasoning_content or delta.reasoning or delta.refusal or delta.tool_calls)
        ):
            return [TextDelta(content)]
        if chunk.x_groq is not None:  # in the first chunk and the last, which have no text
            if chunk.x_groq.error:
                raise classify(None, {}, data, model=self._model, now=self._now())
            self._usage = self._usage or usage_of(chunk.x_groq.usage)
        return self._content(delta, choice.logprobs)

    def _no_chunk(self, data: bytes) -> BackendError:
        try:
            value = loads(data)
        except JsonError:
            return ProtocolViolation("a chunk that is not JSON")
        if error_of(value) is not None:
            return classify(None, {}, data, model=self._model, now=self._now())
        return ProtocolViolation("a chunk whose fields have wrong types")

    def _content(self, delta: Delta, logprobs: object) -> list[Event]:
        """What a delta says. A role alone says nothing."""
        events: list[Event] = []
        if text := delta.reasoning_content or delta.reasoning:  # some send both, alike
            events.append(ReasoningDelta(text))
        if isinstance(delta.content, list):
            events += parts_of(delta.content)
        else:
            events += self._text(delta.content or "", logprobs)
        if delta.refusal:
            events.append(RefusalDelta(delta.refusal))
        for piece in delta.tool_calls or ():
            events += self._calls.feed(piece)
        return events

    def _text(self, text: str, logprobs: object) -> list[Event]:
        if logprobs is not None and self._top_logprobs is not None:
            self._likely += logprobs_of(logprobs, self._top_logprobs)
        if not text:  # half a character, or what could begin a stop string
            return []
        likely, self._likely = self._likely, ()
        return [TextDelta(text, likely or None)]

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if self.finished:
            return []
        if self._reason is None:
            raise StreamBroken
        return self._finish(self._reason)

    def _finish(self, reason: FinishReason) -> list[Event]:
        calls = self._calls.end(reason)
        self.finished = True
        return [*calls, Finished(reason, self._usage)]


def parts_of(content: list[dict[str, Any]]) -> Iterator[Event]:
    """What Mistral says in parts: text, and thoughts, which have parts themselves. Others, as references, are left."""
    for part in content:
        match part:
            case {"type": "text", "text": str(text)} if text:
                yield TextDelta(text)
            case {"type": "thinking", "thinking": list(inner)}:
                texts = [each.get("text") for each in inner if isinstance(each, dict)]
                if text := "".join(each for each in texts if isinstance(each, str)):
                    yield ReasoningDelta(text)


def reason_of(reason: object) -> FinishReason:
    """Ours for theirs. The end of a tool call, or a reason that is new to us, is a stop. Raises StreamBroken."""
    if not isinstance(reason, str):
        return "stop"
    if reason in BROKEN:
        raise StreamBroken
    return REASONS.get(reason, "stop")


def usage_of(usage: object) -> Usage | None:
    """The counts, or None when they are not counts. Details that are wrong count as 0."""
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    cached = min(detail(usage, "prompt_tokens_details", "cached_tokens"), tokens_in)
    written = min(detail(usage, "prompt_tokens_details", "cache_write_tokens"), tokens_in - cached)
    reasoning = detail(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning and count(usage.get("total_tokens")) == tokens_in + tokens_out + reasoning:
        tokens_out += reasoning  # xAI leaves the reasoning out of the completion, and has it in the total alone
    return Usage(tokens_in, tokens_out, cached, min(reasoning, tokens_out), written_tokens=written)


def detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (count(details.get(name)) or 0) if isinstance(details, dict) else 0
