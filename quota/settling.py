"""What the end of one reservation books: its settlement, its lapse, or a settlement after it had lapsed. Pure."""

from collections.abc import Mapping

from quota.ledger import Change
from quota.pool import Micros
from quota.rows import Reservation
from quota.tally import Charge, Tally

NO_CHANGE = Change()


class Settling:
    """`changes` are what was moved, by pool; `overdraft` by how much a pool went beyond its cap."""

    def __init__(self, tallies: Mapping[str, Tally], now: Micros, reservation: Reservation) -> None:
        self.changes: dict[str, Change] = {}
        self.overdraft: dict[str, int] = {}
        self._tallies = tallies
        self._now = now
        self._reservation = reservation

    def charge(self, used: Mapping[str, int], answered_at: Micros | None) -> None:
        """Book what was used in place of what was reserved; of a pool that is not named, all that was reserved."""
        now, since, tag = self._now, self._reservation.reserved_at, self._reservation.tag
        answered = now if answered_at is None else min(now, max(answered_at, since))
        for name, amount in self._reservation.amounts.items():
            tally = self._tallies[name]
            row = tally.row
            spent = used.get(name, amount)
            upto = answered if row.pool.on_arrival else now
            if spent > amount:
                moved, booked = self._beyond(name, tally, spent, amount, upto)
            else:
                row.reserved -= amount
                moved, booked = tally.charge(now, since, upto, max(spent, 0), tag)
            self.changes[name] = Change(-amount, moved, booked)
        for name in used.keys() - self._reservation.amounts.keys():
            self._add(name, used[name])

    def correct(self, used: Mapping[str, int]) -> None:
        """Its lapse has booked all that was reserved. What was not used is given back where that still counts."""
        known = self._reservation
        for name, spent in used.items():
            booked = known.amounts.get(name, 0)
            if spent < booked:
                charged = known.charges.get(name, NO_CHANGE)
                self.changes[name] = Change(
                    0, *self._tallies[name].give_back(self._now, charged, booked - max(spent, 0), known.tag)
                )
            else:
                self._add(name, spent - booked)

    def _add(self, name: str, amount: int) -> None:
        """Book what nobody had reserved."""
        tally = self._tallies.get(name)
        if tally is not None and amount > 0:
            self.changes[name] = Change(0, *self._beyond(name, tally, amount, 0, self._now))

    def _beyond(self, name: str, tally: Tally, spent: int, amount: int, upto: Micros) -> Charge:
        """Book more than was reserved."""
        now, known = self._now, self._reservation
        over = max(0, tally.row.reserved - tally.free(now))
        tally.row.reserved -= amount
        charge = tally.charge(now, known.reserved_at, upto, spent, known.tag)
        over = max(0, tally.row.reserved - tally.free(now)) - over
        if over > 0:
            self.overdraft[name] = over
        return charge
