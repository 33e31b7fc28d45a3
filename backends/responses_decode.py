"""The Responses API: what the events of an answer say. Pure.

https://developers.openai.com/api/docs/api-reference/responses-streaming. The same events come as server-sent messages
and as frames of a socket; there each says in `stream_id` which answer it belongs to.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from backends.chat_decode import detail
from backends.chat_errors import count
from backends.chat_logprobs import logprobs_of
from backends.errors import BackendError, ContentFiltered, InvalidRequest, Overloaded, ProtocolViolation, StreamBroken
from backends.events import (
    Event,
    Finished,
    FinishReason,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import SHAPE_ERRORS, decoder, dumps
from backends.limits import spoken
from backends.provider_errors import classify
from backends.responses_encode import kept

TEXT = "response.output_text.delta"
ERROR = "error"
ENDS = {"response.completed", "response.incomplete", "response.failed", ERROR}  # of which exactly one comes
REASONS: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
# Of response.error.code: the prompt was flagged.
POLICY = {"invalid_prompt", "bio_policy", "misalignment_policy_violation", "image_content_policy_violation"}
POLICY |= {"content_filter", "content_policy_violation"}
LANES_FULL = "websocket_stream_limit_reached"
SOCKET_OVER = "websocket_connection_limit_reached"


class Said(msgspec.Struct, gc=False):
    """What nearly every event has, and all that a delta says."""

    type: str = ""
    stream_id: str | None = None
    delta: Any = None
    output_index: Any = None
    logprobs: Any = None


class Item(msgspec.Struct):
    """The fields of an output item that we read."""

    type: str = ""
    id: str = ""
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    encrypted_content: str | None = None


class OfItem(msgspec.Struct):
    """An event about a whole item."""

    output_index: int
    item: Item


class OfPart(msgspec.Struct):
    """The beginning of one of several summaries."""

    summary_index: int = 0


class Answer(msgspec.Struct):
    """The fields of a response object that we read."""

    id: str = ""
    error: dict[str, Any] | None = None
    incomplete_details: dict[str, Any] | None = None
    usage: Any = None


class OfAnswer(msgspec.Struct):
    """An event about the whole answer."""

    response: Answer


class Trouble(msgspec.Struct):
    """An error event: in its own fields, or in `error` with an HTTP status beside it."""

    error: dict[str, Any] | None = None
    status: int | None = None
    code: Any = None
    message: Any = None
    param: Any = None


said_of = decoder(Said)
_item, _part, _answer, _trouble = decoder(OfItem), decoder(OfPart), decoder(OfAnswer), decoder(Trouble)


class Call:
    """One tool call so far."""

    def __init__(self, index: int) -> None:
        self.index, self.argued = index, False


class Decoder:
    """One answer. `feed` takes the data of one message, `take` one that was read by `said_of` already.

    `response_id` is the server's name for the answer, once it has begun; `top_logprobs` is that of the request.
    """

    def __init__(self, model: str = "", top_logprobs: int | None = None) -> None:
        self.finished = False
        self.response_id = ""
        self._model = model
        self._top_logprobs = top_logprobs
        self._calls: dict[object, Call] = {}  # by output_index
        self._likely: tuple[Logprob, ...] = ()  # of tokens whose text is yet to come

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no event, and what an error inside the stream means."""
        if self.finished or not data or data == b"[DONE]":  # some servers say it here too
            return []
        try:
            said = said_of(data)
        except SHAPE_ERRORS:
            raise ProtocolViolation("an event that is no JSON object of the Responses API") from None
        return self.take(said, data)

    def take(self, said: Said, data: bytes) -> list[Event]:
        """As `feed`."""
        if said.type == TEXT and said.logprobs in (None, []) and type(said.delta) is str:  # nearly always
            return [TextDelta(said.delta)] if said.delta else []
        try:
            return self._events(said, data)
        except SHAPE_ERRORS:
            raise ProtocolViolation("an event whose fields have wrong types") from None

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if not self.finished:
            raise StreamBroken
        return []

    def _events(self, said: Said, data: bytes) -> list[Event]:
        match said.type:
            case "response.output_text.delta":
                return self._text(text(said), said.logprobs)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return [ReasoningDelta(text(said))] if said.delta else []
            case "response.refusal.delta":
                return [RefusalDelta(text(said))] if said.delta else []
            case "response.function_call_arguments.delta":
                return self._arguments(said.output_index, text(said))
            case "response.reasoning_summary_part.added":
                return [ReasoningDelta("\n\n")] if _part(data).summary_index else []
            case "response.output_item.added":
                return self._begun(_item(data))
            case "response.output_item.done":
                return self._done(_item(data))
        return self._of_all(said.type, data)

    def _of_all(self, kind: str, data: bytes) -> list[Event]:
        """What an event says of the whole answer. Nothing: what is done, of which we had each delta; what is new."""
        match kind:
            case "response.created":
                self.response_id = _answer(data).response.id
            case "response.completed" | "response.incomplete":
                return self._finish(_answer(data).response)
            case "response.failed":
                raise failure_of(_answer(data).response.error or {}, self._model)
            case "error":
                trouble = _trouble(data)
                flat = {"code": trouble.code, "message": trouble.message, "param": trouble.param}
                raise failure_of(trouble.error or flat, self._model, trouble.status)
        return []

    def _text(self, said: str, logprobs: object) -> list[Event]:
        if self._top_logprobs is not None:
            self._likely += logprobs_of({"content": logprobs}, self._top_logprobs)
        if not said:
            return []
        likely, self._likely = self._likely, ()
        return [TextDelta(said, likely or None)]

    def _begun(self, event: OfItem) -> list[Event]:
        item = event.item
        if item.type != "function_call" or event.output_index in self._calls:
            return []
        if not (item.name and item.call_id):
            raise ProtocolViolation("a tool call without a name or an id")
        call = self._calls[event.output_index] = Call(len(self._calls))
        return [ToolCallStart(call.index, item.call_id, item.name)]

    def _arguments(self, output_index: object, arguments: str) -> list[Event]:
        call = self._calls.get(output_index) if isinstance(output_index, int) else None
        if call is None:
            raise ProtocolViolation("the arguments of a tool call before its name")
        if not arguments:
            return []
        call.argued = True
        return [ToolCallDelta(call.index, arguments)]

    def _done(self, event: OfItem) -> list[Event]:
        """An item is whole: what a server did not send in deltas comes now."""
        item = event.item
        if item.type == "reasoning" and item.encrypted_content:
            opaque = kept(item.id, item.encrypted_content)
            return [Signature(opaque.provider, opaque.data)]
        if item.type != "function_call":
            return []
        events = self._begun(event)
        call = self._calls[event.output_index]
        return events if call.argued else events + self._arguments(event.output_index, item.arguments)

    def _finish(self, answer: Answer) -> list[Event]:
        reason = REASONS.get(str((answer.incomplete_details or {}).get("reason")), "stop")
        # A call without arguments gets empty ones, for those who read them as JSON.
        empty = [call for call in self._calls.values() if not call.argued] if reason == "stop" else []
        self.finished = True
        return [*(ToolCallDelta(call.index, "{}") for call in empty), Finished(reason, usage_of(answer.usage))]


def text(said: Said) -> str:
    """Raises ProtocolViolation for a delta that is no text."""
    if not isinstance(said.delta, str):
        raise ProtocolViolation("a delta that is no text")
    return said.delta


def failure_of(error: Mapping[str, Any], model: str, status: int | None = None) -> BackendError:
    """What the error of an answer, or of an error event, means. Nothing of its words enters the result."""
    code = str(error.get("code") or "")
    if code in POLICY:
        return ContentFiltered()
    if code == SOCKET_OVER:
        return StreamBroken()
    if code == LANES_FULL:
        return Overloaded()
    if status is None and ("image" in code or code == "data_residency_mismatch"):  # of the input: response.error.code
        return InvalidRequest(400, "input")
    given = error.get("headers")
    headers = {str(name).lower(): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    told = {name: error.get(name) for name in ("code", "type", "message", "param")}
    known = {name: str(value) for name, value in told.items() if value is not None}
    found = classify(status, headers, dumps({"error": known}), model=model)
    found.limits = spoken(headers)
    return found


def usage_of(usage: object) -> Usage | None:
    """The counts, or None when they are not counts. Details that are wrong count as 0."""
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    cached = min(detail(usage, "input_tokens_details", "cached_tokens"), tokens_in)
    written = min(detail(usage, "input_tokens_details", "cache_write_tokens"), tokens_in - cached)
    reasoning = detail(usage, "output_tokens_details", "reasoning_tokens")
    return Usage(tokens_in, tokens_out, cached, min(reasoning, tokens_out), written_tokens=written)
