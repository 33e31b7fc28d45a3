"""Anthropic's Messages: the error that an answer means, of its own API and where others host it. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backends.chat_errors import AXIS_WORDS, PER, amount, metric_of, on, retry_after
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Refused

STATUS = {  # of an error inside a stream, by its type: https://platform.claude.com/docs/en/api/errors
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
TOO_LONG = re.compile(
    r"prompt is too long(?:: (?P<prompt>\d{1,9}) tokens > (?P<limit>\d{1,9}) maximum)?"
    r"|input length and `max_tokens` exceed context limit(?:: (?P<input>\d{1,9}) \+ \d{1,9} > (?P<context>\d{1,9}))?"
)
FILTERED = re.compile(r"output blocked by content filtering policy|content filter", re.IGNORECASE)
NO_CREDIT = re.compile(r"credit balance is too low")
SPENT = re.compile(r"reached your specified (?:workspace )?api usage limits", re.IGNORECASE)
RENEWED = re.compile(r"regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) UTC")
LIMIT = re.compile(rf"limit of (?P<limit>[\d,]{{1,15}}) {AXIS_WORDS}")
MONEY = Refused("usd_micros", "month", account=True)
SPENT_MONTH, SPENT_CONTRACT = "enforced_spend_limit_reached", "contract_spend_limit_reached"
UNSUPPORTED = (  # what their words mean: the feature, and the field that asks for it
    (re.compile(r"does not support assistant message prefill|must end with a user message"), "prefill", "input"),
    (re.compile(r"support\w* .{0,40}(?:image|vision)|image.{0,40}not support"), "images", "input"),
    (
        re.compile(r"support\w* .{0,40}(?:pdf|document)|(?:pdf|document).{0,40}not support", re.IGNORECASE),
        "files",
        "input",
    ),
    (
        re.compile(r"support\w* .{0,40}(?:output[_ ](?:format|config)|structured output)"),
        "a JSON schema",
        "text.format",
    ),
    (
        re.compile(r"tool_choice.{0,60}not support|support\w* .{0,40}(?:tool_choice|forced tool)"),
        "forced tools",
        "tool_choice",
    ),
    (
        re.compile(r"support\w* .{0,40}(?:effort|thinking)|thinking\.type.{0,40}not support"),
        "this effort",
        "reasoning.effort",
    ),
)
PARAMS = {  # theirs: ours
    **{name: name for name in ("model", "messages", "temperature", "top_p", "top_k", "tools", "tool_choice")},
    "max_tokens": "max_output_tokens",
    "stop_sequences": "stop",
    "system": "messages",
    "output_config": "text.format",
    "thinking": "reasoning.effort",
}
PARAM = re.compile(r"`?([a-z_]+)`?(?=[.:]| is | must )")


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `status` None: it came inside a 200. `now` is Unix time.

    The body's words only choose the error; none of them enters it, but numbers, and names of our own fields.
    """
    error = error_of(body)
    kind, message = (str(error.get(name) or "") for name in ("type", "message"))
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    inside, status = status is None, STATUS.get(kind, 500) if status is None else status
    if spent := quota(status, kind, code, message, now):
        return spent
    if status == 404 and "model" in message:
        return ModelNotFound(model)
    if status in {400, 413, 422} and (refusal := refused(status, message)):
        return refusal
    found = by_status(status, retry_after(headers, now), inside=inside)
    return on(found, axis(message)) if isinstance(found, RateLimited) else found


def axis(message: str) -> Refused | None:
    """The limit that a refusal names."""
    found = LIMIT.search(message)
    return Refused(metric_of(found["axis"]), PER[found["per"][:3]], amount(found["limit"])) if found else None


def error_of(body: bytes) -> dict[str, Any]:
    """The error object in `body`; {} where there is none. Vertex wraps it in a list, and Bedrock leaves it bare."""
    try:
        value = loads(body)
    except JsonError:
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {}


def quota(status: int, kind: str, code: object, message: str, now: float) -> QuotaExhausted | None:
    """What is spent, and until when: the operator's own limit, the month's of the tier, or the credit."""
    if SPENT.search(message):
        return on(QuotaExhausted(until(message, now)), MONEY)
    if code == SPENT_MONTH:  # "until 00:00 UTC on the first day of the next month"
        return on(QuotaExhausted(next_month(now)), MONEY)
    if code == SPENT_CONTRACT or status == 402 or kind == "billing_error" or NO_CREDIT.search(message):
        return QuotaExhausted()
    return None


def until(message: str, now: float) -> float | None:
    found = RENEWED.search(message)
    try:
        when = datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00") if found else None
    except ValueError:
        when = None
    return None if when is None else max(0.0, when.timestamp() - now)


def next_month(now: float) -> float:
    today = datetime.fromtimestamp(now, UTC)
    first = datetime(today.year + today.month // 12, today.month % 12 + 1, 1, tzinfo=UTC)
    return first.timestamp() - now


def refused(status: int, message: str) -> BackendError | None:
    """Why what was asked is refused. None where only the status says it."""
    if found := TOO_LONG.search(message):
        prompt, limit = found["prompt"] or found["input"], found["limit"] or found["context"]
        return ContextLengthExceeded(int(prompt) if prompt else None, int(limit) if limit else None)
    if FILTERED.search(message):
        return ContentFiltered()
    for words, feature, field in UNSUPPORTED:
        if words.search(message):
            return UnsupportedFeature(feature, field)
    param = PARAM.match(message)
    return None if status == 413 else InvalidRequest(status, PARAMS.get(param[1]) if param else None)


def by_status(status: int, wait: float | None, *, inside: bool) -> BackendError:
    """The error that a status means when the body says nothing more."""
    if status in {401, 403}:
        return AuthenticationFailed(status)
    if status == 429:
        return RateLimited(wait)
    if status in {503, 529}:
        return Overloaded(wait)
    if status == 413:  # the whole body, beyond 32 MB
        return ContextLengthExceeded()
    if status < 400 or status in {404, 405}:
        return ProtocolViolation(f"HTTP {status} for a path of this API")
    if status >= 500:
        return ServerFailed(None if inside else status)
    return InvalidRequest(status)
