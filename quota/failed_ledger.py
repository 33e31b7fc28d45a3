"""A ledger that could not be opened: it knows its pools and grants nothing, so that only who spends is refused."""

from collections.abc import Mapping

from quota.ledger import Attempt, Denied, Granted, LedgerUnusable
from quota.memory_ledger import MemoryLedger


class FailedLedger(MemoryLedger):
    """A Ledger (quota/ledger.py). `why` is what who reserves is told."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        raise LedgerUnusable(self._why)
