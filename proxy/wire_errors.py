"""The one table from every error to the wire, and the ways in which clients are told of one. Pure."""

from dataclasses import dataclass
from math import ceil

from backends import errors as backend
from backends import unasked
from backends.errors import BackendError
from proxy.errors import (
    AlreadyAnswered,
    AmbiguousModel,
    BadBody,
    BadFrame,
    BadParameter,
    BadSessionKey,
    BadStreamId,
    BodyTooLarge,
    ConversationTooLong,
    Draining,
    EventsGone,
    ForbiddenHost,
    ForbiddenOrigin,
    FreeQuotaExhausted,
    InvalidTicket,
    LedgerFailed,
    NoModelFits,
    NothingToRate,
    PreviousNotEnded,
    ProxyError,
    ResponseCancelled,
    ResumeGap,
    SessionAway,
    StoreFailed,
    TooLargeForQuota,
    TooManyLanes,
    TooManyQueued,
    TooManyRunning,
    TooManySessions,
    TooMuchFeedback,
    Unauthorized,
    UnknownModel,
    UnknownPrevious,
    UnknownResponse,
    UnknownRouter,
    Unsupported,
    UnsupportedMediaType,
)


@dataclass(frozen=True, slots=True)
class WireError:
    """How an error looks to a client: HTTP status, `type` and `code` (OpenAI's words where it has one)."""

    status: int
    type: str
    code: str


INVALID = "invalid_request_error"
SERVER = "server_error"
WIRE: dict[type[Exception], WireError] = {
    BadFrame: WireError(400, INVALID, "invalid_event"),
    BadBody: WireError(400, INVALID, "invalid_body"),
    BodyTooLarge: WireError(413, INVALID, "request_too_large"),
    UnsupportedMediaType: WireError(415, INVALID, "unsupported_media_type"),
    BadParameter: WireError(400, INVALID, "invalid_parameter"),
    BadStreamId: WireError(400, INVALID, "invalid_stream_id"),
    Unsupported: WireError(400, INVALID, "unsupported_feature"),
    UnknownModel: WireError(404, INVALID, "model_not_found"),
    AmbiguousModel: WireError(400, INVALID, "model_ambiguous"),
    UnknownRouter: WireError(400, INVALID, "router_not_found"),
    UnknownPrevious: WireError(400, INVALID, "previous_response_not_found"),
    PreviousNotEnded: WireError(400, INVALID, "previous_response_not_ended"),
    ConversationTooLong: WireError(400, INVALID, "conversation_too_long"),
    UnknownResponse: WireError(404, INVALID, "response_not_found"),
    ResponseCancelled: WireError(503, SERVER, "response_cancelled"),
    EventsGone: WireError(409, INVALID, "sl_resume_gap"),
    TooManyLanes: WireError(400, INVALID, "websocket_stream_limit_reached"),
    TooManyQueued: WireError(429, "rate_limit_error", "too_many_queued_creates"),
    TooManyRunning: WireError(429, "rate_limit_error", "too_many_running_responses"),
    BadSessionKey: WireError(400, INVALID, "invalid_session_key"),
    TooManySessions: WireError(429, "rate_limit_error", "too_many_sessions"),
    ResumeGap: WireError(409, INVALID, "sl_resume_gap"),
    SessionAway: WireError(409, INVALID, "session_away"),
    AlreadyAnswered: WireError(409, INVALID, "already_answered"),
    Unauthorized: WireError(401, "authentication_error", "invalid_api_key"),
    InvalidTicket: WireError(401, "authentication_error", "invalid_ticket"),
    ForbiddenOrigin: WireError(403, "permission_error", "origin_not_allowed"),
    ForbiddenHost: WireError(403, "permission_error", "host_not_allowed"),
    FreeQuotaExhausted: WireError(429, "insufficient_quota", "free_quota_exhausted"),
    TooLargeForQuota: WireError(400, INVALID, "request_too_large_for_quota"),
    LedgerFailed: WireError(503, SERVER, "ledger_failed"),
    NoModelFits: WireError(400, INVALID, "no_model_fits"),
    NothingToRate: WireError(404, INVALID, "response_not_found"),
    TooMuchFeedback: WireError(429, "rate_limit_error", "too_much_feedback"),
    StoreFailed: WireError(503, SERVER, "store_failed"),
    Draining: WireError(503, SERVER, "server_draining"),
    backend.InvalidRequest: WireError(400, INVALID, "backend_refused_request"),
    backend.UnsupportedFeature: WireError(400, INVALID, "unsupported_feature"),
    backend.ContextLengthExceeded: WireError(400, INVALID, "context_length_exceeded"),
    backend.ContentFiltered: WireError(400, INVALID, "content_filter"),
    backend.ModelNotFound: WireError(404, INVALID, "model_not_found"),
    backend.AuthenticationFailed: WireError(502, SERVER, "backend_authentication_failed"),
    backend.CallerKeyNeeded: WireError(401, "authentication_error", "backend_key_needed"),
    backend.RateLimited: WireError(429, "rate_limit_error", "rate_limit_exceeded"),
    backend.QuotaExhausted: WireError(429, "insufficient_quota", "insufficient_quota"),
    backend.Overloaded: WireError(503, SERVER, "backend_overloaded"),
    unasked.QueueFull: WireError(503, SERVER, "backend_overloaded"),
    backend.NotReady: WireError(503, SERVER, "backend_not_ready"),
    backend.ModelLoadFailed: WireError(502, SERVER, "model_load_failed"),
    backend.ServerFailed: WireError(502, SERVER, "backend_failed"),
    backend.ProtocolViolation: WireError(502, SERVER, "backend_protocol_error"),
    backend.Unreachable: WireError(502, SERVER, "backend_unreachable"),
    unasked.CircuitOpen: WireError(503, SERVER, "backend_circuit_open"),
    backend.StreamBroken: WireError(502, SERVER, "backend_stream_broken"),
    backend.DeadlineExceeded: WireError(504, SERVER, "deadline_exceeded"),
    backend.EngineUnavailable: WireError(503, SERVER, "engine_unavailable"),
}
UNEXPECTED = WireError(500, SERVER, "internal_error")


def wire(error: Exception) -> WireError:
    """The row of `error`. What is in no row is a fault of ours, and says nothing of itself."""
    return WIRE.get(type(error), UNEXPECTED)


def sentence(error: Exception) -> str:
    """What a client may read. An error that is not of our trees could hold anything, so it stays in the log."""
    if isinstance(error, ProxyError | BackendError):
        return str(error)
    return "The gateway failed. The operator finds the reason in its log under this request's id."


def error_body(error: Exception) -> dict[str, object]:
    """The `error` member, as every API of ours sends it."""
    row = wire(error)
    body: dict[str, object] = {
        "type": row.type,
        "code": row.code,
        "message": sentence(error),
        "param": getattr(error, "param", None),
    }
    if isinstance(error, FreeQuotaExhausted):
        body["pools"] = error.pools
    if (ms := retry_after_ms(error)) is not None:
        body["retry_after_ms"] = ms
    return body


def retry_after(error: Exception) -> str | None:
    """The value of a `Retry-After`: seconds until another try makes sense, rounded up; None where that is not known."""
    ms = retry_after_ms(error)
    return None if ms is None else f"{max(1, ceil(ms / 1000))}"


def retry_after_ms(error: Exception) -> int | None:
    """The same in milliseconds."""
    seconds = 1 if isinstance(error, Draining) else getattr(error, "retry_after", None)
    return ceil(seconds * 1000) if isinstance(seconds, int | float) else None


def error_event(error: Exception, stream_id: str | None = None) -> dict[str, object]:
    """The `error` event of a socket. Some clients know an error only by its `status`."""
    body = error_body(error)
    seconds = retry_after(error)
    body["headers"] = {} if seconds is None else {"retry-after": seconds}
    event: dict[str, object] = {"type": "error", "status": wire(error).status}
    if stream_id is not None:
        event["stream_id"] = stream_id
    event["error"] = body
    return event
