"""What every kind of window can say of one pool's use: what is free, a charge, when there is room. Pure.

A charge counts in every window in which the provider may have counted it. Open reservations are in no window: they
count against whichever is there, so a request in flight across a reset needs no care. Times are the ledger's and never
go back from call to call. What is reserved counts as settled in full at `now` where the future is asked for.
"""

from collections.abc import Iterable
from typing import Protocol, TypeAlias

from quota.ledger import Change
from quota.pool import Micros
from quota.rows import Bucket, PoolRow, Share, Span

Spans: TypeAlias = tuple[tuple[Micros, Micros, int], ...]
Charge: TypeAlias = tuple[Micros, Spans]
"""By how much the arrival time moved, and (start, end, amount) of each bucket that changed: of a Change."""

NOTHING: Charge = (0, ())


class Tally(Protocol):
    """One pool's use. `touched` and `shared` gather the rows that have changed, for the Book to take."""

    row: PoolRow
    touched: dict[Span, Bucket]
    shared: dict[tuple[Span, str], Share]

    def free(self, now: Micros) -> int:
        """The cap less what is used, in the window that has least; below 0 if overdrawn. Counts nothing reserved."""

    def cap(self, now: Micros) -> int:
        """The cap of that window."""

    def charge(self, now: Micros, since: Micros, upto: Micros, amount: int, tag: str | None = None) -> Charge:
        """Book what the provider has counted at some moment from `since` to `upto`, by whom."""

    def observed(self, now: Micros, at: Micros, used: int) -> Charge:
        """The provider had counted `used` at `at`: book what goes beyond ours, open reservations included."""

    def give_back(self, now: Micros, charged: Change, amount: int, tag: str) -> Charge:
        """Take `amount` of an earlier charge back, where it still counts."""

    def reduce(self, now: Micros, amount: int) -> Charge:
        """Take `amount` off whatever is used now."""

    def opens(self, now: Micros, after: Micros, need: int) -> Micros | None:
        """The first moment from `after` on at which `need` is free, if nothing more is spent. None: never."""

    def reset(self, now: Micros) -> Micros:
        """When what was used until now no longer counts, whatever it was."""

    def recap(self, now: Micros, cap: int) -> Charge:
        """Put another cap in force, which frees nothing of what is used."""

    def shares(self, now: Micros) -> dict[str, int]:
        """What each tag has used in the window that `free` looks at."""

    def load(self, now: Micros, buckets: Iterable[Bucket], shares: Iterable[Share]) -> None:
        """Take rows as they are stored, and forget those that no longer count: it may never be asked."""

    def clear(self, now: Micros) -> Charge:
        """Nothing is used any more: another window counts on."""
