"""Gives each pool the tally that its window asks for, and refuses windows that make no sense. Pure."""

from typing import assert_never

from quota.bucket_tally import FixedTally, RollingTally
from quota.level_tally import ConcurrentTally, GcraTally
from quota.pool import Concurrent, Fixed, Gcra, Pool, Rolling
from quota.rows import PoolRow
from quota.tally import Tally
from quota.windows import fixed_span


def tally_of(row: PoolRow) -> Tally:
    """An empty tally over this row."""
    match row.pool.window:
        case Fixed() as window:
            return FixedTally(row, window)
        case Rolling() as window:
            return RollingTally(row, window)
        case Gcra() as window:
            return GcraTally(row, window)
        case Concurrent():
            return ConcurrentTally(row)
    assert_never(row.pool.window)


def check(pool: Pool) -> None:
    """Raises ValueError for what cannot be counted: a negative cap, an empty window, an unknown zone."""
    if pool.cap < 0 or pool.margin < 0:
        raise ValueError(f"pool {pool.id}: cap {pool.cap} and margin {pool.margin}; expected 0 or more")
    match pool.window:
        case Fixed() as window:
            if window.guard < 0:
                raise ValueError(f"pool {pool.id}: guard {window.guard}; expected 0 or more microseconds")
            fixed_span(window, 0)
        case Rolling(length, slots):
            if length <= 0 or slots <= 0:
                raise ValueError(f"pool {pool.id}: {slots} slots of {length} microseconds; expected 1 or more of each")
        case Gcra(length):
            if length <= 0:
                raise ValueError(f"pool {pool.id}: length {length}; expected 1 microsecond or more")
        case Concurrent():
            pass
        case _:
            assert_never(pool.window)
