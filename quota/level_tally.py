"""Use that has no windows: a token bucket's level, and what runs at once. Pure. Methods as in quota/tally.py."""

from quota.held import Held
from quota.ledger import Change
from quota.pool import MINUTE, Gcra, Micros, Rolling
from quota.rows import PoolRow
from quota.tally import NOTHING, Charge
from quota.windows import slot_span, unit_cost


class GcraTally(Held):
    """The level is the time until the bucket is full again; a unit costs `unit` of it. What is open refills nothing."""

    def __init__(self, row: PoolRow, window: Gcra) -> None:
        super().__init__(row)
        self._length = window.length
        self._slots = Rolling(window.length)  # of the shares: a level has no windows

    def free(self, now: Micros) -> int:
        return self.row.cap - self._used(now)

    def cap(self, now: Micros) -> int:
        return self.row.cap

    def charge(self, now: Micros, since: Micros, upto: Micros, amount: int, tag: str | None = None) -> Charge:
        if not amount:
            return NOTHING
        if tag is not None:
            span = slot_span(self._slots, upto)
            if span not in self.by_tag:
                self.forget_shares(now)
            self.share(span, span[1] + self._length, tag, amount)
        return self._move(max(self.row.arrival, upto) + amount * unit_cost(self._length, self.row.cap))

    def observed(self, now: Micros, at: Micros, used: int) -> Charge:
        beyond = used - self.row.reserved
        if beyond <= 0:
            return NOTHING
        return self._move(max(self.row.arrival, at + beyond * unit_cost(self._length, self.row.cap)))

    def give_back(self, now: Micros, charged: Change, amount: int, tag: str) -> Charge:
        # Had it never been charged, the bucket might have been full since, and what came later would count from then.
        # It refills anyway.
        return NOTHING

    def reduce(self, now: Micros, amount: int) -> Charge:
        arrival = self.row.arrival
        return self._move(max(arrival - amount * unit_cost(self._length, self.row.cap), min(arrival, now)))

    def opens(self, now: Micros, after: Micros, need: int) -> Micros | None:
        row, unit = self.row, unit_cost(self._length, self.row.cap)
        if need > row.cap:
            return None
        settled = max(row.arrival, now) + row.reserved * unit if row.reserved else row.arrival
        return max(after, settled - (row.cap - need) * unit)

    def reset(self, now: Micros) -> Micros:
        return now + self._length

    def recap(self, now: Micros, cap: int) -> Charge:
        used = self._used(now)
        self.row.cap = cap
        if not used:
            return NOTHING
        return self._move(max(self.row.arrival, now + used * unit_cost(self._length, cap)))

    def shares(self, now: Micros) -> dict[str, int]:
        self.forget_shares(now)
        return self.sums(self.by_tag)

    def clear(self, now: Micros) -> Charge:
        super().clear(now)
        return self._move(0)

    def _used(self, now: Micros) -> int:
        level = self.row.arrival - now
        return -(-level // unit_cost(self._length, self.row.cap)) if level > 0 else 0

    def _move(self, arrival: Micros) -> Charge:
        moved = arrival - self.row.arrival
        self.row.arrival = arrival
        return moved, ()


class ConcurrentTally(Held):
    """Only what is open counts, so nothing is ever used."""

    def free(self, now: Micros) -> int:
        return self.row.cap

    def cap(self, now: Micros) -> int:
        return self.row.cap

    def charge(self, now: Micros, since: Micros, upto: Micros, amount: int, tag: str | None = None) -> Charge:
        return NOTHING

    def observed(self, now: Micros, at: Micros, used: int) -> Charge:
        return NOTHING

    def give_back(self, now: Micros, charged: Change, amount: int, tag: str) -> Charge:
        return NOTHING

    def reduce(self, now: Micros, amount: int) -> Charge:
        return NOTHING

    def opens(self, now: Micros, after: Micros, need: int) -> Micros | None:
        return after if need <= self.row.cap else None

    def reset(self, now: Micros) -> Micros:
        return now + MINUTE  # nothing says how long it lasts

    def recap(self, now: Micros, cap: int) -> Charge:
        self.row.cap = cap
        return NOTHING

    def shares(self, now: Micros) -> dict[str, int]:
        return {}
