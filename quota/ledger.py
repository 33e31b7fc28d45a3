"""The one Protocol of a ledger, and the values it speaks in. `tests/contract/test_ledger.py` is its suite.

    reserve ──▸ open ──▸ settle    what was used is booked, the rest is free again
                     ├─▸ release   nothing can have reached the provider: all is free again
                     └─▸ lapse     its owner died or slept past the lease: charged in full

For every pool and window, used + reserved <= cap - margin at each grant; all pools of an attempt are taken, or none.
An attempt is one try of one request: whatever is said of it twice has one effect, and the first answer is repeated.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from quota.pool import Micros, Pool

Kind: TypeAlias = Literal["define", "reserve", "settle", "release", "lapse", "observe", "adjust", "opening"]
"""What an operation may be. `opening` carries balances over what was pruned; `lapse` is an expired lease's charge."""


class Attempt(NamedTuple):
    """The `number`th try of one request."""

    request_id: str
    number: int = 1


class Granted(Struct, frozen=True):
    """The reservation is on the disk. It must be settled, released or renewed before `lease_end`."""

    attempt: Attempt
    lease_end: Micros


class Denied(Struct, frozen=True):
    """No pool was touched. `pool` is the one that stands longest in the way.

    `opens_at` is the earliest moment at which the same would be granted, if nothing else is reserved and what is open
    is settled in full; None when it never would be. `why`: "spent" the cap, "closed" by a provider's word, "too_large"
    for the cap at any time, "unknown" pool.
    """

    pool: str
    why: Literal["spent", "closed", "too_large", "unknown"]
    opens_at: Micros | None


class Observation(Struct, frozen=True):
    """What a provider said of one pool at `at`: any of its limit, what is left, and when there is more again.

    It tightens at once: what others spent is booked, a smaller limit is the cap. It loosens nothing in an open fixed
    window; a greater limit that was said twice in a row holds from the next one on, and at once in other windows.
    `refused`: the provider said no although we thought there was room. Then the pool is closed until `resets_at`, or
    where that is not known for the window's length, and its margin grows by a twentieth of the cap until it has reset.
    `source` is header, refusal or api. One that is older than the last one is ignored.
    """

    pool: str
    at: Micros
    source: str
    limit: int | None = None
    remaining: int | None = None
    resets_at: Micros | None = None
    refused: bool = False


class Cooldown(Struct, frozen=True):
    """Something that is not asked until then. `scope` is the caller's word; `guessed` when nobody stated the time."""

    scope: str
    until: Micros
    why: str
    guessed: bool = False


class Headroom(Struct, frozen=True):
    """One pool as it stands. `left` is what would be granted now, never below 0, and 0 while it is closed.

    `opens_at` is when a single unit would be granted, None if now. `resets_at` is when all of the cap would be there
    if nothing more were spent, None where that is now or never. `cap` and `margin` are those in force, which a provider
    may have changed. `observed_at` is the last observation's time. `shares` is what each tag has used of it, in its
    window.
    """

    pool: Pool
    cap: int
    margin: int
    used: int
    reserved: int
    left: int
    opens_at: Micros | None
    resets_at: Micros | None
    closed_until: Micros | None
    source: str
    observed_at: Micros | None
    shares: Mapping[str, int]


class Settled(Struct, frozen=True):
    """What a settlement did. `overdraft` is what went beyond the cap, by pool; `late`: the lease had lapsed before."""

    overdraft: Mapping[str, int]
    late: bool = False


class Change(Struct, frozen=True, array_like=True):
    """What one operation does to one pool: to what is reserved, to the GCRA's theoretical arrival time, and to what
    was used in each window or slot, as (start, end, amount).
    """

    reserved: int = 0
    arrival: Micros = 0
    used: tuple[tuple[Micros, Micros, int], ...] = ()


class Operation(Struct, frozen=True):
    """One line of the history. `changes` are by pool; their sums are the balances."""

    seq: int
    at: Micros
    kind: Kind
    attempt: Attempt | None
    tag: str
    why: str
    changes: Mapping[str, Change]


class LedgerUnusable(Exception):
    """The ledger cannot be read or written. Says why, and what to do."""


class Ledger(Protocol):
    """Pools, and what is reserved and used of them. Every method may be called from any task.

    All that is awaited here has reached the disk when it returns, where there is one; what a call began is done also
    if its awaiting is cancelled. Raises LedgerUnusable; a settlement or release that did is written once that works.
    """

    async def define(self, pools: Sequence[Pool]) -> None:
        """Make these pools, or give them these caps, windows and labels; others stay as they are.

        What a provider said of a cap since (Observation) holds until the cap given here changes.
        """

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        """Take `amounts` of these pools, all or none, for as long as this process lives and renews the lease.

        `tag` says for whom. Amounts are 0 or more. A denial is not remembered: the same may be tried again.
        """

    def settle(
        self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None
    ) -> Awaitable[Settled | None]:
        """Book what was used; of a pool that is not named, all that was reserved. None for an attempt that is not
        open, nor lapsed. It is queued by the call; awaiting it waits for the disk. `answered` is how many seconds ago
        the provider's answer began: it had counted the request by then.
        """

    def release(self, attempt: Attempt, why: str) -> Awaitable[bool]:
        """Give all back: nothing can have reached the provider. Whether it was open. Queued by the call."""

    def observe(self, observation: Observation) -> Awaitable[None]:
        """Take what a provider said. Queued by the call."""

    def cool(self, cooldown: Cooldown) -> Awaitable[None]:
        """Note a cooldown. A later end of one scope wins, and a stated one over a guess. Queued by the call."""

    def warm(self, scope: str) -> Awaitable[None]:
        """Forget the cooldown of this scope. Queued by the call."""

    def headroom(self) -> Mapping[str, Headroom]:
        """Every pool, as far as this process knows: exact for its own acts, seconds old for those of others."""

    def cooldowns(self) -> Mapping[str, Cooldown]:
        """Those that have not ended, by scope; as fresh as `headroom`."""

    def now(self) -> Micros:
        """The ledger's time, which never goes back."""

    async def adjust(self, pool: str, used: int, why: str) -> None:
        """Book `used` more, or less where it is negative, by an operator's word; never below 0. KeyError: no pool."""

    async def recover(self) -> int:
        """Charge in full what dead owners and lapsed leases hold. How many reservations that were."""

    async def history(self, since: Micros = 0, limit: int = 1000, pool: str | None = None) -> Sequence[Operation]:
        """The newest operations, newest first."""

    async def reconcile(self) -> Sequence[str]:
        """Recompute every balance from the operations. One sentence for each that differs; none when all is well."""

    async def prune(self, before: Micros) -> int:
        """Forget operations and closed windows older than that; balances stay. How many operations went."""
