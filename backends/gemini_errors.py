"""Gemini, and Google's other APIs: the error that an answer means, by its google.rpc details. Pure."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec.structs import replace

from backends.chat_errors import by_status, error_of, metric_of, on, retry_after
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Refused

# google.rpc.Code, and the HTTP status that stands for it (cloud.google.com/apis/design/errors#handling_errors)
STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
KEY_REASONS = {"API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", "CREDENTIALS_MISSING"}  # ErrorInfo.reason
KEY_WORDS = re.compile(r"api key (?:not valid|expired|not found)", re.IGNORECASE)
CONTEXT = re.compile(
    r"input token count (?:is )?\(?(\d{1,9})\)?"
    r".{0,40}?(?:maximum number of tokens allowed|model only supports up to) \(?(\d{1,9})"
)
NO_FREE_SHARE = re.compile(r"\blimit: 0\b")  # this model is not on the free tier
SPENT = re.compile(r"prepay\w* credits? (?:are|is) depleted|spending cap|billing account .{0,40}(?:disabled|closed)")
NOT_HERE = re.compile(r"location is not supported|not available in your country")
UNSUPPORTED = (  # what their words mean: the feature, and the field that asks for it
    (re.compile(r"logprobs is not (?:enabled|supported)"), "log probabilities", "top_logprobs"),
    (re.compile(r"function calling with a response mime type"), "a JSON schema together with tools", "text.format"),
    (re.compile(r"json mode is not (?:enabled|supported)"), "JSON output", "text.format"),
    (re.compile(r"function calling is not (?:enabled|supported)|tool use .{0,20}unsupported"), "tools", "tools"),
    (re.compile(r"image input .{0,30}not (?:enabled|supported)|does not support image"), "images", "input"),
    (re.compile(r"audio input .{0,30}not (?:enabled|supported)|does not support audio"), "audio", "input"),
    (re.compile(r"thinking(?: budget| level)? is not (?:enabled|supported)"), "reasoning", "reasoning.effort"),
    (re.compile(r"requests? ends? with a user role"), "prefill", "input"),
    (re.compile(r"developer instruction is not (?:enabled|supported)"), "system messages", "input"),
)
PARAMS = {  # theirs, in either spelling: ours
    "maxoutputtokens": "max_output_tokens",
    "stopsequences": "stop",
    "topp": "top_p",
    "topk": "top_k",
    "presencepenalty": "presence_penalty",
    "frequencypenalty": "frequency_penalty",
    "temperature": "temperature",
    "seed": "seed",
    "logprobs": "top_logprobs",
    "responselogprobs": "top_logprobs",
    "responseschema": "text.format",
    "responsejsonschema": "text.format",
    "thinkingconfig": "reasoning.effort",
    "functiondeclarations": "tools",
    "tools": "tools",
    "toolconfig": "tool_choice",
    "contents": "input",
    "outputdimensionality": "dimensions",
}
PATH = re.compile(
    r"(?:generation_?config|contents|tools|tool_?config|GenerateContentRequest)[.\[][\w.\[\]]+", re.IGNORECASE
)


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `status` None: it came inside a 200. `now` is Unix time, for dates and midnights.

    The body's words only choose the error; none of them enters it, but numbers of tokens and names of our own fields.
    """
    try:
        error = error_of(loads(body)) or {}
    except JsonError:
        error = {}
    code, message = str(error.get("status") or ""), str(error.get("message") or "")
    if status is None or (status == 200 and code):
        status = STATUSES.get(code, error["code"] if type(error.get("code")) is int else 500)
    details = [each for each in listed(error.get("details")) if isinstance(each, dict)]
    reasons = {str(each.get("reason")) for each in details}
    wait = retry_delay(details)
    wait = retry_after(headers, now) if wait is None else wait
    if reasons & KEY_REASONS or (status in {400, 403} and KEY_WORDS.search(message)):
        return AuthenticationFailed(401)  # it comes as a 400
    match status:
        case 429:
            return exhausted(details, message, wait, now)
        case 400:
            return refused(details, message)
        case 404 if code == "NOT_FOUND" and "model" in message.lower():
            return ModelNotFound(model)
        case 499:
            return ServerFailed(499)
    if 500 <= status < 600 and code == "UNAVAILABLE":
        return Overloaded(wait)
    return by_status(status, None, wait)


def exhausted(details: list[dict[str, Any]], message: str, wait: float | None, now: float) -> BackendError:
    """What a 429 means. Google gives a delay of seconds even where a day is spent, so the quota's name decides."""
    violations = [each for detail in details for each in listed(detail.get("violations")) if isinstance(each, dict)]
    quotas = [str(each.get("quotaId") or "") for each in violations]
    scope = Scope.MODEL if not quotas or any("PerModel" in each for each in quotas) else Scope.ACCOUNT
    if SPENT.search(message.lower()):
        return QuotaExhausted(None, Scope.ACCOUNT)
    if NO_FREE_SHARE.search(message) or any(str(each.get("quotaValue")) == "0" for each in violations):
        return on(QuotaExhausted(None, Scope.MODEL), replace(axis(violations) or Refused(), limit=0))
    if any("PerDay" in each for each in quotas):
        return on(QuotaExhausted(until_midnight(now), scope), axis(violations))
    return on(RateLimited(wait, scope), axis(violations))


def axis(violations: list[dict[str, Any]]) -> Refused | None:
    """The quota that was violated, of several the day's: GenerateRequestsPerDayPerProjectPerModel-FreeTier.

    quotaValue is an int64, which JSON has as a text.
    """
    if not violations:
        return None
    one = next((each for each in violations if "PerDay" in str(each.get("quotaId"))), violations[0])
    quota, limit = str(one.get("quotaId") or ""), str(one.get("quotaValue") or "")
    return Refused(
        metric_of(quota) or metric_of(str(one.get("quotaMetric") or "")),
        "day" if "PerDay" in quota else "minute" if "PerMinute" in quota else None,
        int(limit) if re.fullmatch(r"\d{1,15}", limit, re.ASCII) else None,
        account="PerProject" in quota and "PerModel" not in quota,
    )


def refused(details: list[dict[str, Any]], message: str) -> BackendError:
    """What a 400 means."""
    lower = message.lower()
    if found := CONTEXT.search(message):
        return ContextLengthExceeded(int(found[1]), int(found[2]))
    if NOT_HERE.search(lower):
        return AuthenticationFailed(403)
    for words, feature, param in UNSUPPORTED:
        if words.search(lower):
            return UnsupportedFeature(feature, param)
    if re.search(r"thought.signature", lower):  # missing, or of another model or project
        return InvalidRequest(400, "input")
    violations = [each for detail in details for each in listed(detail.get("fieldViolations"))]
    paths = [str(each.get("field") or "") for each in violations if isinstance(each, dict)]
    paths += PATH.findall(message)
    return InvalidRequest(400, next((name for path in paths if (name := param_of(path))), None))


def param_of(path: str) -> str | None:
    """Our name of the field at a path such as generation_config.top_k or tools[0].function_declarations."""
    words = (word.replace("_", "").lower() for word in re.findall(r"[A-Za-z_]+", path))
    return next((PARAMS[word] for word in words if word in PARAMS), None)


def retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds, of a google.rpc.RetryInfo: "36s", "1.5s"."""
    for each in details:
        if found := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)s", str(each.get("retryDelay"))):
            return float(found[1])
    return None


def until_midnight(now: float) -> float:
    """Seconds to the next midnight of the Pacific, when Google's days begin."""
    here = datetime.fromtimestamp(now, pacific())
    midnight = datetime.combine(here.date() + timedelta(days=1), datetime.min.time(), here.tzinfo)
    return (midnight.astimezone(UTC) - here.astimezone(UTC)).total_seconds()


def pacific() -> tzinfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:  # a system without the tables: in summer an hour late
        return timezone(timedelta(hours=-8))


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
