"""The rules of the ledger: who is granted what, and what each act books. Pure: rows in memory, time as an argument.

A Book belongs to one thread. Its storage loads what others have changed, applies calls, takes the changes and writes
them in one transaction; when anything fails it throws the Book away and loads another. Every act appends an operation
whose changes are additive: their sums are the balances.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy

from msgspec.structs import replace

from quota.defining import begun, redefined
from quota.granting import denied, fits, headroom_of
from quota.ledger import Attempt, Change, Cooldown, Denied, Granted, Headroom, Kind, Observation, Operation, Settled
from quota.observing import observe
from quota.pool import Micros, Pool
from quota.rows import Bucket, Changes, PoolRow, Reservation, Rows, Share
from quota.settling import Settling
from quota.tallies import check, tally_of
from quota.tally import Tally

SETTLED = {(False, False): "", (False, True): "overdraft", (True, False): "late", (True, True): "late, overdraft"}


class Book:
    """All pools, and what is reserved and used of them.

    `find` looks up reservations that this Book does not hold: ended ones, and those that others opened. `time` is the
    latest that was passed in or loaded; an earlier one that is passed in counts as this.
    """

    def __init__(self, find: Callable[[Attempt], Reservation | None]) -> None:
        self.time: Micros = 0
        self.seq = 0
        self._find = find
        self._tallies: dict[str, Tally] = {}
        self._reservations: dict[Attempt, Reservation] = {}  # open ones, and those ended since the last take()
        self._cooldowns: dict[str, Cooldown] = {}
        self._changed: dict[str, Tally] = {}
        self._unsaved: dict[Attempt, Reservation] = {}
        self._cooled: dict[str, Cooldown | None] = {}
        self._operations: list[Operation] = []
        self._taken_seq = 0

    def load(self, rows: Rows) -> None:
        """Take what is stored in place of what is here. Not between a change and its `take`."""
        self.seq = self._taken_seq = max(self.seq, rows.seq)
        self.time = max(self.time, rows.time)
        buckets: dict[str, list[Bucket]] = {}
        shares: dict[str, list[Share]] = {}
        for bucket in rows.buckets:
            buckets.setdefault(bucket.pool, []).append(bucket)
        for share in rows.shares:
            shares.setdefault(share.pool, []).append(share)
        for row in rows.pools:
            tally = self._tallies.get(row.pool.id)
            if tally is None or tally.row.pool.window != row.pool.window:
                self._tallies[row.pool.id] = tally_of(row)
            else:
                tally.row = row
        for name in buckets.keys() | shares.keys():
            self._tallies[name].load(self.time, buckets.get(name, ()), shares.get(name, ()))
        if rows.cooldowns is not None:
            self._cooldowns = {cooldown.scope: cooldown for cooldown in rows.cooldowns}
        for reservation in rows.reservations:
            self._reservations.pop(reservation.attempt, None)

    def take(self) -> Changes:
        """All that has changed since the last time: to be written in one transaction."""
        if (self._changed or self._unsaved or self._cooled) and self.seq == self._taken_seq:
            self.seq += 1  # so that others see rows that no operation touched
        seq = self._taken_seq = self.seq
        pools: list[PoolRow] = []
        buckets: list[Bucket] = []
        shares: list[Share] = []
        for tally in self._changed.values():
            tally.row.seq = seq
            pools.append(copy(tally.row))
            for bucket in tally.touched.values():
                bucket.seq = seq
                buckets.append(copy(bucket))
            for share in tally.shared.values():
                share.seq = seq
                shares.append(copy(share))
            tally.touched.clear()
            tally.shared.clear()
        reservations = list(self._unsaved.values())
        for reservation in reservations:
            if reservation.state != "open":
                self._reservations.pop(reservation.attempt, None)
        changes = Changes(
            seq=seq,
            time=self.time,
            pools=pools,
            buckets=buckets,
            shares=shares,
            reservations=reservations,
            cooldowns=[cooldown for cooldown in self._cooled.values() if cooldown is not None],
            warmed=[scope for scope, cooldown in self._cooled.items() if cooldown is None],
            operations=self._operations,
        )
        self._changed, self._unsaved, self._cooled, self._operations = {}, {}, {}, []
        return changes

    def define(self, now: Micros, pools: Sequence[Pool]) -> None:
        """Make or change these pools; of two with one id the last. Raises ValueError for one that makes no sense; then
        none has changed.
        """
        for pool in pools:
            check(pool)
        now = self._advance(now)
        changes: dict[str, Change] = {}
        for pool in {pool.id: pool for pool in pools}.values():
            tally = self._tallies.get(pool.id)
            if tally is None:
                tally, changes[pool.id] = begun(pool), Change()
            elif tally.row.pool == pool:
                continue
            else:
                tally, changes[pool.id] = redefined(tally, now, pool)
            self._tallies[pool.id] = tally
        if changes:
            self._operate(now, "define", None, "", changes)

    def reserve(
        self, now: Micros, attempt: Attempt, amounts: Mapping[str, int], *, tag: str, owner: str, lease_end: Micros
    ) -> Granted | Denied:
        """Take these amounts of all pools, or of none. Raises ValueError for a negative amount."""
        now = self._advance(now)
        known = self._look_up(attempt)
        if known is not None:
            return Granted(attempt, known.lease_end)
        tallies = self._tallies
        for name, amount in amounts.items():
            if amount < 0:
                raise ValueError(f"{amount} of pool {name}; expected 0 or more")
            tally = tallies.get(name)
            if tally is None or not fits(tally, now, amount):
                return denied(tallies, now, amounts)
        changes: dict[str, Change] = {}
        for name, amount in amounts.items():
            tallies[name].row.reserved += amount
            changes[name] = Change(amount)
        opened = Reservation(attempt, "open", dict(amounts), now, lease_end, owner, tag, seq=self.seq + 1)
        self._keep(opened)
        self._operate(now, "reserve", opened, "", changes)
        return Granted(attempt, lease_end)

    def settle(
        self, now: Micros, attempt: Attempt, used: Mapping[str, int], answered_at: Micros | None = None
    ) -> Settled | None:
        """Book what was used, in place of what was reserved. `answered_at` is when the answer began."""
        now = self._advance(now)
        known = self._look_up(attempt)
        if known is None or known.state == "released":
            return None
        if known.state == "settled":
            return Settled(known.overdraft, known.late)
        settling = Settling(self._tallies, now, known)
        late = known.state == "lapsed"
        if late:
            settling.correct(used)
        else:
            settling.charge(used, answered_at)
        overdraft = settling.overdraft
        self._keep(replace(known, state="settled", overdraft=overdraft, late=late, charges={}, seq=self.seq + 1))
        self._operate(now, "settle", known, SETTLED[late, bool(overdraft)], settling.changes)
        return Settled(overdraft, late)

    def release(self, now: Micros, attempt: Attempt, why: str) -> bool:
        """Give all back."""
        now = self._advance(now)
        known = self._look_up(attempt)
        if known is None or known.state != "open":
            return known is not None and known.state == "released"
        changes: dict[str, Change] = {}
        for name, amount in known.amounts.items():
            self._tallies[name].row.reserved -= amount
            changes[name] = Change(-amount)
        self._keep(replace(known, state="released", seq=self.seq + 1))
        self._operate(now, "release", known, why, changes)
        return True

    def renew(self, attempts: Iterable[Attempt], lease_end: Micros) -> None:
        """Let the leases of those that are still open end then, if that is later."""
        for attempt in attempts:
            known = self._look_up(attempt)
            if known is not None and known.state == "open" and known.lease_end < lease_end:
                self._keep(replace(known, lease_end=lease_end))

    def lapse(self, now: Micros, reservations: Iterable[Reservation]) -> int:
        """Charge in full what is still open of these: their owners are dead, or their leases have ended."""
        now = self._advance(now)
        lapsed = 0
        for reservation in reservations:
            known = self._look_up(reservation.attempt)
            if known is None or known.state != "open":
                continue
            settling = Settling(self._tallies, now, known)
            settling.charge({}, None)
            self._keep(replace(known, state="lapsed", charges=settling.changes, seq=self.seq + 1))
            self._operate(now, "lapse", known, "", settling.changes)
            lapsed += 1
        return lapsed

    def observe(self, now: Micros, observation: Observation) -> None:
        """Take what a provider said. Of a pool that is not defined it is ignored."""
        now = self._advance(now)
        tally = self._tallies.get(observation.pool)
        if tally is None:
            return
        news, change, why = observe(tally, now, observation)
        self._changed[observation.pool] = tally
        if news:
            self._operate(now, "observe", None, why, {observation.pool: change})

    def adjust(self, now: Micros, pool: str, used: int, why: str) -> None:
        """Book `used` more, or less. With 0 or less the pool also opens, if a provider closed it.

        Raises KeyError for a pool that is not defined.
        """
        now = self._advance(now)
        tally = self._tallies[pool]
        if used > 0:
            arrival, spans = tally.charge(now, now, now, used)
        else:
            arrival, spans = tally.reduce(now, -used)
            tally.row.closed_until = tally.row.grown_until = tally.row.grown = 0
        self._operate(now, "adjust", None, why, {pool: Change(0, arrival, spans)})

    def cool(self, now: Micros, cooldown: Cooldown) -> None:
        """Note a cooldown, unless there is a better one."""
        now = self._advance(now)
        old = self._cooldowns.get(cooldown.scope)
        if old is not None and old.until > now:
            better = cooldown.until > old.until if cooldown.guessed == old.guessed else old.guessed
            if not better:
                return
        self._cooldowns[cooldown.scope] = self._cooled[cooldown.scope] = cooldown

    def warm(self, now: Micros, scope: str) -> None:
        """Forget a cooldown."""
        self._advance(now)
        if self._cooldowns.pop(scope, None) is not None:
            self._cooled[scope] = None

    def headroom(self, now: Micros, pools: Iterable[str] | None = None) -> dict[str, Headroom]:
        """Each of these pools as it stands; without names, all."""
        now = self._advance(now)
        return {name: headroom_of(self._tallies[name], now) for name in (self._tallies if pools is None else pools)}

    def cooldowns(self, now: Micros) -> dict[str, Cooldown]:
        """Those that have not ended."""
        now = max(now, self.time)
        return {scope: cooldown for scope, cooldown in self._cooldowns.items() if cooldown.until > now}

    def _advance(self, now: Micros) -> Micros:
        self.time = max(self.time, now)
        return self.time

    def _look_up(self, attempt: Attempt) -> Reservation | None:
        known = self._reservations.get(attempt)
        return self._find(attempt) if known is None else known

    def _keep(self, reservation: Reservation) -> None:
        self._reservations[reservation.attempt] = self._unsaved[reservation.attempt] = reservation

    def _operate(
        self, now: Micros, kind: Kind, reservation: Reservation | None, why: str, changes: Mapping[str, Change]
    ) -> None:
        self.seq += 1
        attempt, tag = (None, "") if reservation is None else (reservation.attempt, reservation.tag)
        self._operations.append(Operation(self.seq, now, kind, attempt, tag, why, changes))
        for name in changes:
            self._changed[name] = self._tallies[name]
