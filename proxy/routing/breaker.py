"""Whether something that fails is still asked: closed, open, half-open with one probe. Pure: time and dice are given.

    closed ── too many faults, or first tokens far too late ──▶ open
    open ── its time is over, or a good sign (hint) ──▶ half-open: the next one who asks is the probe
    half-open ── the probe answers ──▶ closed
    half-open ── the probe fails ──▶ open, for twice as long, up to a bound
    half-open ── the probe is left without a verdict ──▶ the next one is the probe
    (who waited for a first token as long as a slow one takes, and left, is a fault: that is a verdict)

A verdict counts for the state in which its attempt began: what began before it opened says nothing of a recovery. For
that each attempt has a ticket, the number of the state that let it pass.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

State: TypeAlias = Literal["closed", "open", "half_open"]
SLICES = 10  # of the window; what is older than it goes a slice at a time
JITTER = 0.2  # of an open time is drawn, so that not all gateways probe in the same moment
LEARNS = 0.05  # what the newest first token counts of what is usual
LEAST_PART = 0.05  # of its requests, for one that has just recovered
MOST_LEARNT = 2.0  # times the usual: one that took longer moves it no further


class Rules(Struct, frozen=True):
    """When to open, and for how long. Times are in seconds.

    It opens after `failures` in a row, or when at least `least` attempts had an end within `window` and `share` of them
    or more were faults. A first token that took `slow_least` or longer, and `slow_factor` times as long as is usual
    there, is a fault too. It is open for `first`, then twice that, … up to `longest`. After that it gets its full part
    of the requests again within `slow_start`.
    """

    failures: int = 5
    share: float = 0.5
    least: int = 10
    window: float = 60.0
    slow_factor: float = 10.0
    slow_least: float = 10.0
    first: float = 5.0
    longest: float = 120.0
    slow_start: float = 20.0


class Breaker:
    """One. `now` is in seconds, from any clock that does not go back; `dice` gives numbers from 0 to 1."""

    __slots__ = (
        "_dice", "_era", "_opened", "_probing", "_rules", "_run", "_slice", "_slices", "_until", "closed_at", "usual"
    )  # fmt: skip

    def __init__(self, rules: Rules, dice: Callable[[], float]) -> None:
        self._rules, self._dice = rules, dice
        self._era = 0  # counts the states
        self._until: float | None = None  # when an open one may be probed; None: closed
        self._probing = False
        self._opened = 0  # times in a row, without a healthy time between
        self._run = 0  # faults in a row
        self._slices: deque[list[int]] = deque()  # [number, good, bad], the oldest first
        self._slice = rules.window / SLICES
        self.closed_at: float | None = None  # when it closed after a recovery
        self.usual: float | None = None  # seconds to a first token

    def state(self, now: float) -> State:
        """half_open: the next one is a probe, or one is out."""
        if self._until is None:
            return "closed"
        return "half_open" if self._probing or now >= self._until else "open"

    def allows(self, now: float) -> bool:
        """Whether `begin` may be called."""
        return self._until is None or (not self._probing and now >= self._until)

    def opens_in(self, now: float) -> float:
        """Seconds until it may be asked; 0 where that is now, or once the probe that is out has ended."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def weight(self, now: float) -> float:
        """Its part of the requests that it would get, 0 to 1: grows after a recovery."""
        if self._until is not None or self.closed_at is None or not self._rules.slow_start:
            return 1.0
        return min(1.0, max(LEAST_PART, (now - self.closed_at) / self._rules.slow_start))

    def errors(self, now: float) -> float:
        """The part of the window's attempts that were faults, 0 to 1; 0 where there were none."""
        good, bad = self._counts(now)
        return bad / (good + bad) if good + bad else 0.0

    def begin(self, now: float) -> int:
        """An attempt begins, which `allows` permits. Its ticket, for its one verdict."""
        if self._until is not None:
            self._probing = True
            self._era += 1
        return self._era

    def answered(self, ticket: int, now: float, seconds: float | None = None) -> None:
        """It has begun to answer, `seconds` after it was asked; None where that says nothing of its speed.

        A probe's answer closes, however late it is: what is usual may have changed.
        """
        slow = seconds is not None and self._slow(seconds)
        if seconds is not None:
            self._learn(seconds)
        if ticket != self._era:
            return
        if self._until is not None:
            self._close(now)
        elif slow:
            self._bad(now)
        else:
            self._run = 0
            self._newest(now)[1] += 1

    def failed(self, ticket: int, now: float) -> None:
        """It failed before it began to answer."""
        if ticket != self._era:
            return
        if self._until is None:
            self._bad(now)
        else:
            self._open(now)

    def broke(self, now: float) -> None:
        """An answer that had begun was not finished: its good verdict becomes a bad one."""
        if self._until is None:
            self._newest(now)[1] -= 1
            self._bad(now)

    def left(self, ticket: int, now: float, waited: float | None = None) -> None:
        """It ended without a verdict. A probe makes room for the next one.

        Who has `waited` for a first token as long as a slow one takes leaves a verdict: it is a fault. Otherwise a
        target that hangs would never open where callers have less patience than the deadlines.
        """
        if waited is not None and waited >= max(self._rules.slow_least, self._rules.slow_factor * (self.usual or 0.0)):
            self.failed(ticket, now)
        elif ticket == self._era and self._until is not None:
            self._probing, self._until = False, min(self._until, now)
            self._era += 1

    def fault(self, now: float) -> None:
        """A fault that was seen without asking for an answer, as by an active probe."""
        if self._until is None:
            self._bad(now)
        elif not self._probing and now >= self._until:  # that spares a request being the probe
            self._open(now)

    def hint(self, now: float) -> None:
        """It seems to be well again: the next one who asks is the probe, at once."""
        if self._until is not None:
            self._until = min(self._until, now)

    def _bad(self, now: float) -> None:
        """One more fault of a closed one."""
        rules = self._rules
        self._run += 1
        self._newest(now)[2] += 1
        good, bad = self._counts(now)
        if self._run >= rules.failures or (good + bad >= rules.least and bad >= rules.share * (good + bad)):
            recent = self.closed_at is not None and now - self.closed_at < rules.window
            self._opened = self._opened if recent else 0
            self._open(now)

    def _open(self, now: float) -> None:
        length = min(self._rules.longest, self._rules.first * 2 ** min(self._opened, 30))
        self._until = now + length * (1.0 - JITTER * self._dice())
        self._opened += 1
        self._era += 1
        self._probing = False

    def _close(self, now: float) -> None:
        self._until, self._probing, self.closed_at = None, False, now
        self._era += 1
        self._run = 0
        self._slices.clear()

    def _slow(self, seconds: float) -> bool:
        rules = self._rules
        return self.usual is not None and seconds >= max(rules.slow_least, rules.slow_factor * self.usual)

    def _learn(self, seconds: float) -> None:
        if self.usual is None:
            self.usual = seconds
        else:
            self.usual += LEARNS * (min(seconds, MOST_LEARNT * self.usual) - self.usual)

    def _newest(self, now: float) -> list[int]:
        """The counts of this slice."""
        number = int(now // self._slice)
        if not self._slices or self._slices[-1][0] < number:
            self._slices.append([number, 0, 0])
            self._forget(number)
        return self._slices[-1]

    def _counts(self, now: float) -> tuple[int, int]:
        """Good and bad ones of the window."""
        self._forget(int(now // self._slice))
        good = bad = 0
        for _, more, faults in self._slices:
            good, bad = good + more, bad + faults
        return max(0, good), bad

    def _forget(self, newest: int) -> None:
        while self._slices and self._slices[0][0] <= newest - SLICES:
            self._slices.popleft()
