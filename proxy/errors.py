"""Why a request is refused: one closed tree. How each looks to a client: proxy/wire_errors.py.

    ProxyError
    ├── BadFrame             not a text frame, not JSON, too deep, not an object, unknown type
    ├── BadBody              a body over HTTP that is no JSON object, or is cut short
    ├── BodyTooLarge         a body above the limit, as sent or inflated
    ├── UnsupportedMediaType a body of another type or encoding than we read
    ├── BadParameter         a field is missing, unknown, of the wrong type or out of range
    ├── BadStreamId          a stream_id that is not one
    ├── Unsupported          a feature that we do not speak (yet)
    ├── UnknownModel         no alias, backend or model of that name
    ├── AmbiguousModel       more than one backend serves that id
    ├── UnknownRouter        a router-NAME-THRESHOLD that is none
    ├── UnknownPrevious      previous_response_id names nothing that we hold
    ├── PreviousNotEnded     previous_response_id names a response that runs, or failed
    ├── ConversationTooLong  the turns before a response are too many, or too large
    ├── UnknownResponse      a response_id that is not one of the caller's
    ├── EventsGone           a response that is held without its events
    ├── ResponseCancelled    a response was cancelled before it was whole
    ├── TooManyLanes         more named lanes than a connection may have
    ├── TooManyQueued        more creates wait than a connection may queue
    ├── TooManyRunning       more responses run than a key may have
    ├── BadSessionKey        an sl_session that is not one
    ├── TooManySessions      more sessions than a key, or the gateway, may have
    ├── ResumeGap            what a returning client misses is not held any more
    ├── SessionAway          a create whose client stayed away before it could begin
    ├── AlreadyAnswered      a create that came again after its events were let go of
    ├── Unauthorized         no key, or a wrong one
    ├── InvalidTicket        a ticket that was used, is too old, or never was one
    ├── ForbiddenOrigin      a web page of another origin
    ├── ForbiddenHost        a Host header that is not ours
    ├── FreeQuotaExhausted   no quota is left that may answer
    ├── NoModelFits          each model that could answer is ruled out by what the request allows
    ├── NothingToRate        feedback on a response that is none of the caller's routed ones
    ├── TooMuchFeedback      more answers rated in a day than a key may
    ├── StoreFailed          the disk did not take a delete, or a rating
    └── Draining             we are shutting down

Before `response.created` an error is an `error` event with its HTTP status; afterwards it is `response.failed`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from backends.durations import duration
from backends.errors import BackendError, Owner, Scope

SHOWN = 4  # reasons that a message tells
NEVER = "None of it comes back by itself: ask for another model."


class ProxyError(Exception):
    """The root. Carries the sentence for the client, and the field that was wrong where there is one."""

    owner: ClassVar[Owner] = Owner.CLIENT

    def __init__(self, message: str, param: str | None = None) -> None:
        self.param = param
        super().__init__(message)


class BadFrame(ProxyError):
    """A frame that is no event: not text, not JSON, too deep, no object, or of an unknown type."""


class BadBody(ProxyError):
    """A body over HTTP that is no JSON object, too deep, cut short, or not compressed as it says."""


class BodyTooLarge(ProxyError):
    """A body above `limits.max_frame_bytes`, as it was sent or inflated."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes. The operator can raise [limits] max_frame_bytes.")


class UnsupportedMediaType(ProxyError):
    """A body of a type or an encoding that is not read here."""


class BadParameter(ProxyError):
    """A field is missing, unknown, of the wrong type or out of range."""


class BadStreamId(ProxyError):
    """A `stream_id` that is not 1 to 256 characters of `A-Za-z0-9_.-`"""

    def __init__(self) -> None:
        super().__init__("'stream_id' must be 1 to 256 characters of A-Z, a-z, 0-9, '_', '.', '-'.", "stream_id")


class Unsupported(ProxyError):
    """A feature that this gateway does not speak (yet)."""

    def __init__(self, feature: str, param: str, instead: str | None = None) -> None:
        instead = instead or f"Leave '{param}' out."
        super().__init__(f"{feature} is not supported by this gateway. {instead}", param)


class UnknownModel(ProxyError):
    """No alias, backend or model of that name."""

    def __init__(self, model: str, nearest: list[str], hint: str = "") -> None:
        hint = f" Did you mean '{nearest[0]}'?" if nearest else hint and f" {hint}"
        super().__init__(
            f"The model '{model[:200]}' does not exist.{hint} GET /v1/models lists what there is.", "model"
        )


class AmbiguousModel(ProxyError):
    """More than one backend serves that id: name it as BACKEND/ID."""

    def __init__(self, model: str, choices: list[str]) -> None:
        super().__init__(
            f"The model '{model}' is served by several backends. Choose one: {', '.join(choices)}.", "model"
        )


class UnknownRouter(ProxyError):
    """A model `router-NAME-THRESHOLD` whose name no router has, or whose threshold is no number from 0 to 1."""

    def __init__(self, model: str, why: str, names: Sequence[str]) -> None:
        super().__init__(
            f"The model '{model[:200]}' names no router: {why}. There are: {', '.join(names)}. The operator can give a "
            "router of his own a name in [router.names].",
            "model",
        )


class UnknownPrevious(ProxyError):
    """`previous_response_id` names nothing that is held. Clients repair themselves on this exact code."""

    def __init__(self) -> None:
        super().__init__(
            "The previous response was not found: it was not stored, is no longer kept, or belongs to another key. "
            "Send the whole conversation as input.",
            "previous_response_id",
        )


class PreviousNotEnded(ProxyError):
    """`previous_response_id` names a response that still runs, or failed: there is nothing whole to continue."""

    def __init__(self, status: str) -> None:
        hint = "Continue from the one before it." if status == "failed" else "Wait for its end, or cancel it."
        super().__init__(f"The previous response cannot be continued: it is {status}. {hint}", "previous_response_id")


class ConversationTooLong(ProxyError):
    """The turns before a response are more, or larger, than this gateway puts together."""

    def __init__(self, limit: str, key: str) -> None:
        super().__init__(
            f"The conversation before this response is longer than {limit}. Send a shorter one as input, without "
            f"previous_response_id. The operator can raise [responses] {key}.",
            "previous_response_id",
        )


class UnknownResponse(ProxyError):
    """A `response_id` that is not one of the caller's."""

    def __init__(self) -> None:
        super().__init__("No such response. It may have ended long ago, or belong to another key.", "response_id")


class ResponseCancelled(ProxyError):
    """A response that someone waited for was cancelled."""

    owner = Owner.US

    def __init__(self) -> None:
        super().__init__("The response was cancelled: by a request of its owner, or the gateway is shutting down.")


class EventsGone(ProxyError):
    """A response whose events are not held any more: they cannot be streamed again."""

    def __init__(self) -> None:
        super().__init__(
            "The events of this response are not held any more. GET it without 'stream' for its whole text.", "stream"
        )


class TooManyLanes(ProxyError):
    """More named lanes than a connection may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This connection already has {limit} named lanes. Use one of them, or open another connection.",
            "stream_id",
        )


class TooManyQueued(ProxyError):
    """More creates wait than a connection may queue."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} creates already wait on this connection. Wait for one to begin, then send again.")


class TooManyRunning(ProxyError):
    """More responses run at once than one API key may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} responses already run for this API key. Wait for one to end, or cancel one. "
            "The operator can raise [limits] running_per_key."
        )


class BadSessionKey(ProxyError):
    """An `sl_session` that is not 16 to 128 characters of `A-Za-z0-9_-`"""

    def __init__(self) -> None:
        super().__init__(
            "'sl_session' must be 16 to 128 characters of A-Z, a-z, 0-9, '_', '-': make up a random one.", "sl_session"
        )


class TooManySessions(ProxyError):
    """More sessions than one API key, or the whole gateway, may have at once."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are already {limit} sessions, all with a connection. Close one, or use one again.")


class ResumeGap(ProxyError):
    """What was sent after `sl_after` is not held any more: something is missing. The session goes on with the rest."""

    def __init__(self) -> None:
        super().__init__(
            "Events after 'sl_after' are not held any more. What is still held follows; "
            "GET /v1/responses/{id} has what became of a response.",
            "sl_after",
        )


class SessionAway(ProxyError):
    """A create that still waited when its client had been away for `session.detach_ttl`."""

    def __init__(self) -> None:
        super().__init__("The connection was gone for too long, so this was not begun. Send it again.")


class AlreadyAnswered(ProxyError):
    """A create that came again, with its `event_id`, after its response was sent and its events were let go of."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"This was answered before, and its events are not held any more. GET /v1/responses/{response_id} may "
            "still have the answer; with another event_id it is asked again.",
            "event_id",
        )


class Unauthorized(ProxyError):
    """No key, or a wrong one."""

    def __init__(self, given: bool) -> None:
        what = "The API key is not valid." if given else "An API key is needed."
        super().__init__(f"{what} Send it as 'Authorization: Bearer sk-sl-...'.")


class InvalidTicket(ProxyError):
    """A ticket that was used, is too old, or never was one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"The ticket is not valid. Each opens one socket, within {seconds} seconds: "
            "ask for a new one with POST /v1/ws-tickets."
        )


class ForbiddenOrigin(ProxyError):
    """A web page of another origin."""

    def __init__(self) -> None:
        super().__init__(
            "Web pages of this origin may not use the gateway. The operator can add it to [server] allowed_origins."
        )


class ForbiddenHost(ProxyError):
    """A `Host` header that is not the gateway's: DNS rebinding looks like this."""

    def __init__(self) -> None:
        super().__init__(
            "The gateway is not known by this host name. "
            "Use 127.0.0.1, or the operator can add the name to [server] allowed_hosts."
        )


class FreeQuotaExhausted(ProxyError):
    """No quota is left that may answer. `pools` are those in the way, each as proxy/quota_report.py shows it.

    `retry_after` is in seconds, None where none of them opens by itself.
    """

    owner = Owner.PROVIDER

    def __init__(self, pools: Sequence[Mapping[str, object]], retry_after: float | None, why: Sequence[str]) -> None:
        self.pools, self.retry_after = pools, retry_after
        again = None if retry_after is None else f"Try again in {duration(retry_after)}, or ask for another model."
        reasons = f" ({'; '.join(why[:SHOWN])}{'; …' if len(why) > SHOWN else ''})" if why else ""
        super().__init__(f"No free account can answer this request now{reasons}. {again or NEVER}")


class NoModelFits(ProxyError):
    """Every model that could answer is ruled out by what the request, or a rule of the operator's, allows."""

    def __init__(self, reasons: Sequence[str]) -> None:
        told = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        super().__init__(
            f"No model may answer this request: {told}. Allow more in 'sl_route', or ask another.", "model"
        )


class NothingToRate(ProxyError):
    """Feedback on a `response_id` that is not one of the caller's, or whose model no router chose."""

    def __init__(self) -> None:
        super().__init__(
            "There is no such answer to rate. Only an answer that has ended, whose model the gateway chose, and that "
            "was asked for with this key can be rated, as long as the gateway keeps it.",
            "response_id",
        )


class TooMuchFeedback(ProxyError):
    """More answers were rated in a day than one API key may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} answers were rated with this API key in the last 24 hours, which is as many as count. Go on "
            "tomorrow. The operator can raise [history] feedback_per_day."
        )


class StoreFailed(ProxyError):
    """A delete, or a rating, did not reach the disk: what was to be deleted may still be on it."""

    owner = Owner.US

    def __init__(self) -> None:
        super().__init__(
            "The gateway's disk did not take it: what was to be deleted may still be there. Try again. If that fails "
            "too, the operator finds the reason in the gateway's log."
        )


class TooLargeForQuota(BackendError):
    """A request may take more of a pool than that ever has. `needed`, `pool` and `cap` are as people write them."""

    owner = Owner.CLIENT
    retryable = True
    scope = Scope.MODEL
    asked = False

    def __init__(self, needed: str, pool: str, cap: str) -> None:
        self.needed, self.pool, self.cap = needed, pool, cap
        super().__init__(needed, pool, cap)

    def __str__(self) -> str:
        return (
            f"{self.who} has {self.cap} {self.pool} for this gateway, and with its longest answer the request may take "
            f"{self.needed}. Lower max_output_tokens, shorten the input, or choose another model."
        )


class LedgerFailed(BackendError):
    """The ledger cannot be read or written, so that nothing may be spent. `what` is for the operator."""

    owner = Owner.US
    retryable = True
    scope = Scope.BACKEND
    asked = False

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)

    @property
    def reason(self) -> str:
        return self.what

    def __str__(self) -> str:
        return (
            f"{self.who} was not asked: the gateway's quota ledger cannot be written now. Choose another model; the "
            "operator finds the reason in its log."
        )


class Draining(ProxyError):
    """The gateway is shutting down."""

    owner = Owner.US

    def __init__(self) -> None:
        super().__init__("The gateway is shutting down. Connect again in a moment.")
