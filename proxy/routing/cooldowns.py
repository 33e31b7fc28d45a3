"""Who is not asked for a while because it said so itself: until when, by whose word, and for how much of it. Pure.

A refusal is no fault: who says "too many requests" is well. Its time ends by itself, and what was only guessed ends
with the next answer too. What ends only when somebody mends it (a key, a bill) is asked again once in a while, since
nobody tells us when that is done. Candidates that spend a quota have theirs in the ledger (proxy/observed.py).
"""

import copy
from collections import OrderedDict
from typing import TypeAlias

from msgspec import Struct

from backends import keys
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    NotReady,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
)
from proxy.routing.values import Target

Place: TypeAlias = tuple[Scope, str, str]
"""What rests: the scope, the backend, and the model where the scope is MODEL, else ""."""

REFUSALS = 3  # in a row, without a time said, until one is guessed
FIRST = 2.0  # seconds of a guess, doubled with each further refusal
LONGEST_BUSY, LONGEST_GUESS = 5.0, 60.0  # seconds; who is only full, or starts, may be well again in a moment
UNPAID = 60.0  # seconds until an account without credit is asked again
LONGEST = 3600.0  # seconds that a provider's own word is believed: somebody may have paid, or raised a limit, since
MOST = 1000  # places; the oldest go


class Cooldown(Struct, frozen=True):
    """`error` is what whoever asks is told, and `why` whose word it is, as "its Retry-After". With `guessed` the next
    answer ends it.
    """

    place: Place
    until: float
    error: BackendError
    why: str
    guessed: bool = False

    def told(self, now: float) -> BackendError:
        """The error for one who may not ask now: nobody was asked. It has the time that is left, but where that is only
        when we look whether somebody has mended it: a program that waits would wait in vain.
        """
        error = copied(self.error)
        if not (self.guessed and isinstance(error, QuotaExhausted | AuthenticationFailed)):
            error.retry_after = self.left(now)
        error.asked = False
        return error

    def left(self, now: float) -> float:
        """Seconds until it is asked again."""
        return round(max(0.0, self.until - now), 3)


class Cooldowns:
    """Those of all targets. `now` is in seconds, from any clock that does not go back."""

    def __init__(self) -> None:
        self._found: OrderedDict[Place, Cooldown] = OrderedDict()
        self._refusals: OrderedDict[Place, int] = OrderedDict()  # in a row

    def refused(self, target: Target, error: BackendError, now: float) -> None:
        """An attempt at `target` ended with `error`, of whatever kind."""
        place = place_of(target, error)
        if place is None:
            return
        before = self._found.get(place)
        if before is not None and before.until > now and error.retry_after is None:
            return  # it was asked before we knew: of many at once only one counts
        count = self._refusals[place] = self._refusals.get(place, 0) + 1
        self._refusals.move_to_end(place)
        if len(self._refusals) > MOST:
            self._refusals.popitem(last=False)
        if (length := rest(error, count)) is None:
            return
        seconds, why, guessed = length
        if before is not None and before.until >= now + seconds:
            return
        self._found[place] = Cooldown(place, now + seconds, copied(error), why, guessed)
        self._found.move_to_end(place)
        if len(self._found) > MOST:
            self._found.popitem(last=False)

    def answered(self, target: Target) -> None:
        """It has answered: what was guessed of it is over."""
        if self._refusals:
            for place in places(target):
                self._refusals.pop(place, None)
                found = self._found.get(place)
                if found is not None and found.guessed:
                    del self._found[place]

    def ready(self, backend: str) -> None:
        """The backend says that it is well, and takes our key: what was guessed of the whole of it is over."""
        for scope in (Scope.BACKEND, Scope.KEY):
            self._refusals.pop((scope, backend, ""), None)
            found = self._found.get((scope, backend, ""))
            if found is not None and found.guessed:
                del self._found[scope, backend, ""]

    def key_refused(self, backend: str) -> bool:
        """Whether the backend rests because it refused our key."""
        found = self._found.get((Scope.KEY, backend, ""))
        return found is not None and isinstance(found.error, AuthenticationFailed)

    def of(self, target: Target, now: float, *, own_key: bool = False) -> Cooldown | None:
        """The one that lasts longest. With `own_key` the caller sends a key of its own: what ours may not, it may."""
        if not self._found:
            return None
        last: Cooldown | None = None
        for place in places(target):
            found = self._found.get(place)
            if found is None or (own_key and place[0] is not Scope.BACKEND):
                continue
            if found.until <= now:
                del self._found[place]
            elif last is None or found.until > last.until:
                last = found
        return last

    def all(self, now: float) -> list[Cooldown]:
        """Every one that holds."""
        return [each for each in self._found.values() if each.until > now]


def place_of(target: Target, error: BackendError) -> Place | None:
    """What rests after such an error; None where it is no refusal."""
    backend, model = target
    if error.other_keys or not error.asked:
        return None
    match error:
        case RateLimited() | QuotaExhausted() | Overloaded() | NotReady():
            return (error.scope, backend, model if error.scope is Scope.MODEL else "")
        case AuthenticationFailed(status=403):  # another model may be allowed
            return (Scope.MODEL, backend, model)
        case AuthenticationFailed():
            return (Scope.KEY, backend, "")
    return None


def rest(error: BackendError, count: int) -> tuple[float, str, bool] | None:
    """For how many seconds, by whose word, and whether that is a guess; None for not yet. `count` is how often in a
    row.
    """
    if isinstance(error, AuthenticationFailed):
        return keys.PAUSES[min(count, len(keys.PAUSES)) - 1], "it refused the key", True
    if error.retry_after is not None:
        return min(LONGEST, error.retry_after), "its own word", False
    if isinstance(error, QuotaExhausted):
        return UNPAID, "it has no credit or quota left", True
    if count < REFUSALS:
        return None
    most = LONGEST_BUSY if isinstance(error, Overloaded | NotReady) else LONGEST_GUESS
    return min(most, FIRST * 2 ** min(count - REFUSALS, 10)), f"guessed after {count} refusals in a row", True


def places(target: Target) -> tuple[Place, ...]:
    """All that hold for a target."""
    backend, model = target
    return (
        (Scope.MODEL, backend, model),
        (Scope.KEY, backend, ""),
        (Scope.ACCOUNT, backend, ""),
        (Scope.BACKEND, backend, ""),
    )


def copied(error: BackendError) -> BackendError:
    """The same without what was running when it was raised, which would be held with it."""
    found = copy.copy(error)
    found.__traceback__ = found.__context__ = found.__cause__ = None
    return found
