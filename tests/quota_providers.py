"""Providers as pure limiters with their true semantics: the judges of a ledger, written without a look at quota/.

    judge = Fake({"requests": Axis(Calendar(20, "day", "America/Los_Angeles"), "arrival")})
    call = judge.arrive(at, prompt=30, longest=500)   # None: refused, as a real one does with a 429
    judge.end(call, at, output=120)
    judge.most("requests")                            # the most it ever counted at once; never above the cap, we claim

Times are true Unix microseconds; a provider whose clock is wrong has a `skew`.
"""

from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))

Counts: TypeAlias = Literal[
    "arrival",  # one request, when it arrives
    "input",  # the prompt, when it arrives
    "longest",  # the prompt and the longest possible answer when it arrives; what was not said is given back at the end
    "both",  # the prompt when it arrives, the answer when it has ended
    "end",  # prompt and answer when it has ended
]


class Limiter(ABC):
    """Counts amounts against a cap. `most` is the greatest count so far, `total` all that was counted."""

    def __init__(self, cap: int, skew: int = 0) -> None:
        self.cap = cap
        self.skew = skew
        self.most = 0
        self.total = 0

    def count(self, at: int, amount: int) -> None:
        """Count it, whether there is room or not."""
        self._add(at + self.skew, amount)
        self.total += amount
        self.most = max(self.most, self.cap - self._left(at + self.skew))

    def refund(self, at: int, counted_at: int, amount: int) -> None:
        """Give back a part of what was counted at `counted_at`."""
        self._take(at + self.skew, counted_at + self.skew, amount)
        self.total -= amount

    def left(self, at: int) -> int:
        """What it would admit now; negative when it has counted too much."""
        return self._left(at + self.skew)

    def full_at(self, at: int) -> int:
        """When all of the cap is there again, in its own time."""
        return self._full_at(at + self.skew)

    @abstractmethod
    def _add(self, at: int, amount: int) -> None: ...

    @abstractmethod
    def _take(self, at: int, counted_at: int, amount: int) -> None: ...

    @abstractmethod
    def _left(self, at: int) -> int: ...

    @abstractmethod
    def _full_at(self, at: int) -> int: ...


class Calendar(Limiter):
    """A fixed window: each minute, hour, day or month of a zone, `phase` later, has its own count."""

    def __init__(self, cap: int, period: str, zone: str = "UTC", phase: int = 0, skew: int = 0) -> None:
        super().__init__(cap, skew)
        self._period, self._zone, self._phase = period, ZoneInfo(zone), phase
        self._counts: defaultdict[object, int] = defaultdict(int)

    def page(self, at: int) -> object:
        """Which window that moment belongs to: read off a wall calendar, not computed from lengths."""
        here = (EPOCH + timedelta(microseconds=at - self._phase)).astimezone(self._zone)
        match self._period:
            case "minute":
                return (here.utcoffset(), here.date(), here.hour, here.minute)
            case "hour":
                return (here.utcoffset(), here.date(), here.hour)
            case "day":
                return here.date()
            case "month":
                return (here.year, here.month)
        raise ValueError(self._period)

    def _add(self, at: int, amount: int) -> None:
        self._counts[self.page(at)] += amount

    def _take(self, at: int, counted_at: int, amount: int) -> None:
        self._counts[self.page(counted_at)] -= amount

    def _left(self, at: int) -> int:
        return self.cap - self._counts[self.page(at)]

    def _full_at(self, at: int) -> int:
        page, low, high = self.page(at), at, at + 32 * DAY
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.page(middle) == page else (low, middle)
        return high


class Sliding(Limiter):
    """A rolling window, exact for every event: what was counted less than `length` ago."""

    def __init__(self, cap: int, length: int, skew: int = 0) -> None:
        super().__init__(cap, skew)
        self._length = length
        self._events: deque[list[int]] = deque()
        self._sum = 0

    def _leave(self, at: int) -> None:
        while self._events and self._events[0][0] <= at - self._length:
            self._sum -= self._events.popleft()[1]

    def _add(self, at: int, amount: int) -> None:
        self._leave(at)
        self._events.append([at, amount])
        self._sum += amount

    def _take(self, at: int, counted_at: int, amount: int) -> None:
        self._leave(at)
        for event in reversed(self._events):
            if event[0] == counted_at and event[1] >= amount:
                event[1] -= amount
                self._sum -= amount
                return

    def _left(self, at: int) -> int:
        self._leave(at)
        return self.cap - self._sum

    def _full_at(self, at: int) -> int:
        self._leave(at)
        return self._events[-1][0] + self._length if self._events else at


class Bucket(Limiter):
    """A token bucket, exact: it holds `cap`, is full at first, and refills at cap per `length`, never above the cap."""

    def __init__(self, cap: int, length: int, skew: int = 0) -> None:
        super().__init__(cap, skew)
        self._length = length
        self._level = cap * length  # in units of 1/length, in which `cap` of them flow in each microsecond
        self._at = 0

    def _flow(self, at: int) -> None:
        if at > self._at:
            self._level = min(self.cap * self._length, self._level + (at - self._at) * self.cap)
            self._at = at

    def _add(self, at: int, amount: int) -> None:
        self._flow(at)
        self._level -= amount * self._length

    def _take(self, at: int, counted_at: int, amount: int) -> None:
        self._flow(at)
        self._level = min(self.cap * self._length, self._level + amount * self._length)

    def _left(self, at: int) -> int:
        self._flow(at)
        return self._level // self._length

    def _full_at(self, at: int) -> int:
        self._flow(at)
        return at + -(-(self.cap * self._length - self._level) // self.cap)


@dataclass
class Axis:
    """One limit of a provider, and what it counts there and when."""

    limiter: Limiter
    counts: Counts

    def at_arrival(self, prompt: int, longest: int) -> int:
        return {"arrival": 1, "input": prompt, "longest": prompt + longest, "both": prompt, "end": 0}[self.counts]

    def amount(self, prompt: int, longest: int) -> int:
        """The most that one request can cost here."""
        return {"arrival": 1, "input": prompt}.get(self.counts, prompt + longest)

    def used(self, prompt: int, output: int) -> int:
        """What one request has cost here in the end."""
        return {"arrival": 1, "input": prompt}.get(self.counts, prompt + output)


@dataclass
class Call:
    """A request that was admitted."""

    arrived_at: int
    prompt: int
    longest: int


@dataclass
class Fake:
    """A provider. A request is refused where one of its limits has no room for what is counted at its arrival, or none
    at all. With `counts_refused`, a refused request costs what an admitted one does on the axes that count requests.
    """

    axes: Mapping[str, Axis]
    counts_refused: bool = False
    refused: list[tuple[int, str]] = field(default_factory=list)  # when, and on which axis
    admitted: int = 0

    def arrive(self, at: int, prompt: int, longest: int) -> Call | None:
        short = next(
            (
                name
                for name, axis in self.axes.items()
                if axis.limiter.left(at) < max(1, axis.at_arrival(prompt, longest))
            ),
            None,
        )
        if short is not None:
            self.refused.append((at, short))
            for axis in self.axes.values():
                if self.counts_refused and axis.counts == "arrival":
                    axis.limiter.count(at, 1)
            return None
        for axis in self.axes.values():
            if amount := axis.at_arrival(prompt, longest):
                axis.limiter.count(at, amount)
        self.admitted += 1
        return Call(at, prompt, longest)

    def end(self, call: Call, at: int, output: int) -> None:
        """Its answer has ended, or its client has gone."""
        for axis in self.axes.values():
            match axis.counts:
                case "longest":
                    axis.limiter.refund(at, call.arrived_at, call.longest - output)
                case "both":
                    axis.limiter.count(at, output)
                case "end":
                    axis.limiter.count(at, call.prompt + output)

    def most(self, axis: str) -> int:
        """The greatest count that this axis ever had."""
        return self.axes[axis].limiter.most


# What providers say in headers, each in its own format (free-tier pages and recordings of 2026).


def go_duration(micros: int) -> str:
    """As Go prints one: 6m0s, 1s, 12ms, 2m59.56s."""
    if micros < SECOND:
        return f"{micros / 1000:g}ms"
    minutes, rest = divmod(micros, MINUTE)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / SECOND:.3f}".rstrip("0").rstrip(".")
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes or hours else "") + f"{seconds}s"


def openai_headers(requests: Limiter, tokens: Limiter, at: int) -> dict[str, str]:
    """OpenAI's; Groq's are the same, with requests always per day and tokens always per minute."""
    said = {}
    for name, limiter in (("requests", requests), ("tokens", tokens)):
        said[f"x-ratelimit-limit-{name}"] = str(limiter.cap)
        said[f"x-ratelimit-remaining-{name}"] = str(max(0, limiter.left(at)))
        said[f"x-ratelimit-reset-{name}"] = go_duration(limiter.full_at(at) - at - limiter.skew)
    return said


def anthropic_headers(requests: Limiter, tokens: Limiter, at: int) -> dict[str, str]:
    """Anthropic's: RFC 3339, and amounts of tokens rounded to thousands."""
    said = {}
    for name, limiter in (("requests", requests), ("tokens", tokens)):
        left = max(0, limiter.left(at))
        moment = EPOCH + timedelta(microseconds=limiter.full_at(at))
        said[f"anthropic-ratelimit-{name}-limit"] = str(limiter.cap)
        said[f"anthropic-ratelimit-{name}-remaining"] = str(left if name == "requests" else round(left, -3))
        said[f"anthropic-ratelimit-{name}-reset"] = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return said


def cerebras_headers(requests: Limiter, tokens: Limiter, at: int) -> dict[str, str]:
    """Cerebras': requests per day, tokens per minute, seconds with a fraction."""
    said = {}
    for name, limiter in (("requests-day", requests), ("tokens-minute", tokens)):
        said[f"x-ratelimit-limit-{name}"] = str(limiter.cap)
        said[f"x-ratelimit-remaining-{name}"] = str(max(0, limiter.left(at)))
        said[f"x-ratelimit-reset-{name}"] = f"{(limiter.full_at(at) - at - limiter.skew) / SECOND:.6f}"
    return said


def mistral_headers(requests: Limiter, tokens: Limiter, at: int) -> dict[str, str]:
    """Mistral's: both per minute, and no reset."""
    said = {}
    for name, limiter in (("req-minute", requests), ("tokens-minute", tokens)):
        said[f"x-ratelimit-limit-{name}"] = str(limiter.cap)
        said[f"x-ratelimit-remaining-{name}"] = str(max(0, limiter.left(at)))
    return said


def openrouter_refusal_headers(requests: Limiter, at: int) -> dict[str, str]:
    """OpenRouter's, which it sends with its own refusals only: the reset in epoch milliseconds."""
    return {
        "x-ratelimit-limit": str(requests.cap),
        "x-ratelimit-remaining": str(max(0, requests.left(at))),
        "x-ratelimit-reset": str(requests.full_at(at) // 1000),
    }


Lie: TypeAlias = Literal["absent", "negative", "stale", "seconds_as_ms", "wrong_unit", "rubbish", "reset_long_ago"]


def lying(said: Mapping[str, str], lie: Lie, before: Mapping[str, str]) -> dict[str, str]:
    """The same headers from a liar. `before` is what an earlier answer said. No lie promises more."""
    match lie:
        case "absent":
            return {}
        case "negative":
            return dict.fromkeys(said, "-1")
        case "stale":
            return dict(before)
        case "rubbish":
            return dict.fromkeys(said, "NaN")
    result = dict(said)
    for name in said:
        if "reset" in name:
            result[name] = {"seconds_as_ms": "60000000", "wrong_unit": "60", "reset_long_ago": "1500000000"}[lie]
    return result
