"""Recomputes every balance of a ledger from its history, and says what differs. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field

from quota.ledger import Change, Operation
from quota.pool import Micros
from quota.rows import Bucket, PoolRow, Reservation, Span


class Balance(Struct):
    """What the operations say of one pool."""

    reserved: int = 0
    arrival: Micros = 0
    used: defaultdict[Span, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, change: Change) -> None:
        """One more operation on it."""
        self.reserved += change.reserved
        self.arrival += change.arrival
        for start, end, amount in change.used:
            self.used[start, end] += amount


def balances(operations: Iterable[Operation]) -> Mapping[str, Balance]:
    """The sums of all operations, by pool."""
    found: defaultdict[str, Balance] = defaultdict(Balance)
    for operation in operations:
        for pool, change in operation.changes.items():
            found[pool].add(change)
    return found


def opening(operations: Iterable[Operation], kept: Callable[[str, Span], bool]) -> Mapping[str, Change]:
    """One operation's changes that stand for all of these; of a pool's windows, only those that are kept."""
    return {
        pool: Change(
            balance.reserved,
            balance.arrival,
            tuple((*span, used) for span, used in sorted(balance.used.items()) if used and kept(pool, span)),
        )
        for pool, balance in balances(operations).items()
    }


def differences(
    sums: Mapping[str, Balance],
    pools: Iterable[PoolRow],
    buckets: Iterable[Bucket],
    open_ones: Iterable[Reservation],
    pruned: Micros,
) -> Sequence[str]:
    """One sentence for each balance that is not the sum of its operations. Windows that ended by `pruned` are gone."""
    held: defaultdict[str, int] = defaultdict(int)
    for reservation in open_ones:
        for pool, amount in reservation.amounts.items():
            held[pool] += amount
    said = []
    known = set()
    for row in pools:
        name = row.pool.id
        known.add(name)
        balance = sums.get(name, Balance())
        if row.reserved != balance.reserved:
            said.append(f"{name}: {row.reserved} are reserved, its operations say {balance.reserved}.")
        if row.reserved != held[name]:
            said.append(f"{name}: {row.reserved} are reserved, its open reservations hold {held[name]}.")
        if row.arrival != balance.arrival:
            said.append(f"{name}: it is full again at {row.arrival}, its operations say {balance.arrival}.")
    stored: defaultdict[str, dict[Span, int]] = defaultdict(dict)
    for bucket in buckets:
        stored[bucket.pool][bucket.start, bucket.end] = bucket.used
    for name in sorted({*sums, *stored, *held}):
        booked = sums.get(name, Balance()).used
        for span in sorted({*booked, *stored[name]}):
            there, summed = stored[name].get(span), booked.get(span, 0)
            forgotten = there is None and (span[1] <= pruned or not summed)
            if not forgotten and (there or 0) != summed:
                when = f"in the window from {span[0]} to {span[1]}"
                said.append(f"{name}: {there or 0} were used {when}, its operations say {summed}.")
        if name not in known and (held[name] or name in stored or name in sums):
            said.append(f"{name}: it was used and is not defined.")
    return said
