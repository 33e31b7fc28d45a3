"""What the writer's calls work on: a Book that is as new as the file, and its changes on their way to the tables."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from msgspec import DecodeError, Struct, ValidationError, json
from msgspec.structs import replace

from quota.audit import opening
from quota.book import Book
from quota.ledger import Attempt, Denied, Granted, Operation, Settled
from quota.owner import Owner
from quota.pool import Micros
from quota.rows import Changes, Reservation, Rows, Span
from quota.sqlite_file import FileUnusable
from quota.sqlite_rows import (
    MIGRATIONS,
    SQL,
    copied,
    ended_since,
    find,
    of_operation,
    open_ones,
    operations,
    read,
    write,
)

PRUNED_AT_ONCE = 1000  # operations in one transaction, so that nobody waits long for the lock


class LedgerWork:
    """Belongs to the writer's thread. `publish` is given what is on the disk, and `now` is the ledger's clock."""

    def __init__(
        self, *, owner: Owner, ttl: Micros, now: Callable[[], Micros], publish: Callable[[Sequence[Rows]], None]
    ) -> None:
        self._owner = owner
        self.owner = json.encode(owner).decode()
        self._ttl = ttl
        self._clock = now
        self._publish = publish
        self._ours: set[Attempt] = set()  # open, and this process's to renew
        self._news: list[Rows] = []  # what the transaction that runs has seen and written
        self._turns: list[Reservation] = []  # and of reservations
        self.now: Micros = 0  # the time of this transaction
        self._found: dict[Attempt, Reservation | None] = {}  # in the file, of what this transaction asks for
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self.book = Book(self._find)

    def begin(self, database: sqlite3.Connection, calls: Sequence[object]) -> "LedgerWork":
        """Read what others wrote since the last transaction; mostly nothing."""
        self.database = database
        asked = [call.attempt for call in calls if isinstance(call, Reserve)]
        self._found = {**dict.fromkeys(asked), **find(database, asked)}
        self._news, self._turns = [], []
        version: int = database.execute(SQL["get_version"]).fetchone()[0]
        if database is not self._connection or version != self._version:
            check_schema(database)
            if database.execute(SQL["get_first"]).fetchone()[0] > self.book.seq:  # what it holds may have ended unseen
                self.book = Book(self._find)
            self._connection, self._version = database, version
            since = self.book.seq
            ended = ended_since(database, since, self._ours) if since else ()
            rows = read(database, since)
            self._news.append(copied(rows))
            self._turns.extend(ended)
            self.book.load(replace(rows, reservations=ended))
        self.now = max(self._clock(), self.book.time)
        return self

    def end(self, database: sqlite3.Connection) -> None:
        """Write what the calls changed."""
        changes = self.book.take()
        if is_empty(changes):
            return
        write(database, changes)
        self._turns.extend(changes.reservations)
        self._news.append(
            Rows(
                seq=changes.seq,
                time=changes.time,
                pools=changes.pools,
                buckets=changes.buckets,
                shares=changes.shares,
                cooldowns=list(self.book.cooldowns(changes.time).values()),
            )
        )

    def committed(self, database: sqlite3.Connection) -> None:
        """Show it, and know which leases are ours."""
        for each in self._turns:
            if each.state == "open" and each.owner == self.owner:
                self._ours.add(each.attempt)
            else:
                self._ours.discard(each.attempt)
        if self._news:
            self._publish(self._news)

    def rolled_back(self) -> None:
        """Forget all, to read it again."""
        self.book = Book(self._find)
        self._connection = None

    @property
    def lease_end(self) -> Micros:
        """Of a lease that begins now."""
        return self.now + self._ttl

    def settle(self, attempt: Attempt, used: Mapping[str, int], answered_at: Micros | None) -> Settled | None:
        """Book what was used. Whatever comes of it, the lease is renewed no more, so that nothing is held for ever."""
        self._ours.discard(attempt)
        return self.book.settle(self.now, attempt, used, answered_at)

    def release(self, attempt: Attempt, why: str) -> bool:
        """Give all back; the lease is renewed no more."""
        self._ours.discard(attempt)
        return self.book.release(self.now, attempt, why)

    def renew(self) -> None:
        """Lengthen every lease of ours."""
        self.book.renew(list(self._ours), self.lease_end)

    def recover(self) -> int:
        """Charge what dead owners and lapsed leases hold. How many reservations that were.

        Ours are alive: a lease that ended while this process did not run is renewed, if nobody else was quicker.
        """
        now = self.now
        dead: dict[str, bool] = {}
        over = []
        for each in open_ones(self.database):
            if each.attempt in self._ours:
                continue
            if each.owner not in dead:
                dead[each.owner] = is_dead(each.owner, self._owner)
            if each.lease_end <= now or dead[each.owner]:
                over.append(each)
        return self.book.lapse(now, over) if over else 0

    def prune(self, before: Micros) -> int:
        """Forget the oldest operations, as many as one transaction should; balances stay. How many went."""
        oldest = operations(self.database.execute(SQL["get_oldest_operations"], (PRUNED_AT_ONCE,)))
        gone = list(takewhile(lambda operation: operation.at < before, oldest))
        new = [operation for operation in gone if operation.kind != "opening"]  # that is the sum of what went before
        self.database.execute(SQL["begin_pruning"], (before,))
        for name in ("delete_buckets", "delete_shares", "delete_cooldowns"):
            self.database.execute(SQL[name], (before,))
        if new:
            self._sum_up(gone)
        self.database.execute(SQL["end_pruning"])
        return len(new)

    def _sum_up(self, gone: Sequence[Operation]) -> None:
        """Put one operation in the place of these."""
        last = gone[-1]
        ended = [each.attempt for each in gone if each.attempt and each.kind in ("settle", "release", "lapse")]
        changes = opening(gone, self._is_kept)
        self.database.execute(SQL["delete_operations"], (last.seq,))
        self.database.executemany(SQL["delete_ended_reservation"], ended)
        stands_for = Operation(last.seq, last.at, "opening", None, "", "what was pruned", changes)
        self.database.execute(SQL["put_operation"], of_operation(stands_for))

    def _is_kept(self, pool: str, span: Span) -> bool:
        return self.database.execute(SQL["has_bucket"], (pool, *span)).fetchone() is not None

    def _find(self, attempt: Attempt) -> Reservation | None:
        if attempt in self._found:
            return self._found[attempt]
        return find(self.database, [attempt]).get(attempt)


class Reserve(Struct, frozen=True):
    """A reservation as a call: what the file knows of all attempts of a transaction is read at once."""

    attempt: Attempt
    amounts: Mapping[str, int]
    tag: str

    def __call__(self, work: LedgerWork) -> Granted | Denied:
        """Take it, or say why not."""
        return work.book.reserve(
            work.now, self.attempt, self.amounts, tag=self.tag, owner=work.owner, lease_end=work.lease_end
        )


def check_schema(database: sqlite3.Connection) -> None:
    """Raises FileUnusable when somebody has brought the file to another schema since it was opened."""
    schema: int = database.execute(SQL["get_schema"]).fetchone()[0]
    if schema != len(MIGRATIONS):
        raise FileUnusable(
            f"another Streamlane has brought the file to schema {schema}, and this one knows {len(MIGRATIONS)}. "
            "Restart this one with the version of the other."
        )


def is_dead(owner: str, seen_by: Owner) -> bool:
    """Whether the process that wrote this is known to have ended."""
    try:
        return json.decode(owner, type=Owner).is_dead(seen_by)
    except (DecodeError, ValidationError):
        return False


def is_empty(changes: Changes) -> bool:
    """Whether there is nothing to write."""
    return not (
        changes.pools
        or changes.buckets
        or changes.shares
        or changes.reservations
        or changes.cooldowns
        or changes.warmed
        or changes.operations
    )
