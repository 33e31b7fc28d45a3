"""Whether a pool grants an amount now, when it would, and how it stands. Pure."""

from collections.abc import Mapping
from typing import Literal

from quota.ledger import Denied, Headroom
from quota.pool import Micros
from quota.tally import Tally
from quota.windows import ENDLESS


def fits(tally: Tally, now: Micros, amount: int) -> bool:
    """The one inequality: used + reserved + amount <= cap - margin, in every window that counts now."""
    row = tally.row
    return row.closed_until <= now and tally.free(now) - row.reserved - amount >= margin_now(tally, now)


def margin_now(tally: Tally, now: Micros) -> int:
    """What is never granted, and what refusals have added to it for now."""
    row = tally.row
    return row.pool.margin + row.grown if now < row.grown_until else row.pool.margin


def denied(tallies: Mapping[str, Tally], now: Micros, amounts: Mapping[str, int]) -> Denied:
    """What stands in the way of an attempt that at least one pool does not grant."""
    for name in amounts:
        if name not in tallies:
            return Denied(name, "unknown", None)
    last: tuple[Micros, str] = (now, "")
    for name, amount in amounts.items():
        tally = tallies[name]
        opens = _opens(tally, now, now, amount)
        if opens is None:
            return Denied(name, _why(tally, now, amount, None), None)
        if not fits(tally, now, amount) and (opens > last[0] or not last[1]):
            last = (opens, name)
    opens_at, worst = last
    why = _why(tallies[worst], now, amounts[worst], opens_at)
    together = opens_at
    while True:  # a pool that opens first may not be open any more when the last one does
        later = together
        for name, amount in amounts.items():
            opens = _opens(tallies[name], now, later, amount)
            if opens is None:
                return Denied(name, _why(tallies[name], now, amount, None), None)
            later = opens
        if later == together:
            return Denied(worst, why, together)
        together = later


def headroom_of(tally: Tally, now: Micros) -> Headroom:
    """How a pool stands at `now`."""
    row = tally.row
    margin = margin_now(tally, now)
    free, cap = tally.free(now), tally.cap(now)
    closed = row.closed_until > now
    left = 0 if closed else max(0, free - row.reserved - margin)
    full_again = tally.opens(now, max(now, row.closed_until), cap)
    return Headroom(
        pool=row.pool,
        cap=cap,
        margin=margin,
        used=cap - free,
        reserved=row.reserved,
        left=left,
        opens_at=None if left else _opens(tally, now, now, 1),
        resets_at=None if full_again is None or full_again <= now or full_again >= ENDLESS else full_again,
        closed_until=row.closed_until if closed else None,
        source=row.source,
        observed_at=row.observed_at,
        shares=tally.shares(now),
    )


def _opens(tally: Tally, now: Micros, after: Micros, amount: int) -> Micros | None:
    """The first moment from `after` on at which it is granted, if what is open is settled in full at `now`."""
    row = tally.row
    begin = max(after, row.closed_until)
    if begin < row.grown_until:
        opens = tally.opens(now, begin, amount + row.pool.margin + row.grown)
        if opens is not None and opens < row.grown_until:
            return opens
        begin = row.grown_until
    return None if begin >= ENDLESS else tally.opens(now, begin, amount + row.pool.margin)


def _why(tally: Tally, now: Micros, amount: int, opens: Micros | None) -> Literal["closed", "spent", "too_large"]:
    row = tally.row
    if amount + row.pool.margin > max(row.cap, row.next_cap if row.next_from else 0):
        return "too_large"
    return "closed" if row.closed_until > now and (opens is None or opens <= row.closed_until) else "spent"
