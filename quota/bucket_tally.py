"""Use that is counted in windows or slots: Fixed and Rolling. Pure. What each method means stands in quota/tally.py."""

from collections import deque
from collections.abc import Iterable

from quota.held import Held
from quota.ledger import Change
from quota.pool import Fixed, Micros, Rolling
from quota.rows import Bucket, PoolRow, Share
from quota.tally import NOTHING, Charge, Spans
from quota.windows import ENDLESS, fixed_span, slot_span


class FixedTally(Held):
    """Every window that overlaps the guard around a moment counts at it."""

    def __init__(self, row: PoolRow, window: Fixed) -> None:
        super().__init__(row)
        self._window = window
        self._guard = window.guard
        self._current = Bucket(row.pool.id, 0, 0, 0)

    def load(self, now: Micros, buckets: Iterable[Bucket], shares: Iterable[Share]) -> None:
        super().load(now, buckets, shares)
        self._current = Bucket(self.row.pool.id, 0, 0, 0)

    def free(self, now: Micros) -> int:
        current, guard = self._current, self._guard
        if current.start <= now - guard and now + guard < current.end and not self.row.next_from:
            return self.row.cap - current.used
        least = self._least(now)
        return self._cap_of(least) - least.used

    def cap(self, now: Micros) -> int:
        return self._cap_of(self._least(now))

    def charge(self, now: Micros, since: Micros, upto: Micros, amount: int, tag: str | None = None) -> Charge:
        if not amount:
            return NOTHING
        guard = self._guard
        low = max(since - guard, min(now - guard, upto))  # windows that ended before can never grant again
        high = upto + guard
        current = self._current
        if current.start <= low and high < current.end and now < current.until:
            return 0, (self.add(current, amount, tag),)
        counted = [bucket for bucket in self._between(low, high, now) if bucket.until > now]
        return 0, tuple([self.add(bucket, amount, tag) for bucket in counted])

    def observed(self, now: Micros, at: Micros, used: int) -> Charge:
        # Just after an edge by our clock it may be the old window's figure: that one still counts until the guard ends.
        bucket = self._at(at - self._guard)
        beyond = used - bucket.used - self.row.reserved
        if beyond <= 0 or bucket.until <= now:
            return NOTHING
        return 0, (self.add(bucket, beyond),)

    def give_back(self, now: Micros, charged: Change, amount: int, tag: str) -> Charge:
        given = []
        for start, end, booked in charged.used:
            bucket = self.buckets.get((start, end))
            part = min(amount, booked, bucket.used) if bucket is not None and bucket.until > now else 0
            if bucket is not None and part > 0:
                given.append(self.add(bucket, -part, tag))
        return 0, tuple(given)

    def reduce(self, now: Micros, amount: int) -> Charge:
        lowered: Spans = ()
        for bucket in self._between(now - self._guard, now + self._guard, now):
            lowered += self.lower([bucket], amount)[1]
        return 0, lowered

    def opens(self, now: Micros, after: Micros, need: int) -> Micros | None:
        guard, reserved = self._guard, self.row.reserved
        if need > max(self.row.cap, self.row.next_cap if self.row.next_from else 0):
            return None
        opens = after
        while opens < ENDLESS - guard:
            late = opens
            for bucket in self._overlapping(opens - guard, opens + guard):
                settled = reserved if bucket.start <= now + guard and bucket.end > now - guard else 0
                if self._cap_of(bucket) - bucket.used - settled < need:
                    late = bucket.until
            if late == opens:
                return opens
            opens = late
        return None

    def reset(self, now: Micros) -> Micros:
        return min(self._at(now + self._guard).until, ENDLESS)

    def recap(self, now: Micros, cap: int) -> Charge:
        self.row.cap = cap
        return NOTHING

    def shares(self, now: Micros) -> dict[str, int]:
        least = self._least(now)
        return self.sums([(least.start, least.end)])

    def _cap_of(self, bucket: Bucket) -> int:
        row = self.row
        return row.next_cap if row.next_from and bucket.start >= row.next_from else row.cap

    def _least(self, now: Micros) -> Bucket:
        """The window with least room of those that count now."""
        counted = self._between(now - self._guard, now + self._guard, now)
        self._current = next(bucket for bucket in counted if bucket.start <= now < bucket.end)
        return min(counted, key=lambda bucket: self._cap_of(bucket) - bucket.used)

    def _between(self, low: Micros, high: Micros, now: Micros) -> list[Bucket]:
        """Those that overlap, from now on remembered; those that no longer count are forgotten."""
        for span in [span for span, bucket in self.buckets.items() if bucket.until <= now]:
            self.forget(span)
        found = self._overlapping(low, high)
        for bucket in found:
            if bucket.until > now:
                self.buckets[bucket.start, bucket.end] = bucket
        return found

    def _overlapping(self, low: Micros, high: Micros) -> list[Bucket]:
        found = [self._at(low)]
        while found[-1].end <= high:
            found.append(self._at(found[-1].end))
        return found

    def _at(self, moment: Micros) -> Bucket:
        """The window as it was first computed: new rules of a zone hold from the next one on."""
        for bucket in self.buckets.values():
            if bucket.start <= moment < bucket.end:
                return bucket
        start, end = fixed_span(self._window, moment)
        for bucket in self.buckets.values():
            if start < bucket.end <= moment:
                start = bucket.end
            elif moment < bucket.start < end:
                end = bucket.start
        return Bucket(self.row.pool.id, start, end, end + self._guard)


class RollingTally(Held):
    """A slot counts until all of it is `length` ago. A charge goes to the slot of the last moment it can belong to."""

    def __init__(self, row: PoolRow, window: Rolling) -> None:
        super().__init__(row)
        self._window = window
        self._order: deque[Bucket] = deque()
        self._used = 0

    def load(self, now: Micros, buckets: Iterable[Bucket], shares: Iterable[Share]) -> None:
        super().load(now, buckets, shares)
        self._order = deque(sorted(self.buckets.values(), key=lambda bucket: bucket.until))
        self._used = sum(bucket.used for bucket in self._order)

    def free(self, now: Micros) -> int:
        order = self._order
        while order and order[0].until <= now:
            gone = order.popleft()
            self._used -= gone.used
            self.forget((gone.start, gone.end))
        return self.row.cap - self._used

    def cap(self, now: Micros) -> int:
        return self.row.cap

    def charge(self, now: Micros, since: Micros, upto: Micros, amount: int, tag: str | None = None) -> Charge:
        if not amount:
            return NOTHING
        order = self._order
        last = order[-1] if order else None
        if last is None or not last.start <= upto < last.end:
            last = self._slot(upto)
            if last.until <= now:
                return NOTHING
        self._used += amount
        return 0, (self.add(last, amount, tag),)

    def observed(self, now: Micros, at: Micros, used: int) -> Charge:
        beyond = used - (self.row.cap - self.free(now)) - self.row.reserved
        return self.charge(now, at, at, beyond) if beyond > 0 else NOTHING

    def give_back(self, now: Micros, charged: Change, amount: int, tag: str) -> Charge:
        self.free(now)
        held = [self.buckets[start, end] for start, end, _ in charged.used if (start, end) in self.buckets]
        return self._less(self.lower(held, amount, tag))

    def reduce(self, now: Micros, amount: int) -> Charge:
        self.free(now)
        return self._less(self.lower(list(self._order), amount))

    def clear(self, now: Micros) -> Charge:
        return self._less(super().clear(now))

    def opens(self, now: Micros, after: Micros, need: int) -> Micros | None:
        room = self.row.cap - need
        if room < 0:
            return None
        counted = [(bucket.until, bucket.used) for bucket in self._order if bucket.until > after]
        if self.row.reserved:
            counted.append((slot_span(self._window, now)[1] + self._window.length, self.row.reserved))
            counted.sort()
        used = sum(amount for until, amount in counted if until > after)
        opens = after
        for until, amount in counted:
            if used <= room:
                break
            if until > after:
                used -= amount
                opens = until
        return opens

    def reset(self, now: Micros) -> Micros:
        return now + self._window.length

    def recap(self, now: Micros, cap: int) -> Charge:
        self.row.cap = cap
        return NOTHING

    def shares(self, now: Micros) -> dict[str, int]:
        self.forget_shares(now)
        return self.sums(self.by_tag)

    def _less(self, charge: Charge) -> Charge:
        self._used += sum(amount for _, _, amount in charge[1])
        return charge

    def _slot(self, moment: Micros) -> Bucket:
        start, end = span = slot_span(self._window, moment)
        slot = self.buckets.get(span)
        if slot is None:
            slot = self.buckets[span] = Bucket(self.row.pool.id, start, end, end + self._window.length)
            place = len(self._order)
            while place and self._order[place - 1].until > slot.until:
                place -= 1
            self._order.insert(place, slot)
        return slot
