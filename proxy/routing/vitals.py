"""How each target is: what it was asked, how that ended, how fast it was; whether it is asked now, and why not. Pure.

What feeds the breakers, and which one, is one table: `blamed`. An answer that has begun is good for both, the model's
and the backend's. Times are in seconds, from any clock that does not go back.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

from msgspec import Struct

from backends.base import Keyed
from backends.errors import (
    BackendError,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    Owner,
    QuotaExhausted,
    RateLimited,
    Scope,
    Unreachable,
)
from backends.unasked import CircuitOpen
from proxy.routing.averages import Average
from proxy.routing.breaker import Breaker, Rules, State
from proxy.routing.cooldowns import Cooldown, Cooldowns
from proxy.routing.values import Target
from proxy.runtime import Candidate

Blame: TypeAlias = Literal["model", "backend"]
"""Whose breaker a fault feeds."""

PATIENCE = 1.0  # seconds that a probe has at least
PROBE_OUT = 1.0  # seconds until somebody else may ask, while a probe is out: nobody knows how long it takes
MOST = 1000  # targets that are remembered, a kilobyte or so each; those that were not asked for longest go
THEIRS = frozenset({"connect", "first_event", "idle"})  # deadlines that a backend can miss; the others are ours


class Standing(Struct, frozen=True):
    """How a target is now.

    `why` is what keeps it from being asked, "" for nothing: its breaker is open, it cools, or the last probe of its
    backend failed; `reason` says that in plain words, as a part of a sentence. `opens_in` is in seconds, None where it
    is not known; `error` is what to tell who wants nobody else. `first_token` and `per_token` are seconds, None while
    unknown. `weight` is its part of the requests that it would get, 0 to 1. `errors` is the part of the last minute's
    attempts that were faults.
    """

    state: State = "closed"
    why: Literal["", "open", "cooling", "down"] = ""
    reason: str = ""
    opens_in: float | None = None
    error: BackendError | None = None
    first_token: float | None = None
    per_token: float | None = None
    running: int = 0
    weight: float = 1.0
    errors: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds in which a probe shows that it is well, by its own measure."""
        return max(PATIENCE, 2 * (self.first_token or 0.0))


UNKNOWN = Standing()


class Whole:
    """One backend, with all its models. `down` is why its last probe failed, "" when it did not."""

    __slots__ = ("breaker", "down", "running")

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self.down = ""
        self.running = 0


class One:
    """One model of one backend."""

    __slots__ = ("breaker", "first_token", "per_token", "running", "target", "whole")

    def __init__(self, target: Target, breaker: Breaker, whole: Whole) -> None:
        self.target, self.breaker, self.whole = target, breaker, whole
        self.first_token, self.per_token = Average(), Average()
        self.running = 0


class Visit:
    """One attempt at a target. It ends once: by `done`, `failed` or `left`, of which only the first counts.

    `probe` tells that what becomes of it decides whether others may ask: it deserves no long patience.
    """

    __slots__ = ("_began", "_cooldowns", "_first", "_mine", "_one", "_open", "_tickets", "probe")

    def __init__(self, one: One, cooldowns: Cooldowns | None, now: float, *, own_key: bool) -> None:
        self._one, self._cooldowns, self._mine, self._began = one, cooldowns, own_key, now
        self.probe = one.breaker.state(now) != "closed" or one.whole.breaker.state(now) != "closed"
        self._tickets = one.breaker.begin(now), one.whole.breaker.begin(now)
        self._first: float | None = None
        self._open = True
        one.running += 1
        one.whole.running += 1

    def first(self, now: float) -> None:
        """Its first content is there."""
        if not self._open or self._first is not None:
            return
        self._first = now
        seconds = max(0.0, now - self._began)
        self._one.first_token.learn(seconds, now)
        self._answered(now, seconds)

    def seconds(self, now: float) -> float:
        """How long it takes by now."""
        return max(0.0, now - self._began)

    def done(self, now: float, output_tokens: int | None = None) -> None:
        """It has answered to the end; None where nobody counted."""
        if not self._end():
            return
        if self._first is None:  # vectors come at once, and their time tells nothing of a first token
            self._answered(now, None)
        elif output_tokens is not None and output_tokens > 1 and now > self._first:
            self._one.per_token.learn((now - self._first) / (output_tokens - 1), now)

    def failed(self, error: BackendError, now: float) -> None:
        """It ended with an error, before its first content or after it."""
        if not self._end():
            return
        one, (mine, all_of_it) = self._one, self._tickets
        blame = blamed(error)
        if self._cooldowns is not None and not (self._mine and error.scope is not Scope.BACKEND):
            self._cooldowns.refused(one.target, error, now)
        if self._first is None:
            if blame == "model":
                one.breaker.failed(mine, now)
            else:  # a deadline that is not theirs may have been over before they said a word
                ours = blame is None and isinstance(error, DeadlineExceeded)
                one.breaker.left(mine, now, now - self._began if ours else None)
            fail = one.whole.breaker.failed if blame == "backend" else one.whole.breaker.left
            fail(all_of_it, now)
        elif blame is not None:
            (one.breaker if blame == "model" else one.whole.breaker).broke(now)

    def left(self, now: float) -> None:
        """It was cancelled. Whether that says something of the target depends on how long it was waited for."""
        if self._end() and self._first is None:
            mine, all_of_it = self._tickets
            self._one.breaker.left(mine, now, now - self._began)
            self._one.whole.breaker.left(all_of_it, now)

    def _end(self) -> bool:
        """Whether this is its end."""
        if not self._open:
            return False
        self._open = False
        self._one.running -= 1
        self._one.whole.running -= 1
        return True

    def _answered(self, now: float, seconds: float | None) -> None:
        one, (mine, all_of_it) = self._one, self._tickets
        one.breaker.answered(mine, now, seconds)
        one.whole.breaker.answered(all_of_it, now)
        one.whole.down = ""
        if self._cooldowns is not None and not self._mine:
            self._cooldowns.answered(one.target)


class Vitals:
    """All targets. `dice` gives numbers from 0 to 1, for the jitter of breakers."""

    def __init__(self, rules: Rules, dice: Callable[[], float]) -> None:
        self._rules, self._dice = rules, dice
        self._new = self._breaker()  # only looked at: how a target begins
        self._targets: OrderedDict[Target, One] = OrderedDict()
        self._backends: dict[str, Whole] = {}
        self._cooldowns = Cooldowns()

    def begin(self, candidate: Candidate, now: float, *, own_key: bool = False) -> Visit:
        """An attempt begins: call it when there is a place, right before the backend is asked.

        Raises CircuitOpen, or the error by which it cools. `own_key`: the caller sends a key of its own. A candidate
        that is metered has its cooldowns in the ledger.
        """
        self._look_at_keys(candidate)
        one = self._one(candidate)
        metered = candidate.metered is not None
        if (refusal := self._refusal(one, now, metered=metered, own_key=own_key)) is not None:
            refusal.backend = candidate.backend.name
            raise refusal
        self._targets.move_to_end(one.target)
        return Visit(one, None if metered else self._cooldowns, now, own_key=own_key)

    def standing(self, candidate: Candidate, now: float, *, own_key: bool = False) -> Standing:
        """How it is now. What was never asked is well."""
        self._look_at_keys(candidate)
        target = (candidate.backend.name, candidate.model)
        one = self._targets.get(target)
        if one is None:
            whole = self._backends.get(target[0])
            if whole is None and not self._cooldowns.of(target, now, own_key=own_key):
                return UNKNOWN
            one = One(target, self._new, whole or Whole(self._new))  # something is known of its backend
        return self._standing(one, now, metered=candidate.metered is not None, own_key=own_key)

    def standings(self, now: float) -> Iterator[tuple[Target, Standing]]:
        """Every target that was asked, for people and metrics."""
        for target, one in self._targets.items():
            yield target, self._standing(one, now, metered=False, own_key=False)

    def cooldowns(self, now: float) -> list[Cooldown]:
        """Every cooldown that holds, for people and metrics."""
        return self._cooldowns.all(now)

    def probed(self, backend: str, up: bool | None, now: float, why: str = "") -> None:
        """The backend was asked how it is: it is well, or not, and `why`, as a part of a sentence. None: it is not
        ready, which is no fault.
        """
        whole = self._whole(backend)
        if up:
            whole.down = ""
            whole.breaker.hint(now)
            self._cooldowns.ready(backend)
        else:
            whole.down = why or "it did not answer when it was asked how it is"
            if up is False:
                whole.breaker.fault(now)

    def _look_at_keys(self, candidate: Candidate) -> None:
        """Who rests because it refused our key is asked again once it has another one, as from a file."""
        backend = candidate.backend
        if self._cooldowns.key_refused(backend.name) and isinstance(backend, Keyed) and backend.key_counts.usable:
            self._cooldowns.ready(backend.name)

    def _one(self, candidate: Candidate) -> One:
        target = (candidate.backend.name, candidate.model)
        one = self._targets.get(target)
        if one is None:
            one = self._targets[target] = One(target, self._breaker(), self._whole(target[0]))
            if len(self._targets) > MOST:  # a model's name may be a client's: a backend that lists none is asked
                self._targets.popitem(last=False)
        return one

    def _whole(self, backend: str) -> Whole:
        found = self._backends.get(backend)
        if found is None:
            found = self._backends[backend] = Whole(self._breaker())
        return found

    def _breaker(self) -> Breaker:
        return Breaker(self._rules, self._dice)

    def _refusal(self, one: One, now: float, *, metered: bool, own_key: bool) -> BackendError | None:
        """Why it may not be asked."""
        for breaker, scope in ((one.whole.breaker, Scope.BACKEND), (one.breaker, Scope.MODEL)):
            if not breaker.allows(now):
                probing = breaker.state(now) == "half_open"
                return CircuitOpen(round(breaker.opens_in(now), 3) or PROBE_OUT, scope, probing=probing)
        cooldown = None if metered else self._cooldowns.of(one.target, now, own_key=own_key)
        return None if cooldown is None else cooldown.told(now)

    def _standing(self, one: One, now: float, *, metered: bool, own_key: bool) -> Standing:
        why: Literal["", "open", "cooling", "down"] = ""
        reason, opens_in = "", None
        error = self._refusal(one, now, metered=metered, own_key=own_key)
        if isinstance(error, CircuitOpen):
            why, opens_in = "open", error.retry_after
            reason = "one request tries now whether it is well again" if error.probing else "it failed again and again"
        elif error is not None:
            cooldown = self._cooldowns.of(one.target, now, own_key=own_key)
            assert cooldown is not None
            why, opens_in = "cooling", cooldown.left(now)
            reason = f"{WORDS.get(type(error), 'it refused our key')} ({cooldown.why})"
        elif one.whole.down:
            why, reason = "down", one.whole.down
        if error is not None:
            error.backend = one.target[0]
        mine, all_of_it = one.breaker.state(now), one.whole.breaker.state(now)
        return Standing(
            mine if all_of_it == "closed" or mine == "open" else all_of_it,
            why,
            reason,
            opens_in,
            error,
            one.first_token.value(now),
            one.per_token.value(now),
            one.running,
            min(one.breaker.weight(now), one.whole.breaker.weight(now)),
            one.breaker.errors(now),
        )


WORDS: dict[type[BackendError], str] = {
    RateLimited: "it has reached its rate limit",
    QuotaExhausted: "it has no quota left",
    Overloaded: "it is overloaded",
    NotReady: "it is not ready",
}
"""Why a target cools, as a part of a sentence."""


def blamed(error: BackendError) -> Blame | None:
    """Whose breaker an error feeds; None where it is nobody's fault, or not theirs.

    Only provider and network are at fault. Who cannot be reached fails with every model: the backend's breaker. All
    else is the model's, although its scope may be the backend: one broken model behind a server must not close the
    others, and where all are broken each one's breaker opens for itself. Who refuses because it is full, starts, or
    has given enough is well: that is a cooldown, where it lasts. A line of ours that is full (QueueFull) and a wait
    that was ours say nothing of the backend.
    """
    if error.owner not in {Owner.PROVIDER, Owner.NETWORK} or not error.asked:
        return None
    match error:
        case RateLimited() | QuotaExhausted() | Overloaded() | NotReady():
            return None
        case DeadlineExceeded():
            if error.name not in THEIRS:
                return None
            return "backend" if error.name == "connect" else "model"
        case Unreachable():
            return "backend"
    return "model"
