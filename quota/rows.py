"""What a ledger's storage keeps: the rows of pools, windows, shares and reservations. Pure values, integers only.

A Book gives its changes as whole rows: a storage inserts or replaces them and never computes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

from quota.ledger import Attempt, Change, Cooldown, Operation
from quota.pool import Micros, Pool

State: TypeAlias = Literal["open", "settled", "released", "lapsed"]
Span: TypeAlias = tuple[Micros, Micros]
"""A window or slot: its first moment, and the first that is no longer in it."""

NO_CHARGES: Mapping[str, Change] = MappingProxyType({})
NO_AMOUNTS: Mapping[str, int] = MappingProxyType({})


class PoolRow(Struct):
    """One pool as it stands. Its key is `pool.id`.

    `pool` is the definition; `cap` and `source` are those in force. A greater limit that was said once waits in `said`;
    one said twice holds from the moment `next_from`, where that is not 0. `grown` is the margin beyond the pool's own
    until `grown_until`. `closed_until` is 0 for a pool that nobody closed. `reserved` is the sum of all open
    reservations, `arrival` GCRA's theoretical arrival time. `seq` is at least that of the last operation on it.
    """

    pool: Pool
    cap: int
    source: str
    said: int | None = None
    next_cap: int = 0
    next_from: Micros = 0
    grown: int = 0
    grown_until: Micros = 0
    closed_until: Micros = 0
    observed_at: Micros | None = None
    reserved: int = 0
    arrival: Micros = 0
    seq: int = 0


class Bucket(Struct):
    """What was used in one window or slot [start, end) of a pool. Its key is (pool, start, end).

    It counts until `until`: then it may be forgotten once its operations are.
    """

    pool: str
    start: Micros
    end: Micros
    until: Micros
    used: int = 0
    seq: int = 0


class Share(Struct):
    """What one tag used in one window or slot of a pool. Its key is (pool, start, end, tag). Counts until `until`."""

    pool: str
    start: Micros
    end: Micros
    until: Micros
    tag: str
    used: int = 0
    seq: int = 0


class Reservation(Struct, frozen=True):
    """What one attempt took. Its key is `attempt`.

    `owner` is the storage's word for the process. `charges` are what its settlement or lapse booked, by pool;
    `overdraft` and `late` are the answer that its settlement was given.
    """

    attempt: Attempt
    state: State
    amounts: Mapping[str, int]
    reserved_at: Micros
    lease_end: Micros
    owner: str
    tag: str
    charges: Mapping[str, Change] = NO_CHARGES
    overdraft: Mapping[str, int] = NO_AMOUNTS
    late: bool = False
    seq: int = 0


class Rows(Struct, frozen=True):
    """What a Book is to know: at first all that counts, later what others have changed since (`seq` greater than its
    own).

    Buckets and shares with `until` at or before `time` may be left out. `cooldowns` are all there are, None where they
    are as they were. `reservations` are those that others have ended; the open ones are found when they are asked for.
    `seq` and `time` are the marks of the last Changes that were written.
    """

    seq: int = 0
    time: Micros = 0
    pools: Sequence[PoolRow] = ()
    buckets: Sequence[Bucket] = ()
    shares: Sequence[Share] = ()
    cooldowns: Sequence[Cooldown] | None = None
    reservations: Sequence[Reservation] = ()


class Changes(Struct, frozen=True):
    """What a Book has changed since it was last asked: rows to insert or replace, in one transaction or not at all.

    `seq` and `time` are to be stored as marks: the next operation of anybody has a greater seq, and nobody's time goes
    back behind it. `warmed` are scopes whose cooldown goes. All rows are copies, with `seq` set.
    """

    seq: int
    time: Micros
    pools: Sequence[PoolRow]
    buckets: Sequence[Bucket]
    shares: Sequence[Share]
    reservations: Sequence[Reservation]
    cooldowns: Sequence[Cooldown]
    warmed: Sequence[str]
    operations: Sequence[Operation]
