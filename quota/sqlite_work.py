"""What the writer's calls work on: a Book that is as new as the file, and its changes on their way to the tables."""

import sqlite3
from collections.abc import Callable, Sequence
from itertools import takewhile

from msgspec import DecodeError, ValidationError, json
from msgspec.structs import replace

from quota.audit import opening
from quota.book import Book
from quota.ledger import Attempt, Operation
from quota.owner import Owner
from quota.pool import Micros
from quota.rows import Changes, Reservation, Rows, Span
from quota.sqlite_rows import SQL, copied, ended_since, find, of_operation, open_ones, operations, read, write

PRUNED_AT_ONCE = 1000  # operations in one transaction, so that nobody waits long for the lock


class LedgerWork:
    """Belongs to the writer's thread. `publish` is given what is on the disk, and `now` is the ledger's clock."""

    def __init__(
        self, *, owner: Owner, ttl: Micros, now: Callable[[], Micros], publish: Callable[[Sequence[Rows]], None]
    ) -> None:
        self._owner = owner
        self.owner = json.encode(owner).decode()
        self._ttl = ttl
        self._now = now
        self._publish = publish
        self._ours: set[Attempt] = set()  # open, and this process's to renew
        self._news: list[Rows] = []  # what the transaction that runs has seen and written
        self._turns: list[Reservation] = []  # and of reservations
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self.book = Book(self._find)

    def begin(self, database: sqlite3.Connection) -> "LedgerWork":
        """Read what others wrote since the last transaction; mostly nothing."""
        self.database = database
        self._news, self._turns = [], []
        version: int = database.execute(SQL["get_version"]).fetchone()[0]
        if database is not self._connection or version != self._version:
            self._connection, self._version = database, version
            since = self.book.seq
            ended = ended_since(database, since) if since else ()
            rows = read(database, since)
            self._news.append(copied(rows))
            self._turns.extend(ended)
            self.book.load(replace(rows, reservations=ended))
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
    def now(self) -> Micros:
        """The ledger's time."""
        return max(self._now(), self.book.time)

    @property
    def lease_end(self) -> Micros:
        """Of a lease that begins now."""
        return self.now + self._ttl

    def renew(self) -> None:
        """Lengthen every lease of ours."""
        self.book.renew(list(self._ours), self.lease_end)

    def recover(self) -> int:
        """Charge what dead owners and lapsed leases hold. How many reservations that were."""
        now = self.now
        dead: dict[str, bool] = {}
        over = []
        for each in open_ones(self.database):
            if each.owner not in dead:
                dead[each.owner] = is_dead(each.owner, self._owner)
            if each.lease_end <= now or dead[each.owner]:
                over.append(each)
        return self.book.lapse(now, over) if over else 0

    def prune(self, before: Micros) -> int:
        """Forget the oldest operations, as many as one transaction should; balances stay. How many went."""
        oldest = operations(self.database.execute(SQL["get_oldest_operations"], (PRUNED_AT_ONCE,)))
        gone = list(takewhile(lambda operation: operation.at < before, oldest))
        for name in ("delete_buckets", "delete_shares", "delete_cooldowns"):
            self.database.execute(SQL[name], (before,))
        if not gone or gone[-1].kind == "opening":  # the sum of what went before, alone
            return 0
        last = gone[-1]
        ended = [each.attempt for each in gone if each.attempt and each.kind in ("settle", "release", "lapse")]
        changes = opening(gone, self._is_kept)
        self.database.execute(SQL["begin_pruning"], (before,))
        self.database.execute(SQL["delete_operations"], (last.seq,))
        self.database.executemany(SQL["delete_ended_reservation"], ended)
        stands_for = Operation(last.seq, last.at, "opening", None, "", "what was pruned", changes)
        self.database.execute(SQL["put_operation"], of_operation(stands_for))
        self.database.execute(SQL["end_pruning"])
        return len(gone) - (gone[0].kind == "opening")

    def _is_kept(self, pool: str, span: Span) -> bool:
        return self.database.execute(SQL["has_bucket"], (pool, *span)).fetchone() is not None

    def _find(self, attempt: Attempt) -> Reservation | None:
        return find(self.database, attempt)


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
