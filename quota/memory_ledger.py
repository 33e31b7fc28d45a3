"""The ledger without a disk: a Book and what it has written, for one process and for tests."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from quota.audit import balances, differences, opening
from quota.book import Book
from quota.clock import Clock
from quota.ledger import Attempt, Cooldown, Denied, Granted, Headroom, Observation, Operation, Settled
from quota.pool import MINUTE, SECOND, Micros, Pool
from quota.rows import Bucket, PoolRow, Reservation, Span

Answer = TypeVar("Answer")


class MemoryLedger:
    """A Ledger (quota/ledger.py) that ends with its process. A lease of `ttl` renews itself: its owner is here."""

    def __init__(self, now: Callable[[], Micros] | None = None, ttl: Micros = MINUTE) -> None:
        self._now = Clock().now if now is None else now
        self._ttl = ttl
        self._reservations: dict[Attempt, Reservation] = {}
        self._operations: list[Operation] = []
        self._pools: dict[str, PoolRow] = {}
        self._buckets: dict[tuple[str, Span], Bucket] = {}
        self._pruned: Micros = 0
        self._book = Book(self._reservations.get)

    async def define(self, pools: Sequence[Pool]) -> None:
        self._do(lambda: self._book.define(self.now(), pools))

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        now = self.now()
        return self._do(lambda: self._book.reserve(now, attempt, amounts, tag=tag, owner="", lease_end=now + self._ttl))

    def settle(
        self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None
    ) -> Awaitable[Settled | None]:
        now = self.now()
        answered_at = None if answered is None else now - int(answered * SECOND)
        return done(lambda: self._do(lambda: self._book.settle(now, attempt, used, answered_at)))

    def release(self, attempt: Attempt, why: str) -> Awaitable[bool]:
        return done(lambda: self._do(lambda: self._book.release(self.now(), attempt, why)))

    def observe(self, observation: Observation) -> Awaitable[None]:
        return done(lambda: self._do(lambda: self._book.observe(self.now(), observation)))

    def cool(self, cooldown: Cooldown) -> Awaitable[None]:
        return done(lambda: self._do(lambda: self._book.cool(self.now(), cooldown)))

    def warm(self, scope: str) -> Awaitable[None]:
        return done(lambda: self._do(lambda: self._book.warm(self.now(), scope)))

    def headroom(self) -> Mapping[str, Headroom]:
        return self._book.headroom(self.now())

    def cooldowns(self) -> Mapping[str, Cooldown]:
        return self._book.cooldowns(self.now())

    def now(self) -> Micros:
        return max(self._now(), self._book.time)

    async def adjust(self, pool: str, used: int, why: str) -> None:
        self._do(lambda: self._book.adjust(self.now(), pool, used, why))

    async def recover(self) -> int:
        return 0  # whoever could have died has taken the ledger along

    async def history(self, since: Micros = 0, limit: int = 1000, pool: str | None = None) -> Sequence[Operation]:
        told = (
            operation
            for operation in reversed(self._operations)
            if operation.at >= since and (pool is None or pool in operation.changes)
        )
        return [operation for operation, _ in zip(told, range(limit), strict=False)]

    async def reconcile(self) -> Sequence[str]:
        opened = [reservation for reservation in self._reservations.values() if reservation.state == "open"]
        return differences(
            balances(self._operations), self._pools.values(), self._buckets.values(), opened, self._pruned
        )

    async def prune(self, before: Micros) -> int:
        before = min(before, self.now())
        gone = [operation for operation in self._operations if operation.at < before]
        self._pruned = max(self._pruned, before)
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if bucket.until > before}
        for attempt in [operation.attempt for operation in gone if operation.kind in ("settle", "release", "lapse")]:
            if attempt is not None:
                self._reservations.pop(attempt, None)
        if not gone or (len(gone) == 1 and gone[0].kind == "opening"):
            return 0
        last = gone[-1]
        changes = opening(gone, lambda pool, span: (pool, span) in self._buckets)
        stands_for = Operation(last.seq, last.at, "opening", None, "", "what was pruned", changes)
        self._operations = [stands_for, *self._operations[len(gone) :]]
        return len(gone) - (gone[0].kind == "opening")

    def _do(self, act: Callable[[], Answer]) -> Answer:
        answer = act()
        changes = self._book.take()
        self._operations.extend(changes.operations)
        self._reservations.update({reservation.attempt: reservation for reservation in changes.reservations})
        self._pools.update({row.pool.id: row for row in changes.pools})
        self._buckets.update({(bucket.pool, (bucket.start, bucket.end)): bucket for bucket in changes.buckets})
        return answer


def done(act: Callable[[], Answer]) -> "asyncio.Future[Answer]":
    """A future of what has been done already."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    future.set_result(act())
    return future
