"""What an answer or a refusal says of quota: observations of the right pools, and cooldowns where no pool fits. Pure.

A refusal is told by its body (BackendError.refused), else by the header that says nothing is left. Its pool is closed
until the stated time. Where a long window is said to be spent and nobody said how much was used, although by our own
count there is a lot left, the pool stays open and is tried again once in a while. Cooldowns hold for a model or for the
account; those that nobody stated the end of are guesses.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from backends import durations
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    DeadlineExceeded,
    ModelNotFound,
    NotReady,
    Overloaded,
    Owner,
    QuotaExhausted,
    RateLimited,
    Scope,
)
from backends.limits import Refused
from proxy.metered import Metered
from proxy.selection import scopes
from quota.headers import LENGTHS, HeaderRule, Reading, read
from quota.ledger import Cooldown, Headroom, Observation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Micros, Period, Window
from quota.windows import ENDLESS

Labels = Mapping[str, Mapping[str, str]]
NOTHING: Labels = {}
FIRST: Micros = 30 * SECOND  # of a guess, doubled with each refusal in a row
FIRST_BUSY: Micros = 5 * SECOND  # where it only is overloaded
LONGEST_GUESS: Micros = 10 * MINUTE
BREAKS_AT = 5  # failures in a row of whatever kind
PROBE: Mapping[Period, Micros] = {  # how soon an axis is tried again when nobody said when it is there again
    "second": SECOND,
    "minute": MINUTE,
    "hour": 10 * MINUTE,
    "day": HOUR,
    "week": 6 * HOUR,
    "month": 6 * HOUR,
}
SURE = 0.8  # of the cap: who has used so much by our count is believed to have used all of it


class Told(Struct, frozen=True):
    """`learned` are caps of pools that exist without a number, by id: Accounts.unknown has them."""

    observations: tuple[Observation, ...] = ()
    cooldowns: tuple[Cooldown, ...] = ()
    learned: Mapping[str, int] = {}


class Known(Struct, frozen=True):
    """What is known of one model of one account. `headroom` holds at least the pools that it draws on.

    `rules` say what the provider's headers mean; `unknown` are Accounts.unknown.
    """

    metered: Metered
    headroom: Mapping[str, Headroom]
    rules: Sequence[HeaderRule] = ()
    unknown: Labels = NOTHING


def answered(known: Known, limits: Mapping[str, str], now: Micros) -> Told:
    """What the headers of an answer say. `now` is the ledger's time at which they came."""
    readings = _readings(known, limits, now)
    found = (_of_reading(each, known, now) for each in readings)
    learned = {pool: each.limit for each in readings if each.limit for pool in _unknown(known, each.metric, each.per)}
    return Told(tuple(each for each in found if each is not None), learned=learned)


def failed(known: Known, error: BackendError, now: Micros, before: int = 0) -> Told:
    """What a failed attempt says, its headers included. `before`: how often in a row its `scope_of` had failed then."""
    told = answered(known, error.limits, now)
    scope = scope_of(known.metered, error)
    axis = error.refused or Refused()
    learned = dict.fromkeys(_unknown(known, axis.metric, axis.per), axis.limit) if axis.limit else {}
    head = _pool(known, axis.metric, axis.per, axis.limit, account=axis.account)
    if isinstance(error, ContextLengthExceeded):  # more than the cap at once: that is all it says
        learnt = None if head is None else Observation(head.pool.id, now, "refusal", limit=axis.limit)
        return _with(told, learnt, learned=learned)
    if error.refused is None and isinstance(error, RateLimited):
        head = next((known.headroom[each.pool] for each in told.observations if each.remaining == 0), None)
    if head is None or axis.limit == 0:
        return _with(told, None, _cooldown(error, scope, now, before, None if axis.limit == 0 else axis.per), learned)
    heard = next((each for each in told.observations if each.pool == head.pool.id), None)
    observation, cooldown = _closed(known.metered, head, axis, error, now, heard=heard)
    return _with(told, observation, cooldown, learned)


def scope_of(metered: Metered, error: BackendError) -> str | None:
    """The scope of cooldowns in which an error counts as a failure; None where it says nothing of who was asked."""
    if error.owner is Owner.CLIENT or error.other_keys or not error.asked:
        return None
    if isinstance(error, DeadlineExceeded) and error.name not in {"connect", "first_event", "idle"}:
        return None  # ours
    if error.owner is Owner.US and not isinstance(error, ModelNotFound | AuthenticationFailed):
        return None
    model, account, _ = scopes(metered)
    forbidden = isinstance(error, AuthenticationFailed) and error.status == 403  # another model may be allowed
    return model if error.scope is Scope.MODEL or forbidden else account


def date(limits: Mapping[str, str]) -> Micros | None:
    """The provider's own time, where its answer says it: to the second, and rounded down."""
    seconds = durations.moment(limits.get("date", ""))
    return None if seconds is None or seconds < 0 else round(seconds * SECOND)


# What headers say.


def _readings(known: Known, limits: Mapping[str, str], now: Micros) -> list[Reading]:
    return read(known.rules, limits, now, durations.wait, date=date(limits)) if known.rules and limits else []


def _of_reading(reading: Reading, known: Known, now: Micros) -> Observation | None:
    """Of the one pool that is meant, if it is certain which."""
    head = _pool(known, reading.metric, reading.per, reading.limit)
    if head is None:
        return None
    return Observation(head.pool.id, now, "header", reading.limit, reading.remaining, reading.resets_at)


# Which pool is meant.


def _pool(
    known: Known, metric: str | None, per: str | None, limit: int | None, *, account: bool | None = None
) -> Headroom | None:
    """The one that counts this; None unless there is exactly one. Without `per`, the one whose cap is the limit.

    With `account` given, that one is preferred which is for the whole account, or which is not.
    """
    if metric is None and per is None:
        return None
    found = [
        head
        for draw in known.metered.draws
        if (head := known.headroom.get(draw.pool)) is not None
        and metric in {None, draw.metric}
        and (head.pool.labels.get("per") == per if per is not None else head.pool.cap == limit)
    ]
    if len(found) > 1 and account is not None:
        found = [head for head in found if bool(head.pool.labels.get("model")) is not account]
    return found[0] if len(found) == 1 else None


def _unknown(known: Known, metric: str | None, per: str | None) -> list[str]:
    """The pools of this model that nobody knew a number for, and that count this."""
    asked = {"account": known.metered.account, "metric": metric, "per": per}
    return [
        pool
        for pool, labels in known.unknown.items()
        if labels.get("model") in {"", known.metered.model} and all(labels.get(key) == asked[key] for key in asked)
    ]


# What a refusal does.


def _closed(
    metered: Metered, head: Headroom, axis: Refused, error: BackendError, now: Micros, *, heard: Observation | None
) -> tuple[Observation, Cooldown | None]:
    """The pool is closed until the stated time; or, where that cannot be believed, its model or account rests.

    `heard` is what the headers say of it.
    """
    pool, length = head.pool, _length(head.pool.window)
    limit, remaining = (axis.limit, None) if heard is None else (axis.limit or heard.limit, heard.remaining)
    if limit is not None and axis.used is not None:
        remaining = max(0, limit - axis.used)
    wait = None if error.retry_after is None else min(round(error.retry_after * SECOND), length)
    sure = axis.used is not None or remaining == 0 or head.used >= SURE * min(head.cap, limit or head.cap)
    if length >= DAY and not (sure and (wait is not None or isinstance(pool.window, Fixed))):
        model, account, _ = scopes(metered)
        scope = model if pool.labels.get("model") else account
        soon = PROBE["day"] if length <= LENGTHS["day"] else PROBE["month"]
        rest = Cooldown(scope, now + soon, _why(error), guessed=True)
        return Observation(pool.id, now, "refusal", limit, remaining), rest
    resets_at = now + wait if wait is not None else head.resets_at if isinstance(pool.window, Fixed) else None
    return Observation(pool.id, now, "refusal", limit, remaining, resets_at, refused=True), None


def _length(window: Window) -> Micros:
    match window:
        case Fixed(period=period):
            return LENGTHS.get(period, LENGTHS["month"])
        case Concurrent():
            return MINUTE
    return window.length


def _cooldown(
    error: BackendError, scope: str | None, now: Micros, before: int, per: Period | None = None
) -> Cooldown | None:
    """How long a scope is not asked where no pool tells it."""
    if scope is None:
        return None
    wait = None if error.retry_after is None else round(error.retry_after * SECOND)
    match error:
        case AuthenticationFailed() | ModelNotFound():
            return Cooldown(scope, ENDLESS, _why(error))
        case QuotaExhausted() if wait is not None:
            return Cooldown(scope, now + min(wait, LENGTHS["month"]), _why(error))
        case QuotaExhausted() if per is None:  # somebody has to pay
            return Cooldown(scope, ENDLESS, _why(error))
        case RateLimited() | Overloaded() | NotReady() if wait is not None:
            return Cooldown(scope, now + min(wait, DAY), _why(error))
        case QuotaExhausted() | RateLimited():
            guess = max(PROBE[per] if per is not None else 0, _doubled(FIRST, before))
        case Overloaded() | NotReady():
            guess = _doubled(FIRST_BUSY, before)
        case _ if before + 1 >= BREAKS_AT:
            guess = _doubled(FIRST, before + 1 - BREAKS_AT)
        case _:
            return None
    return Cooldown(scope, now + guess, _why(error), guessed=True)


def _doubled(first: Micros, times: int) -> Micros:
    return min(LONGEST_GUESS, first << min(times, 10))


KEY_REFUSED = "it refused the key"
WHY: tuple[tuple[type[BackendError], str], ...] = (
    (AuthenticationFailed, KEY_REFUSED),
    (ModelNotFound, "it does not serve this model"),
    (QuotaExhausted, "it says that its quota is spent"),
    (RateLimited, "it says that its rate limit was reached"),
    (Overloaded, "it is overloaded"),
    (NotReady, "it is not ready"),
    (BackendError, "it failed several times in a row"),
)


def _why(error: BackendError) -> str:
    """What happened, as a clause."""
    if isinstance(error, AuthenticationFailed) and error.status == 403:
        return "the key has no right to this"
    if isinstance(error, QuotaExhausted) and error.refused is not None and error.refused.limit == 0:
        return "this model is not on its free tier"
    if isinstance(error, QuotaExhausted) and error.retry_after is None and error.refused is None:
        return "its account has no credit or quota left"
    return next(words for kind, words in WHY if isinstance(error, kind))


def _with(
    told: Told,
    observation: Observation | None = None,
    cooldown: Cooldown | None = None,
    learned: Mapping[str, int] | None = None,
) -> Told:
    """`told`, and this. A refusal's word on a pool stands in place of the headers'."""
    kept = told.observations
    if observation is not None:
        kept = (*(each for each in kept if each.pool != observation.pool), observation)
    return Told(kept, () if cooldown is None else (cooldown,), {**told.learned, **(learned or {})})
