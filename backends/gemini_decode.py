"""Gemini: what the messages of an answer say, streamed or whole (ai.google.dev/api/generate-content). Pure."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from backends.chat_errors import count, error_of
from backends.chat_logprobs import LEAST
from backends.errors import (
    BackendError,
    ContentFiltered,
    InvalidRequest,
    ProtocolViolation,
    ServerFailed,
    StreamBroken,
)
from backends.events import (
    Event,
    Finished,
    FinishReason,
    Logprob,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.gemini_citations import citations
from backends.gemini_encode import DIALECT, OF_CALL, OF_TEXT
from backends.gemini_errors import classify
from backends.json import SHAPE_ERRORS, JsonError, decoder, loads, object_in

REASONS: dict[str, FinishReason] = {  # any other is a stop
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
FAILED = {"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"}
REFUSED = {"MISSING_THOUGHT_SIGNATURE"}
NO_REASONS = {None, "FINISH_REASON_UNSPECIFIED"}
UNSAID = msgspec.Raw(b"null")
CITED_LIMIT = 4 * 1024 * 1024  # bytes of messages with citations, which are kept until the answer is whole


class FunctionCall(msgspec.Struct, gc=False):
    name: str = ""
    id: str | None = None
    args: msgspec.Raw = msgspec.Raw(b"{}")  # an object; handed on as it stands there


class Part(msgspec.Struct, gc=False):
    """The fields of a part that we read."""

    text: str | None = None
    thought: bool = False
    thoughtSignature: str | None = None  # noqa: N815  # as the API has it, like all below
    functionCall: FunctionCall | None = None  # noqa: N815


class Content(msgspec.Struct):
    parts: tuple[Part, ...] | None = None


class Candidate(msgspec.Struct):
    content: Content | None = None
    finishReason: str | None = None  # noqa: N815
    logprobsResult: Any = None  # noqa: N815
    citationMetadata: Any = None  # noqa: N815
    groundingMetadata: Any = None  # noqa: N815


class Chunk(msgspec.Struct):
    candidates: tuple[Candidate, ...] | None = None
    usageMetadata: msgspec.Raw = UNSAID  # noqa: N815  # in every message; only the last counts
    promptFeedback: Any = None  # noqa: N815
    error: Any = None


class Likely(msgspec.Struct):
    token: str = ""
    logProbability: float | None = None  # noqa: N815


class Top(msgspec.Struct):
    candidates: tuple[Likely, ...] = ()


class LogprobsResult(msgspec.Struct):
    chosenCandidates: tuple[Likely, ...] = ()  # noqa: N815
    topCandidates: tuple[Top, ...] = ()  # noqa: N815


chunk_of = decoder(Chunk)


class Decoder:
    """One answer. `feed` takes the data of one message, or a whole answer that was not streamed; `end` the end.

    There is no last message: an answer is whole when its body is over and a finish reason came. `new_id` makes the ids
    of tool calls that have none.
    """

    def __init__(
        self,
        model: str = "",
        top_logprobs: int | None = None,
        new_id: Callable[[], str] = lambda: f"call_{uuid4().hex[:24]}",
    ) -> None:
        self.finished = False
        self._model, self._top_logprobs, self._new_id = model, top_logprobs, new_id
        self._reason: str | None = None
        self._usage = UNSAID
        self._calls = 0
        self._said: list[str] = []  # what citations count in
        self._cited: list[Any] = []
        self._cited_size = 0  # bytes
        self._grounded: Any = None
        self._sealed: list[Event] = []  # the signature of a text, which goes behind the citations of that text

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no message, ContentFiltered, and what an error in the stream means."""
        if self.finished or not data:
            return []
        try:
            chunk = chunk_of(data)
        except SHAPE_ERRORS:
            raise self._no_chunk(data) from None
        if chunk.usageMetadata is not UNSAID:
            self._usage = chunk.usageMetadata
        if not chunk.candidates:
            self._check(chunk, data)
            return []
        candidate = chunk.candidates[0]
        if candidate.finishReason is not None:
            self._reason = candidate.finishReason
        if candidate.citationMetadata is not None:
            self._cited.append(candidate.citationMetadata)
            self._cited_size += len(data)
            if self._cited_size > CITED_LIMIT:
                raise ProtocolViolation(f"more than {CITED_LIMIT} bytes of citations")
        if candidate.groundingMetadata is not None:  # it may come more than once, the last time whole
            self._grounded = candidate.groundingMetadata or self._grounded
        content = candidate.content
        if content is None or not (parts := content.parts):
            return []
        part = parts[0]
        if (
            part.text  # nearly always
            and len(parts) == 1
            and not part.thought
            and part.thoughtSignature is None
            and candidate.logprobsResult is None
            and not self._sealed
        ):
            self._said.append(part.text)
            return [TextDelta(part.text)]
        return self._content(parts, candidate.logprobsResult)

    def _check(self, chunk: Chunk, data: bytes) -> None:
        if chunk.error:
            raise classify(None, {}, data, model=self._model)
        if isinstance(chunk.promptFeedback, dict) and chunk.promptFeedback.get("blockReason"):
            raise ContentFiltered

    def _no_chunk(self, data: bytes) -> BackendError:
        try:
            value = loads(data)
        except JsonError:
            return ProtocolViolation("a message that is not JSON")
        if error_of(value) is not None:
            return classify(None, {}, data, model=self._model)
        return ProtocolViolation("a message whose fields have wrong types")

    def _content(self, parts: tuple[Part, ...], logprobs: Any) -> list[Event]:
        """What the parts say. A signature stands before the call that it came with, and behind a text."""
        events: list[Event] = []
        likely = self._likely(logprobs)
        for part in parts:
            if part.functionCall is not None or part.text or part.thoughtSignature:
                events += self._unsealed()
            if part.functionCall is not None:
                events += self._call(part.functionCall, part.thoughtSignature)
                continue
            if part.text and part.thought:
                events.append(ReasoningDelta(part.text))
            elif part.text:
                events.append(TextDelta(part.text, likely))
                self._said.append(part.text)
                likely = None
            if part.thoughtSignature and part.thought:
                events.append(Signature(DIALECT, part.thoughtSignature))
            elif part.thoughtSignature:
                self._sealed.append(Signature(DIALECT, OF_TEXT + part.thoughtSignature))
        return events

    def _unsealed(self) -> list[Event]:
        sealed, self._sealed = self._sealed, []
        return sealed

    def _call(self, made: FunctionCall, signature: str | None) -> list[Event]:
        """A call comes whole."""
        if not made.name:
            raise ProtocolViolation("a tool call without a name")
        index, self._calls = self._calls, self._calls + 1
        start = ToolCallStart(index, made.id or self._new_id(), made.name)
        signed: list[Event] = [Signature(DIALECT, OF_CALL + signature)] if signature else []
        return [*signed, start, ToolCallDelta(index, object_in(made.args))]

    def _likely(self, value: Any) -> tuple[Logprob, ...] | None:
        """None where nobody asked, or where they make no sense."""
        if value is None or self._top_logprobs is None:
            return None
        try:
            found = msgspec.convert(value, LogprobsResult)
        except msgspec.ValidationError:
            return None
        tops = found.topCandidates or (Top(),) * len(found.chosenCandidates)
        return tuple(
            Logprob(
                each.token,
                LEAST if each.logProbability is None else each.logProbability,
                tuple(
                    (other.token, other.logProbability)
                    for other in top.candidates[: self._top_logprobs]
                    if other.logProbability is not None
                ),
            )
            for each, top in zip(found.chosenCandidates, tops, strict=False)
        )

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not, ServerFailed when the model got lost in it."""
        if self.finished:
            return []
        reason = self._reason
        if reason is None or reason in NO_REASONS:
            raise StreamBroken
        if reason in FAILED:
            raise ServerFailed
        if reason in REFUSED:
            raise InvalidRequest(400, "input")
        self.finished = True
        cited: list[Event] = [*citations("".join(self._said), self._cited, self._grounded)]
        return [*cited, *self._unsealed(), Finished(REASONS.get(reason, "stop"), usage_of(self._usage))]


def usage_of(raw: msgspec.Raw) -> Usage | None:
    """The counts of the last usageMetadata; None when they are none. Thoughts are output, tools' results input."""
    try:
        usage = loads(bytes(raw))
    except JsonError:
        return None
    if not isinstance(usage, dict) or (prompt := count(usage.get("promptTokenCount"))) is None:
        return None
    tools, cached, said, thought = (
        count(usage.get(name)) or 0
        for name in ("toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    return Usage(prompt + tools, said + thought, min(cached, prompt), thought)
