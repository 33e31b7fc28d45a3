"""Chat completions, encoded and decoded: what the compatible servers share. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    RateLimited,
    ServerFailed,
    StreamBroken,
)
from backends.events import Event, Finished, FinishReason, ReasoningDelta, RefusalDelta, TextDelta, Usage
from backends.json import SHAPE_ERRORS, JsonError, decoder, loads
from backends.request import Request, text_of

DONE = b"[DONE]"
MOST_TOKENS = 10**9  # a count beyond it is a lie
REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
PARAMS = {name: name for name in ("model", "messages", "stop", *SAMPLING)} | {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}
CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}  # OpenAI and Groq; llama.cpp
CONTEXT_LIMIT = re.compile(
    r"maximum context length (?:is|of) (\d{1,9})|maximum model length of (\d{1,9})"  # vLLM, OpenAI
    r"|(?:available|max) context size \((\d{1,9})"  # llama.cpp behind LocalAI
)
PROMPT_SIZE = re.compile(
    r"at least (\d{1,9}) input tokens|requested (\d{1,9}) tokens|resulted in (\d{1,9}) tokens"
    r"|(?:request|input) \((\d{1,9}) tokens"
)
LOAD_FAILED = re.compile(  # LocalAI; Ollama
    r"(?:could not|failed to) load model|grpc service not ready|model failed to load"
)
IN_STREAM = {str(status) for status in range(400, 600)}  # vLLM and llama.cpp: the status as the error's code
LIMIT_CODES = {"rate_limit_exceeded", "rate_limit_error", "insufficient_quota"}
OVERLOAD_CODES = {"overloaded_error", "unavailable_error", "service_unavailable"}
ABSENT_CODES = {"model_not_found", "model_disabled"}  # OpenAI; LocalAI, with a 403


def encode(request: Request) -> dict[str, Any]:
    """The body of a streamed chat completion. What the request leaves open is left out."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": text_of(message.parts)} for message in request.messages],
        "max_tokens": request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    for name in SAMPLING:
        if (value := getattr(request.sampling, name)) is not None:
            body[name] = value
    return body


class Delta(msgspec.Struct, gc=False):
    """The fields of a delta, or of a whole message, that we read."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None  # of a completion that was not streamed
    finish_reason: Any = None


class Chunk(msgspec.Struct):
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None


chunk_of = decoder(Chunk)


class Decoder:
    """One answer. `feed` takes the data of one message, or a whole completion that was not streamed; `end` the end.

    `Finished` waits for [DONE] or the end, because the usage comes after the finish reason. What follows it is ignored.
    """

    def __init__(self, model: str = "") -> None:
        self.finished = False
        self._model = model
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None

    def feed(self, data: bytes) -> list[Event]:
        """Raises ProtocolViolation for what is no chunk, and what an error inside the stream means."""
        if self.finished or not data:
            return []
        if data == DONE:
            return self._finish(self._reason or "stop")
        try:
            chunk = chunk_of(data)
        except SHAPE_ERRORS:
            raise self._no_chunk(data) from None
        if chunk.error or chunk.object == "error":
            raise classify(None, {}, data, model=self._model)
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage) or self._usage
        if not chunk.choices:  # the usage, a filter's verdict, a ping
            return []
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._reason = reason_of(choice.finish_reason)
        delta = choice.delta or choice.message
        if delta is None:
            return []
        if delta.content and not (delta.reasoning_content or delta.reasoning or delta.refusal):  # nearly always
            return [TextDelta(delta.content)]
        return content_of(delta)

    def _no_chunk(self, data: bytes) -> BackendError:
        try:
            value = loads(data)
        except JsonError:
            return ProtocolViolation("a chunk that is not JSON")
        if error_of(value) is not None:
            return classify(None, {}, data, model=self._model)
        return ProtocolViolation("a chunk whose fields have wrong types")

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""
        if self.finished:
            return []
        if self._reason is None:
            raise StreamBroken
        return self._finish(self._reason)

    def _finish(self, reason: FinishReason) -> list[Event]:
        self.finished = True
        return [Finished(reason, self._usage)]


def content_of(delta: Delta) -> list[Event]:
    """What a delta says. A role alone says nothing."""
    events: list[Event] = []
    if text := delta.reasoning_content or delta.reasoning:  # some send both, alike
        events.append(ReasoningDelta(text))
    if delta.content:
        events.append(TextDelta(delta.content))
    if delta.refusal:
        events.append(RefusalDelta(delta.refusal))
    return events


def reason_of(reason: object) -> FinishReason:
    """Ours for theirs. The end of a tool call, or a reason that is new to us, is a stop."""
    return REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def usage_of(usage: object) -> Usage | None:
    """The counts, or None when they are not counts. Details that are wrong count as 0."""
    if not isinstance(usage, dict):
        return None
    tokens_in, tokens_out = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if tokens_in is None or tokens_out is None:
        return None
    cached = detail(usage, "prompt_tokens_details", "cached_tokens")
    reasoning = detail(usage, "completion_tokens_details", "reasoning_tokens")
    return Usage(tokens_in, tokens_out, min(cached, tokens_in), min(reasoning, tokens_out))


def count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None  # a bool is no count


def detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (count(details.get(name)) or 0) if isinstance(details, dict) else 0


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `status` None: it came inside a 200. `now` is Unix time, for dates in headers.

    The body's words only choose the error; none of them enters it, but numbers of tokens and names of our own fields.
    """
    try:
        value = loads(body)
    except JsonError:
        value = None
    error = error_of(value) or {}
    code, kind, message = (str(error.get(name) or "") for name in ("code", "type", "message"))
    if status is None and code in IN_STREAM:
        status = int(code)
    param = re.sub(r"^body\.|[.\[].*$", "", str(error.get("param") or ""))  # vLLM: body.stop, OpenAI: messages[0].x
    limit, prompt = CONTEXT_LIMIT.search(message), PROMPT_SIZE.search(message)
    if status not in {401, 403, 429} and (limit or {code, kind} & CONTEXT_CODES):
        return ContextLengthExceeded(
            count(error.get("n_prompt_tokens")) or number(prompt), count(error.get("n_ctx")) or number(limit)
        )
    # Ollama and LocalAI name the model in words only; a 404 without one is a wrong path.
    if {code, kind} & ABSENT_CODES or (status in {400, 404} and param == "model"):
        return ModelNotFound(model)
    if status == 404 and "model" in message.lower():
        return ModelNotFound(model)
    # llama.cpp: "Loading model"; LocalAI: "model … is loading", and a member that tells how far.
    if status == 503 and ("loading" in message.lower() or (isinstance(value, dict) and "loading" in value)):
        return NotReady(retry_after(headers, now))
    if (status is None or status >= 500) and LOAD_FAILED.search(message):
        return ModelLoadFailed(model)
    return by_kind({code, kind}) if status is None else by_status(status, PARAMS.get(param), retry_after(headers, now))


def by_kind(codes: set[str]) -> BackendError:
    """The error that an answer of 200 holds, by its code and type."""
    if codes & LIMIT_CODES:
        return RateLimited()
    if codes & OVERLOAD_CODES:
        return Overloaded()
    return InvalidRequest(400) if "invalid_request_error" in codes else ServerFailed()


def by_status(status: int, param: str | None, wait: float | None) -> BackendError:
    """The error that a status means when the body says nothing more."""
    if status in {401, 403}:
        return AuthenticationFailed(status)
    if status in {402, 429}:  # 402: the account is spent
        return RateLimited(wait)
    if status in {503, 529}:
        return Overloaded(wait)
    if status < 400 or status in {404, 405}:
        return ProtocolViolation(f"HTTP {status} for a path of this API")
    if status == 413:  # Groq: the prompt alone is above the limit per minute; elsewhere the body is too large
        return ContextLengthExceeded()
    return ServerFailed(status) if status >= 500 else InvalidRequest(status, param)


def error_of(value: object) -> dict[str, Any] | None:
    """The error object in `value`, in any of the shapes in use; None when there is no error in it."""
    if isinstance(value, list) and value:  # Gemini's compatible endpoint wraps it in a list
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict) and error:
        return error
    if error:  # Ollama: only a text
        return {"message": error}
    return value if value.get("object") == "error" else None  # vLLM before 0.10


def number(match: re.Match[str] | None) -> int | None:
    return int(next(filter(None, match.groups()))) if match else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3)."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value := headers.get(name, "").strip(), re.ASCII):
            return float(value) * scale
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, OverflowError):
        return None
    return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now)
