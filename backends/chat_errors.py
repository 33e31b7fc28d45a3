"""Chat completions: the error that an answer means. Pure."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from backends import durations
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Metric, Per, Refused

E = TypeVar("E", bound=BackendError)
MOST_TOKENS = 10**9  # a count beyond it is a lie
SAME_NAMES = (
    "model messages stop temperature top_p top_k min_p presence_penalty frequency_penalty seed tools tool_choice"
)
PARAMS = {
    name: name for name in f"{SAME_NAMES} parallel_tool_calls top_logprobs prompt suffix input dimensions".split()
}
PARAMS |= {  # theirs: ours
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "logprobs": "top_logprobs",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}  # OpenAI and Groq; llama.cpp
CONTEXT_LIMIT = re.compile(
    r"maximum context length (?:is|of) (\d{1,9})|maximum model length of (\d{1,9})"  # vLLM, OpenAI
    r"|(?:available|max) context size \((\d{1,9})"  # llama.cpp behind LocalAI
    r"|too large for model with (\d{1,9}) maximum context|maximum prompt length is (\d{1,9})"  # Mistral, xAI
    # Cerebras, Together
    r"|[Cc]urrent length is \d{1,9} while limit is (\d{1,9})|`?max_new_tokens`? must be <= (\d{1,9})"
)
PROMPT_SIZE = re.compile(
    r"at least (\d{1,9}) input tokens|requested (\d{1,9}) tokens|resulted in (\d{1,9}) tokens"
    r"|(?:request|input) \((\d{1,9}) tokens"
    r"|[Pp]rompt contains (\d{1,9}) tokens|request contains (\d{1,9}) tokens|[Cc]urrent length is (\d{1,9}) while"
)
LOAD_FAILED = re.compile(  # LocalAI; Ollama
    r"(?:could not|failed to) load model|grpc service not ready|model failed to load"
)
IN_STREAM = {str(status) for status in range(400, 600)}  # vLLM and llama.cpp: the status as the error's code
# How they name an axis: "tokens per minute", "input tokens per day", "requests per min". PER is by three letters.
PER: dict[str, Per] = {"sec": "second", "min": "minute", "hou": "hour", "day": "day", "mon": "month"}
AXIS_WORDS = r"(?P<axis>(?:[\w-]+ ){0,2}?(?:tokens|requests)) per (?P<per>second|min|hour|day|month)"
LIMIT_CODES = {"rate_limit_exceeded", "rate_limit_error"}
SPENT_CODES = {
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),  # OpenAI, with a 429 or 403
    *("exceeded_current_quota_error", "1113"),  # Moonshot AI; Z.ai, with a 429
}
FILTER_CODES = {"content_filter", "content_policy_violation", "invalid_prompt"}  # Azure; OpenAI, of images and texts
OVERLOAD_CODES = {"overloaded_error", "unavailable_error", "service_unavailable"}
ABSENT_CODES = {
    *("model_not_found", "model_disabled", "DeploymentNotFound"),  # OpenAI; LocalAI, with a 403; Azure
    *("invalid_model", "model_decommissioned"),  # Mistral; Groq, with a 400
}
UNSUPPORTED = (  # what their words mean: the feature, and the field that asks for it
    # llama.cpp, vLLM, Ollama
    (re.compile(r"image input|not a multimodal model|at most 0 image"), "images", "input"),
    (re.compile(r"audio input|at most 0 audio"), "audio", "input"),
    # Ollama, vLLM, llama.cpp
    (re.compile(r"does not support tools|--enable-auto-tool-choice|tools param requires --jinja"), "tools", "tools"),
    (re.compile(r"does not support embeddings"), "embeddings", None),
    (re.compile(r"suffix is not (?:currently )?supported"), "a suffix", "suffix"),
    # Anthropic's compatible endpoint, vLLM, Mistral
    (
        re.compile(r"message prefill|last message is from the assistant|expected last role user or tool"),
        "prefill",
        "input",
    ),
)


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
    code, kind = str(error.get("code") or ""), str(error.get("type") or "")
    message = text_of(error)
    if status is None and code in IN_STREAM:
        status = int(code)
    param = re.sub(r"^body\.|[.\[].*$", "", str(error.get("param") or ""))  # vLLM: body.stop, OpenAI: messages[0].x
    limit, prompt = CONTEXT_LIMIT.search(message), PROMPT_SIZE.search(message)
    if status not in {401, 403, 429} and (limit or {code, kind} & CONTEXT_CODES):
        return ContextLengthExceeded(
            count(error.get("n_prompt_tokens")) or number(prompt), count(error.get("n_ctx")) or number(limit)
        )
    if {code, kind} & SPENT_CODES:
        return QuotaExhausted(retry_after(headers, now))
    if {code, kind} & FILTER_CODES:
        return ContentFiltered()
    # Ollama and LocalAI name the model in words only; a 404 without one is a wrong path.
    named = (status in {400, 404} and param == "model") or (status == 404 and "model" in message.lower())
    if named or status == 410 or {code, kind} & ABSENT_CODES:
        return ModelNotFound(model)
    # llama.cpp: "Loading model"; LocalAI: "model … is loading", and a member that tells how far.
    if status == 503 and ("loading" in message.lower() or (isinstance(value, dict) and "loading" in value)):
        return NotReady(retry_after(headers, now))
    if (status is None or status >= 500) and LOAD_FAILED.search(message):
        return ModelLoadFailed(model)
    if status in {None, 400, 422, 500, 501} and (found := unsupported(message.lower())):
        return found
    return by_kind({code, kind}) if status is None else by_status(status, PARAMS.get(param), retry_after(headers, now))


def unsupported(message: str) -> UnsupportedFeature | None:
    """The feature that the server says it has not."""
    for words, feature, field in UNSUPPORTED:
        if words.search(message):
            return UnsupportedFeature(feature, field)
    return None


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
    if status == 402:  # payment required
        return QuotaExhausted(wait)
    if status == 429:
        return RateLimited(wait)
    if status in {503, 529}:
        return Overloaded(wait)
    if status < 400 or status in {404, 405}:
        return ProtocolViolation(f"HTTP {status} for a path of this API")
    if status == 413:  # Groq: the prompt alone is above the limit per minute; elsewhere the body is too large
        return ContextLengthExceeded()
    if status >= 500 or status == 408:  # 408: it was too slow itself, for we had sent everything
        return ServerFailed(status)
    return InvalidRequest(status, param)


def on(error: E, refused: Refused | None) -> E:
    """The same error, refused on that axis."""
    error.refused = refused
    return error


def metric_of(words: str) -> Metric | None:
    """What is counted there, by words that name it: "tokens", "input tokens", "InputTokens", "requests"."""
    words = words.lower().replace("_", " ")
    if "token" not in words:
        return "requests" if "request" in words or "call" in words else None
    return "input_tokens" if "input" in words else "output_tokens" if "output" in words else "tokens"


def amount(digits: str | None) -> int | None:
    """A limit as people write it: 40,000."""
    return int(digits.replace(",", "")) if digits else None


def count(value: object) -> int | None:
    """A number of tokens, or None when `value` is none."""
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None  # a bool is no count


def error_of(value: object) -> dict[str, Any] | None:
    """The error object in `value`, in any of the shapes in use; None when there is no error in it."""
    if isinstance(value, list) and value:  # Gemini's compatible endpoint wraps it in a list
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict) and error:
        return error
    if error:  # Ollama and Hugging Face: only a text; xAI: and a code beside it
        return {"message": error, "code": value.get("code")}
    if value.get("object") == "error" or ("type" in value and isinstance(value.get("message"), str)):
        return value  # Mistral, vLLM before 0.10; Cerebras
    groq = value.get("x_groq")
    return {"message": groq["error"]} if isinstance(groq, dict) and groq.get("error") else None


def text_of(error: Mapping[str, Any]) -> str:
    """Its message. What a list of faults quotes is the client's own (Mistral), and must not be taken for words."""
    message = error.get("message")
    return message if isinstance(message, str) else ""


def number(match: re.Match[str] | None) -> int | None:
    return int(next(filter(None, match.groups()))) if match else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110, 10.2.3)."""
    milliseconds = durations.wait(f"{headers.get('retry-after-ms', '').strip()}ms", now)
    return durations.wait(headers.get("retry-after", ""), now) if milliseconds is None else milliseconds
