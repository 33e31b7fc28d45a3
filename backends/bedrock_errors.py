"""Amazon Bedrock's Converse: the error that an answer, or an exception inside its stream, means. Pure."""

import re
from collections.abc import Callable, Mapping

from backends.anthropic_errors import refused
from backends.chat_errors import metric_of, on, retry_after
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Refused

NOBODY = frozenset(  # with a 403: not a matter of rights, but of who asks
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "ExpiredTokenException",
        "MissingAuthenticationTokenException",
        "InvalidClientTokenId",
    }
)
BAD_KEY = re.compile(r"api key|bearer token|security token", re.IGNORECASE)
NO_MODEL = re.compile(
    r"model identifier is invalid|access to the model|on-demand throughput isn.t supported|reached the end of its life"
)
TOO_LONG = re.compile(
    r"input is too long|too many input tokens|exceeds the (?:maximum|model's) (?:context|number of tokens)",
    re.IGNORECASE,
)
A_DAY = re.compile(r"per day|daily", re.IGNORECASE)
UNSUPPORTED = (  # what their words mean: the feature, and the field that asks for it
    (re.compile(r"support\w* tool use|support\w* tool", re.IGNORECASE), "tools", "tools"),
    (re.compile(r"support\w* (?:the )?image|image content block", re.IGNORECASE), "images", "input"),
    (re.compile(r"support\w* (?:the )?document", re.IGNORECASE), "files", "input"),
    (re.compile(r"support\w* (?:the )?audio", re.IGNORECASE), "audio", "input"),
    (re.compile(r"support\w* system", re.IGNORECASE), "a system prompt", "instructions"),
    (
        re.compile(r"support\w* (?:the )?(?:textformat|structured output)", re.IGNORECASE),
        "a JSON schema",
        "text.format",
    ),
    (re.compile(r"support\w* streaming|streaming.{0,30}not support", re.IGNORECASE), "streaming", "stream"),
)
WAITS: dict[str, Callable[[float | None], BackendError]] = {
    "ServiceQuotaExceededException": QuotaExhausted,
    "ServiceUnavailableException": Overloaded,
    "ModelNotReadyException": NotReady,
}


def classify(
    status: int, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `now` is Unix time. The body's words only choose it."""
    try:
        value = loads(body)
    except JsonError:
        value = None
    found = value if isinstance(value, dict) else {}
    name = headers.get("x-amzn-errortype") or found.get("__type") or ""
    kind = re.sub(r":.*$|^.*#", "", str(name))  # ThrottlingException:http://…, com.amazon.coral#ThrottlingException
    message = str(found.get("message") or found.get("Message") or "")
    return meaning(kind, message, model, retry_after(headers, now)) or by_status(status)


def inside(kind: str, message: str, model: str) -> BackendError:
    """The error that an exception inside a stream means."""
    return meaning(kind[:1].upper() + kind[1:], message, model, None) or ServerFailed()


def meaning(kind: str, message: str, model: str, wait: float | None) -> BackendError | None:
    """By the exception's name; None where only the status says anything."""
    if kind in WAITS:
        return WAITS[kind](wait)
    if kind in NOBODY:
        return AuthenticationFailed(401)
    match kind:
        case "ThrottlingException" if A_DAY.search(message):
            return on(QuotaExhausted(wait, Scope.MODEL), Refused(metric_of(message), "day"))
        case "ThrottlingException":
            return RateLimited(wait)
        case "AccessDeniedException" if not NO_MODEL.search(message):
            return AuthenticationFailed(401 if BAD_KEY.search(message) else 403)
        case "ResourceNotFoundException" | "AccessDeniedException":
            return ModelNotFound(model)
        case "ValidationException":
            return invalid(message, model)
    return None


def invalid(message: str, model: str) -> BackendError:
    """Why what was asked is refused. Words of a model's maker may stand in it."""
    if NO_MODEL.search(message):
        return ModelNotFound(model)
    found = refused(400, message)
    if isinstance(found, ContextLengthExceeded | ContentFiltered | UnsupportedFeature):
        return found
    if TOO_LONG.search(message):
        return ContextLengthExceeded()
    for words, feature, field in UNSUPPORTED:
        if words.search(message):
            return UnsupportedFeature(feature, field)
    return InvalidRequest(400)


def by_status(status: int) -> BackendError:
    """The error that a status means when nothing else says more."""
    if status in {401, 403}:
        return AuthenticationFailed(status)
    if status == 429:
        return RateLimited()
    if status == 503:
        return Overloaded()
    if status < 400 or status in {404, 405}:
        return ProtocolViolation(f"HTTP {status} for a path of this API")
    if status >= 500 or status in {408, 424}:  # 424: the model itself failed
        return ServerFailed(status)
    return InvalidRequest(status)
