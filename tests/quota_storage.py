"""A storage for a Book that only remembers: its rows, its history, and whether they agree."""

from collections import defaultdict
from copy import copy
from itertools import pairwise

from quota.audit import opening
from quota.book import Book
from quota.ledger import Attempt, Cooldown, Operation
from quota.rows import Bucket, Changes, PoolRow, Reservation, Rows, Share


class Storage:
    """What is on the disk."""

    def __init__(self) -> None:
        self.seq = self.time = 0
        self.pools: dict[str, PoolRow] = {}
        self.buckets: dict[tuple[str, int, int], Bucket] = {}
        self.shares: dict[tuple[str, int, int, str], Share] = {}
        self.cooldowns: dict[str, Cooldown] = {}
        self.reservations: dict[Attempt, Reservation] = {}
        self.operations: list[Operation] = []

    def book(self) -> Book:
        """One that knows what is stored, and finds reservations here."""
        book = Book(self.reservations.get)
        book.load(
            Rows(
                seq=self.seq,
                time=self.time,
                pools=[copy(row) for row in self.pools.values()],
                buckets=[copy(bucket) for bucket in self.buckets.values() if bucket.until > self.time],
                shares=[copy(share) for share in self.shares.values() if share.until > self.time],
                cooldowns=list(self.cooldowns.values()),
            )
        )
        return book

    def copied(self) -> "Storage":
        """Another, to try something in."""
        other = copy(self)
        other.reservations = dict(self.reservations)
        return other

    def write(self, changes: Changes) -> Changes:
        assert changes.seq >= self.seq
        assert changes.time >= self.time
        self.seq, self.time = changes.seq, changes.time
        self.pools.update({row.pool.id: row for row in changes.pools})
        for bucket in changes.buckets:
            key = bucket.pool, bucket.start, bucket.end
            assert bucket.start < bucket.end <= bucket.until
            assert key not in self.buckets or self.buckets[key].until == bucket.until
            self.buckets[key] = bucket
        self.shares.update({(share.pool, share.start, share.end, share.tag): share for share in changes.shares})
        self.cooldowns.update({cooldown.scope: cooldown for cooldown in changes.cooldowns})
        for scope in changes.warmed:
            del self.cooldowns[scope]
        self.reservations.update({each.attempt: each for each in changes.reservations})
        for operation in changes.operations:
            assert not self.operations or operation.seq > self.operations[-1].seq
            self.operations.append(operation)
        return changes

    def prune(self, before: int) -> None:
        gone = [operation for operation in self.operations if operation.at < before]
        self.buckets = {key: bucket for key, bucket in self.buckets.items() if bucket.until > before}
        if gone:
            changes = opening(gone, lambda pool, span: (pool, *span) in self.buckets)
            stands_for = Operation(gone[-1].seq, gone[-1].at, "opening", None, "", "", changes)
            self.operations = [stands_for, *self.operations[len(gone) :]]

    def opened(self) -> list[Reservation]:
        return [each for each in self.reservations.values() if each.state == "open"]

    def check(self) -> None:
        """The sums of all operations are the balances, and no two windows that were used overlap."""
        reserved: dict[str, int] = defaultdict(int)
        arrival: dict[str, int] = defaultdict(int)
        used: dict[tuple[str, int, int], int] = defaultdict(int)
        for operation in self.operations:
            for name, change in operation.changes.items():
                reserved[name] += change.reserved
                arrival[name] += change.arrival
                for start, end, amount in change.used:
                    used[name, start, end] += amount
        for name, row in self.pools.items():
            assert (row.reserved, row.arrival) == (reserved[name], arrival[name])
            assert row.reserved == sum(each.amounts.get(name, 0) for each in self.opened())
        booked = {key: bucket.used for key, bucket in self.buckets.items() if bucket.used}
        assert booked == {key: amount for key, amount in used.items() if amount}
        for (name, _, end), (following, start, _) in pairwise(sorted(booked)):
            assert name != following or end <= start
