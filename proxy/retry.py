"""Which attempt follows one that failed, and after which wait. Pure: the time and the dice are arguments.

Candidates come in order, and each is tried once; one that is alone may be tried again after a wait. What is skipped is
decided by the error alone: its `scope` says what else would fail in the same way.
"""

import copy
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backends.errors import BackendError, DeadlineExceeded, ModelLoadFailed, ModelNotFound, Owner, QuotaExhausted, Scope
from backends.unasked import CircuitOpen, QueueFull

MOST_ATTEMPTS = 3  # of one call, in all
BASE, CAP = 0.5, 8.0  # seconds; the wait is drawn from 0 to BASE, twice that, … ("full jitter")
SHARE = 5  # a backend is asked again for at most one of so many requests
WINDOW = 60  # seconds, for which requests count


@dataclass(frozen=True, slots=True)
class Turn:
    """The next attempt: which candidate, after which wait in seconds. It must begin within `left` seconds, if any."""

    candidate: int
    wait: float = 0.0
    left: float | None = None


class Budget:
    """How often one backend may be asked again: once per SHARE requests of the last WINDOW seconds, rounded up."""

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, requests, repeats]
        self._requests = self._repeats = 0

    def request(self, now: float) -> None:
        """A call asks this backend, for the first time."""
        self._second(now)[1] += 1
        self._requests += 1

    def repeat(self, now: float) -> bool:
        """Whether a call may ask it again; if so, that counts."""
        second = self._second(now)
        if self._repeats >= -(-self._requests // SHARE):
            return False
        second[2] += 1
        self._repeats += 1
        return True

    def _second(self, now: float) -> list[int]:
        """The counts of this second, once those of long ago are forgotten."""
        while self._seconds and self._seconds[0][0] <= now - WINDOW:
            _, requests, repeats = self._seconds.popleft()
            self._requests -= requests
            self._repeats -= repeats
        if not self._seconds or self._seconds[-1][0] < int(now):
            self._seconds.append([int(now), 0, 0])
        return self._seconds[-1]


class Attempts:
    """Those of one call, at most `most`. `backends` are the names of its candidates' backends, `dice` gives 0 to 1.

    `alone`: there is one candidate, and there never was another; None where that is to be seen from `backends`.

    A failure by which nobody was asked (a quota that is spent) is no attempt.

    All attempts after the first begin within `seconds` of the first failure: how long a backend may take to fail is
    decided by other deadlines, and one that hung must not cost the others their turn.
    """

    def __init__(
        self,
        backends: Sequence[str],
        budgets: Mapping[str, Budget],
        seconds: float,
        dice: Callable[[], float],
        most: int = MOST_ATTEMPTS,
        *,
        alone: bool | None = None,
    ) -> None:
        self._alone = len(backends) == 1 if alone is None else alone
        self._backends, self._budgets, self._seconds, self._dice = backends, budgets, seconds, dice
        self._most = most
        self.made = 0
        self._current = 0
        self._end: float | None = None
        self._failures = [0] * len(backends)  # by candidate
        self._ready: float | None = None  # when one that is alone may be tried again, and is worth it
        self._promised: dict[int, float] = {}  # when its backend said that it would answer
        self._down: set[str] = set()  # backends that would fail with any of their models
        self._failed: dict[int, BackendError] = {}  # each candidate's newest failure, the last one last

    def first(self, now: float) -> Turn:
        """The attempt that every call has."""
        return self._fresh(0, now)

    def failed(self, error: BackendError, now: float) -> Turn | None:
        """What follows the failure of the attempt that was given last; None when nothing may, or would help."""
        self.made += error.asked
        if isinstance(error, DeadlineExceeded) and error.name == "retry":  # that attempt never began
            return None
        here = self._current
        if self._end is None:
            self._end = now + self._seconds
        self._note(here, error, now, self._end)
        if not error.retryable or self.made >= self._most or now >= self._end:
            return None
        untried = (each for each, backend in enumerate(self._backends) if backend not in self._down)
        fresh = next((each for each in untried if not self._failures[each]), None)
        if error.other_keys and (fresh is None or self.made < self._most - 1):  # the last one is another target's
            return Turn(here, left=self._end - now)
        if fresh is not None:
            return self._fresh(fresh, now)
        return self._again(now, self._end)

    def beside(self, candidate: int, error: BackendError, now: float) -> None:
        """An attempt at this one failed that was made beside the one that was given last."""
        self.made += error.asked
        self._note(candidate, error, now, now + self._seconds)

    def told(self, now: float) -> tuple[int, BackendError]:
        """What the caller hears when nothing follows, and of which candidate: the most hopeful failure, of several the
        last one, with the soonest time that anybody promised.

        Who hears that the prompt is too long for the second target throws it away, though the first was only busy.
        """
        here, error = min(reversed(self._failed.items()), key=lambda each: despair(each[1]))
        soonest = min(self._promised.values(), default=None)
        if soonest is None or error.owner not in {Owner.PROVIDER, Owner.NETWORK}:
            return here, error  # waiting does not help against what the client asked
        seconds = max(0.0, soonest - now)
        if error.retry_after is not None and error.retry_after <= seconds:
            return here, error
        told = copy.copy(error)
        told.retry_after = round(seconds, 3)
        return here, told

    def _note(self, here: int, error: BackendError, now: float, end: float) -> None:
        """A candidate has failed: who would fail in the same way, and when it may be tried again."""
        self._failed.pop(here, None)
        self._failed[here] = error
        self._failures[here] += 1
        if error.scope in {Scope.BACKEND, Scope.ACCOUNT, Scope.KEY} and not error.other_keys:
            self._down.add(self._backends[here])
        self._ready = None
        self._promised.pop(here, None)
        soonest = now + (error.retry_after or 0.0)
        if error.retry_after is not None:
            self._promised[here] = soonest
        if transient(error) and soonest < end:
            most = min(CAP, BASE * 2 ** (self._failures[here] - 1), end - soonest)
            self._ready = soonest + most * self._dice()

    def _fresh(self, candidate: int, now: float) -> Turn:
        self._current = candidate
        self._budgets[self._backends[candidate]].request(now)
        return Turn(candidate, left=None if self._end is None else self._end - now)

    def _again(self, now: float, end: float) -> Turn | None:
        """The same one, where there is no other and its backend's budget allows it."""
        if self._ready is None or not self._alone or not self._budgets[self._backends[0]].repeat(now):
            return None
        return Turn(0, max(0.0, self._ready - now), end - now)


def despair(error: BackendError) -> int:
    """How little hope it leaves: 0 when it passes at a known time, 1 soon, 2 once the provider, 3 our operator, or
    4 the client has changed something; 5 for a target that does not exist, which is nothing that a client asked for.
    """
    if isinstance(error, ModelNotFound):
        return 5
    if transient(error) or isinstance(error, QueueFull):
        return 0 if error.retry_after is not None else 1
    return {Owner.PROVIDER: 2, Owner.NETWORK: 2, Owner.US: 3, Owner.CLIENT: 4}[error.owner]


def transient(error: BackendError) -> bool:
    """Whether the same target may answer when it is asked once more in a moment."""
    match error:
        case QuotaExhausted() | ModelLoadFailed() | CircuitOpen():
            return False
        case DeadlineExceeded():  # the others were long waits, and would be again
            return error.name == "connect"
    return error.owner in {Owner.PROVIDER, Owner.NETWORK}
