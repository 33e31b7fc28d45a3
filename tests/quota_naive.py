"""A ledger that is easy to believe: lists of charges, and every question answered by adding all of them up again."""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

from quota.ledger import Observation
from quota.pool import DAY, MINUTE, SECOND, Concurrent, Fixed, Gcra, Pool, Rolling

BEGIN, END = 1_796_999_400 * SECOND, 1_830_300_000 * SECOND  # December 2026 to December 2027, at a full quarter
END_OF_TIME = 253_370_764_800 * SECOND
Window = tuple[int, int]


@cache
def edges(period: str, zone: str) -> list[int]:
    """Where the clock on the wall of that zone shows another hour, date, week or month: looked at every 15 minutes."""
    found, last = [], None
    for moment in range(BEGIN - 40 * DAY, END + 40 * DAY, 15 * MINUTE):
        shown = datetime.fromtimestamp(moment // SECOND, ZoneInfo(zone))
        key = {
            "hour": (shown.date(), shown.hour),
            "day": shown.date(),
            "week": shown.isocalendar()[:2],
            "month": (shown.year, shown.month),
        }[period]
        if key != last:
            found.append(moment)
        last = key
    return found


def window_at(fixed: Fixed, moment: int) -> Window:
    if fixed.period == "ever":
        return 0, END_OF_TIME
    if fixed.period in ("second", "minute"):
        length = SECOND if fixed.period == "second" else MINUTE
        start = moment - (moment - fixed.anchor) % length
        return start, start + length
    starts = edges(fixed.period, fixed.zone)
    place = bisect_right(starts, moment - fixed.anchor)
    return starts[place - 1] + fixed.anchor, starts[place] + fixed.anchor


def windows_near(fixed: Fixed, low: int, high: int) -> list[Window]:
    found = [window_at(fixed, low)]
    while found[-1][1] <= high:
        found.append(window_at(fixed, found[-1][1]))
    return found


@dataclass
class Charge:
    """`amount` was counted at some moment from `since` to `upto`."""

    since: int
    upto: int
    amount: int


@dataclass
class NaivePool:
    pool: Pool
    cap: int
    reserved: int = 0
    charges: list[Charge] = field(default_factory=list)
    pending: tuple[int, int] | None = None  # a greater cap, and from when on
    said: int | None = None
    closed: int = 0
    grown: int = 0
    grown_until: int = 0
    observed_at: int | None = None

    @property
    def guard(self) -> int:
        return self.pool.window.guard if isinstance(self.pool.window, Fixed) else 0

    def cap_of(self, window: Window) -> int:
        if self.pending is not None and window[0] >= self.pending[1]:
            return self.pending[0]
        return self.cap

    def used_in(self, window: Window) -> int:
        return sum(each.amount for each in self.charges if each.since < window[1] and each.upto >= window[0])

    def arrival(self) -> int:
        """Of a token bucket: every charge in the order in which it was booked."""
        arrival = 0
        for each in self.charges:
            arrival = max(arrival, each.upto) + each.amount * self.unit()
        return arrival

    def unit(self) -> int:
        assert isinstance(self.pool.window, Gcra)
        return -(-self.pool.window.length // max(1, self.cap))

    def room(self, now: int) -> tuple[int, int]:
        """What is free of which cap, nothing reserved."""
        match self.pool.window:
            case Fixed() as fixed:
                near = windows_near(fixed, now - fixed.guard, now + fixed.guard)
                return min(((self.cap_of(each) - self.used_in(each), self.cap_of(each)) for each in near), key=first)
            case Rolling(length, slots):
                width = -(-length // slots)
                live = [each for each in self.charges if (each.upto // width + 1) * width + length > now]
                return self.cap - sum(each.amount for each in live), self.cap
            case Gcra():
                level = max(0, self.arrival() - now)
                return self.cap - -(-level // self.unit()), self.cap
            case Concurrent():
                return self.cap, self.cap

    def margin(self, now: int) -> int:
        return self.pool.margin + (self.grown if now < self.grown_until else 0)

    def fits(self, now: int, amount: int) -> bool:
        return now >= self.closed and self.room(now)[0] - self.reserved - amount >= self.margin(now)

    def charge(self, since: int, upto: int, amount: int) -> None:
        if amount <= 0 or isinstance(self.pool.window, Concurrent):
            return
        if isinstance(self.pool.window, Fixed):
            self.charges.append(Charge(since - self.guard, upto + self.guard, amount))
        else:
            self.charges.append(Charge(upto, upto, amount))

    def take_off(self, moment: int, amount: int) -> int:
        """From the window or slot at that moment, not below 0. How much it was."""
        if isinstance(self.pool.window, Fixed):
            held = self.used_in(window_at(self.pool.window, moment))
        else:
            assert isinstance(self.pool.window, Rolling)
            width = -(-self.pool.window.length // self.pool.window.slots)
            held = sum(each.amount for each in self.charges if each.upto // width == moment // width)
        taken = min(held, amount)
        if taken > 0:
            self.charges.append(Charge(moment, moment, -taken))
        return max(taken, 0)

    def reduce(self, now: int, amount: int) -> None:
        match self.pool.window:
            case Fixed() as fixed:
                for window in windows_near(fixed, now - fixed.guard, now + fixed.guard):
                    self.take_off(window[0], amount)
            case Rolling(length, slots):
                width = -(-length // slots)
                for slot in sorted({each.upto // width for each in self.charges}):
                    if (slot + 1) * width + length > now:
                        amount -= self.take_off(slot * width, amount)
            case Gcra():
                self.move_to(max(self.arrival() - amount * self.unit(), min(self.arrival(), now)))
            case Concurrent():
                pass
        self.closed = self.grown = self.grown_until = 0

    def give_back(self, now: int, charged_at: int, amount: int) -> None:
        """Of what was charged then, where it still counts. A token bucket gives nothing back."""
        match self.pool.window:
            case Fixed() as fixed:
                for window in windows_near(fixed, charged_at - fixed.guard, charged_at + fixed.guard):
                    if window[1] + fixed.guard > now:
                        self.take_off(window[0], amount)
            case Rolling(length, slots):
                width = -(-length // slots)
                if (charged_at // width + 1) * width + length > now:
                    self.take_off(charged_at, amount)

    def move_to(self, arrival: int) -> None:
        """Of a token bucket."""
        self.charges = [Charge(arrival, arrival, 0)]

    def recap(self, now: int, cap: int) -> None:
        if isinstance(self.pool.window, Gcra):
            arrival, used = self.arrival(), self.cap - self.room(now)[0]
            self.cap = cap
            self.move_to(max(arrival, now + used * self.unit()) if used else arrival)
        self.cap = cap

    def reset(self, now: int) -> int:
        match self.pool.window:
            case Fixed() as fixed:
                return min(window_at(fixed, now + fixed.guard)[1] + fixed.guard, END_OF_TIME)
            case Rolling(length) | Gcra(length):
                return now + length
            case Concurrent():
                return now + MINUTE

    def observe(self, now: int, seen: Observation) -> None:
        at = min(now, seen.at)
        if self.observed_at is not None and at < self.observed_at:
            return
        self.observed_at = at
        if self.pending is not None and now >= self.pending[1] + self.guard:
            self.cap, self.pending = self.pending[0], None
        if seen.limit is not None:
            self.limited(now, seen.limit)
        if seen.remaining is not None:
            limit = self.room(now)[1] if seen.limit is None else seen.limit
            self.counted(now, at, limit - seen.remaining - self.reserved)
        if seen.refused:
            reset = self.reset(now)
            self.closed = max(self.closed, seen.resets_at if seen.resets_at and seen.resets_at > now else reset)
            before = self.grown if now < self.grown_until else 0
            self.grown = min(self.cap, before + (self.cap + 19) // 20)
            self.grown_until = max(self.grown_until, reset, self.closed)

    def limited(self, now: int, limit: int) -> None:
        if limit <= self.cap:
            self.said = self.pending = None
            if limit < self.cap:
                self.recap(now, limit)
            return
        twice = self.said is not None
        agreed = min(self.said or 0, limit)
        self.said = limit
        if self.pending is not None:
            self.pending = min(self.pending[0], limit), self.pending[1]
        if not twice:
            return
        if not isinstance(self.pool.window, Fixed):
            self.recap(now, agreed)
        elif self.pending is None:
            self.pending = agreed, self.reset(now) - self.guard
        elif now + self.guard < self.pending[1]:
            self.pending = agreed, self.pending[1]

    def counted(self, now: int, at: int, beyond: int) -> None:
        """The provider had counted that much at `at`, reservations not among it."""
        match self.pool.window:
            case Fixed() as fixed:
                window = window_at(fixed, at - fixed.guard)
                missing = beyond - self.used_in(window)
                if missing > 0 and window[1] + fixed.guard > now:
                    self.charges.append(Charge(window[0], window[0], missing))
            case Rolling():
                missing = beyond - (self.cap - self.room(now)[0])
                self.charge(at, at, missing)
            case Gcra():
                if beyond > 0:
                    self.move_to(max(self.arrival(), at + beyond * self.unit()))
            case Concurrent():
                pass


def first(pair: tuple[int, int]) -> int:
    return pair[0]
