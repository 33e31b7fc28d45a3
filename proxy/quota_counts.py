"""Counts what became of reservations, for the metrics. Pure."""

from collections import Counter
from collections.abc import Iterable

from quota.ledger import Denied, Settled


class QuotaCounts:
    """Since the start of this process. What the pools hold is the ledger's to say; this is how they were asked."""

    def __init__(self) -> None:
        self.granted: Counter[str] = Counter()  # by pool
        self.denied: Counter[tuple[str, str]] = Counter()  # by pool and why
        self.overdrafts: Counter[str] = Counter()  # by pool
        self.lapsed = 0

    def grant(self, pools: Iterable[str]) -> None:
        """A reservation of these pools, whatever it takes of each."""
        self.granted.update([*pools])

    def deny(self, denied: Denied) -> None:
        """A reservation that was refused. A pool that nobody knows is no label."""
        if denied.why != "unknown":
            self.denied[denied.pool, denied.why] += 1

    def settle(self, settled: Settled | None) -> None:
        """What a settlement said; None when there was nothing to settle."""
        if settled is not None:
            self.overdrafts.update(settled.overdraft.keys())

    def lapse(self, count: int) -> None:
        """So many reservations were charged in full, because their owner was gone."""
        self.lapsed += count
