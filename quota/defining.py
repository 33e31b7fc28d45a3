"""What a new definition does to a pool that is already counted in. Pure."""

from quota.ledger import Change
from quota.pool import Micros, Pool
from quota.rows import PoolRow
from quota.tallies import tally_of
from quota.tally import NOTHING, Tally
from quota.windows import ENDLESS


def begun(pool: Pool) -> Tally:
    """A pool of which nothing was used."""
    return tally_of(PoolRow(pool, pool.cap, pool.source))


def redefined(tally: Tally, now: Micros, pool: Pool) -> tuple[Tally, Change]:
    """The tally that counts on, and what that moves. With another window, all that counts now counts as spent now."""
    row = tally.row
    before, row.pool = row.pool, pool
    if row.source == before.source:
        row.source = pool.source
    arrival, used = NOTHING
    if pool.cap != before.cap:
        arrival, used = tally.recap(now, pool.cap)
        row.source, row.said, row.next_from = pool.source, None, 0
        if row.closed_until >= ENDLESS:  # nothing but a new cap can open it
            row.closed_until = row.grown_until = row.grown = 0
    if pool.window == before.window:
        return tally, Change(0, arrival, used)
    spent = tally.cap(now) - tally.free(now)
    cleared = tally.clear(now)
    following = tally_of(row)
    following.touched.update(tally.touched)
    following.shared.update(tally.shared)
    carried = following.charge(now, now, now, spent)
    return following, Change(0, arrival + cleared[0] + carried[0], used + cleared[1] + carried[1])
