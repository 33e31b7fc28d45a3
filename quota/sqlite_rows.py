"""The rows of a Book in the tables of quota.db: read what changed, write what changed. Knows no rules."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import json
from msgspec.structs import replace

from quota.ledger import Attempt, Change, Cooldown, Operation
from quota.pool import Pool
from quota.rows import Bucket, Changes, PoolRow, Reservation, Rows, Share
from quota.sql import queries as named
from quota.sql import run
from quota.sqlite_file import SqliteFile, Synchronous

MIGRATIONS = (
    (
        "create_mark",
        "create_first_mark",
        "create_pool",
        "create_bucket",
        "create_bucket_by_until",
        "create_bucket_by_seq",
        "create_share",
        "create_share_by_until",
        "create_share_by_seq",
        "create_reservation",
        "create_open_reservation",
        "create_cooldown",
        "create_operation",
        "create_operation_is_never_changed",
        "create_operation_is_only_pruned",
    ),
)
"""The queries that lead from each version of the schema to the next. Only ever added to."""

SQL: Mapping[str, str] = named("quota")
Line: TypeAlias = tuple[Any, ...]

_encode = json.Encoder(enc_hook=dict).encode  # what is no dict is a mapping that cannot be changed
_pool = lru_cache(maxsize=4096)(json.Decoder(Pool).decode)  # the same few, again and again
_amounts = json.Decoder(dict[str, int]).decode
_changes = json.Decoder(dict[str, Change]).decode


def ledger_file(path: Path, synchronous: Synchronous) -> SqliteFile:
    """The file at `path`."""
    return SqliteFile(path, queries=SQL, migrations=MIGRATIONS, synchronous=synchronous)


def asked(since: int) -> Sequence[tuple[str, Line]]:
    """Statements, for one transaction, that tell all that was written after an operation, but for reservations.

    0 is before the first one: all that counts.
    """
    which, after = ("_since", (since,)) if since > 0 else ("", ())
    return [
        (SQL["get_mark"], ()),
        (SQL["get_pools"], (since,)),
        (SQL[f"get_buckets{which}"], after),
        (SQL[f"get_shares{which}"], after),
        (SQL["get_cooldowns"], ()),
    ]


def told(results: Sequence[Iterable[Line]]) -> Rows:
    """What `asked` was answered."""
    marks, pools, buckets, shares, cooldowns = results
    [(seq, time)] = marks
    return Rows(
        seq=seq,
        time=time,
        pools=[pool_row(line) for line in pools],
        buckets=[Bucket(*line) for line in buckets],
        shares=[Share(*line) for line in shares],
        cooldowns=[cooldown(line) for line in cooldowns],
    )


def read(database: sqlite3.Connection, since: int) -> Rows:
    """What was written after an operation, but for reservations. In the transaction that is open."""
    return told([database.execute(*each).fetchall() for each in asked(since)])


def ended_since(database: sqlite3.Connection, seq: int, ours: AbstractSet[Attempt]) -> Sequence[Reservation]:
    """Those of our reservations that ended after that operation."""
    ended = {Attempt(*line) for line in database.execute(SQL["get_ended_since"], (seq,))}
    return list(find(database, list(ended & ours)).values())


def copied(rows: Rows) -> Rows:
    """The same for another Book: a Book changes the rows that it was given."""
    return replace(
        rows,
        pools=[copy(row) for row in rows.pools],
        buckets=[copy(bucket) for bucket in rows.buckets],
        shares=[copy(share) for share in rows.shares],
    )


def write(database: sqlite3.Connection, changes: Changes) -> None:
    """All of it, in the transaction that is open."""
    run(database, SQL["put_pool"], [_of_pool(row) for row in changes.pools])
    run(database, SQL["put_bucket"], [(b.pool, b.start, b.end, b.until, b.used, b.seq) for b in changes.buckets])
    run(database, SQL["put_share"], [(s.pool, s.start, s.end, s.until, s.tag, s.used, s.seq) for s in changes.shares])
    run(database, SQL["put_reservation"], [_of_reservation(each) for each in changes.reservations])
    run(database, SQL["put_operation"], [of_operation(each) for each in changes.operations])
    run(database, SQL["put_cooldown"], [(each.scope, each.until, each.why, each.guessed) for each in changes.cooldowns])
    for scope in changes.warmed:
        database.execute(SQL["delete_cooldown"], (scope,))
    database.execute(SQL["put_mark"], (changes.seq, changes.time))


def find(database: sqlite3.Connection, attempts: Sequence[Attempt]) -> dict[Attempt, Reservation]:
    """Those of these attempts that have a reservation."""
    found = map(reservation, run(database, SQL["get_reservations"], attempts))
    return {each.attempt: each for each in found}


def open_ones(database: sqlite3.Connection) -> Sequence[Reservation]:
    """Every open reservation."""
    return [reservation(line) for line in database.execute(SQL["get_open"])]


def operations(lines: Iterable[Line]) -> Iterator[Operation]:
    """Lines of the history, read."""
    for seq, at, kind, request_id, number, tag, why, changes in lines:
        attempt = None if request_id is None else Attempt(request_id, number)
        yield Operation(seq, at, kind, attempt, tag, why, _changes(changes))


def pool_row(line: Line) -> PoolRow:
    """One line of the table, read."""
    return PoolRow(_pool(line[0]), *line[1:])


def reservation(line: Line) -> Reservation:
    """One line of the table, read."""
    request_id, number, state, amounts, reserved_at, lease_end, owner, tag, charges, overdraft, late, seq = line
    return Reservation(
        attempt=Attempt(request_id, number),
        state=state,
        amounts=_amounts(amounts),
        reserved_at=reserved_at,
        lease_end=lease_end,
        owner=owner,
        tag=tag,
        charges=_changes(charges),
        overdraft=_amounts(overdraft),
        late=bool(late),
        seq=seq,
    )


def cooldown(line: Line) -> Cooldown:
    """One line of the table, read."""
    scope, until, why, guessed = line
    return Cooldown(scope, until, why, bool(guessed))


def of_operation(operation: Operation) -> Line:
    """One line of the history, to write."""
    request_id, number = operation.attempt or (None, None)
    changes = _text(operation.changes)
    return operation.seq, operation.at, operation.kind, request_id, number, operation.tag, operation.why, changes


def _of_pool(row: PoolRow) -> Line:
    return (
        row.pool.id,
        _text(row.pool),
        row.cap,
        row.source,
        row.said,
        row.next_cap,
        row.next_from,
        row.grown,
        row.grown_until,
        row.closed_until,
        row.observed_at,
        row.reserved,
        row.arrival,
        row.seq,
    )


def _of_reservation(each: Reservation) -> Line:
    return (
        *each.attempt,
        each.state,
        _text(each.amounts),
        each.reserved_at,
        each.lease_end,
        each.owner,
        each.tag,
        _text(each.charges),
        _text(each.overdraft),
        each.late,
        each.seq,
    )


def _text(value: object) -> str:
    return _encode(value).decode() if value else "{}"
