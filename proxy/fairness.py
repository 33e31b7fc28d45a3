"""What must stay in a pool for others: floors for work that waits less well, and every active person's share. Pure.

A person's guaranteed share of a pool is its cap by the number of those who are active, by weight. Within it nobody asks
what others want; beyond it they borrow, and that only from what no active person's share needs. The last tenth of a
fixed window frees floors and shares step by step: what is not used by its end is lost for everyone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from quota.ledger import Headroom
from quota.pool import MINUTE, Micros

Work: TypeAlias = Literal["interactive", "agent", "batch"]
"""Who waits for the answer: a person, a program that a person waits for, or nobody."""

FLOORS: Mapping[Work, float] = MappingProxyType({"interactive": 0.0, "agent": 0.15, "batch": 0.40})
"""The part of a cap at which each stops."""
SLOTS: Mapping[Work, int] = MappingProxyType({"interactive": 0, "agent": 1, "batch": 2})
"""Of what comes back within a minute, a part is of no use; so many requests are, for whoever sits and waits."""
SLOT_SHARE = 4  # no more than one of so many is kept so: of a cap of 3, all are for everyone
RELAXED = 0.10  # the last part of a fixed window, in which floors and shares go down to nothing
LEAST_COST = 1e-6  # of a cap: what one in line counts at least, for those behind of the same person
SHORT: Micros = MINUTE  # pools that are full again after that long need no floors and shares: one waits a moment


class Standing(Struct, frozen=True):
    """What an operator says of one person: `weight` shares of every pool, and whether they are `exempt` from floors and
    shares.
    """

    weight: int = 1
    exempt: bool = False


COMMON = Standing()
NOBODY: Mapping[str, Standing] = MappingProxyType({})


class Span(NamedTuple):
    """How long a pool's window is, and when it ends; `end` None where it has no end. 0 for what runs at once."""

    length: Micros
    end: Micros | None


class Waiting(NamedTuple):
    """One who stands in line. `cost` is what it will take, as `cost` has it."""

    who: str
    arrival: int
    cost: float = 0.0


def relaxing(span: Span, now: Micros) -> float:
    """How much of floors and shares holds now, from 1 down to 0 at the end of a window."""
    if span.end is None or not span.length:
        return 1.0
    return min(1.0, max(0.0, (span.end - now) / (span.length * RELAXED)))


def floor(
    work: Work, head: Headroom, metric: str, span: Span, now: Micros, *, floors: Mapping[Work, float] = FLOORS
) -> int:
    """How many units of a pool are for more urgent work only."""
    cap = head.cap - head.margin
    if span.length <= SHORT:
        return min(SLOTS[work], cap // SLOT_SHARE) if metric in {"requests", "concurrent_requests"} else 0
    return ceil(cap * floors[work] * relaxing(span, now))


class Shares:
    """The guaranteed shares among those who are active. `who` is one of them, also when they have just come."""

    def __init__(self, who: str, active: Iterable[str], standings: Mapping[str, Standing] = NOBODY) -> None:
        self._weights = {each: standings.get(each, COMMON).weight for each in {who, *active}}
        self._who = who
        self._total = max(1, sum(self._weights.values()))
        self.alone = len(self._weights) == 1 or standings.get(who, COMMON).exempt

    def guaranteed(self, who: str, cap: int) -> int:
        """Whole units of a cap, rounded down: where there are more people than units, there is nothing to guarantee."""
        return cap * self._weights[who] // self._total

    def kept(self, head: Headroom, cap: int, amount: int, span: Span, now: Micros) -> int:
        """How much must be left after this amount, for the others' shares. 0 within one's own."""
        if self.alone or span.length <= SHORT:
            return 0
        shares = head.shares
        if shares.get(self._who, 0) + amount <= self.guaranteed(self._who, cap):
            return 0
        unused = sum(
            max(0, self.guaranteed(each, cap) - shares.get(each, 0)) for each in self._weights if each != self._who
        )
        return ceil(unused * relaxing(span, now))


def cost(amounts: Mapping[str, int], headroom: Mapping[str, Headroom]) -> float:
    """What an attempt takes: of all its pools the greatest part of a cap. One of 20 a day is more than one of 1,000."""
    return max((taken / max(1, headroom[pool].cap) for pool, taken in amounts.items() if pool in headroom), default=0.0)


def had(who: str, headroom: Mapping[str, Headroom], standings: Mapping[str, Standing] = NOBODY) -> float:
    """What a person has had, in the same terms, by weight. Less than nothing for who is exempt: they come first."""
    standing = standings.get(who, COMMON)
    if standing.exempt:
        return -1.0
    most = max((head.shares.get(who, 0) / max(1, head.cap) for head in headroom.values()), default=0.0)
    return most / max(1, standing.weight)


def order(waiting: Sequence[Waiting], use: Mapping[str, float]) -> list[Waiting]:
    """The fair order: who has had least comes first, then who came first. `use` is what each has had (`had`).

    What stands in line before is counted as had already, so nobody gets ahead by asking often.
    """
    ahead: defaultdict[str, float] = defaultdict(float)
    ranked: list[tuple[float, int, Waiting]] = []
    for number, each in enumerate(sorted(waiting, key=lambda one: one.arrival)):
        ranked.append((use.get(each.who, 0.0) + ahead[each.who], number, each))
        ahead[each.who] += max(each.cost, LEAST_COST)
    return [each for _, _, each in sorted(ranked, key=lambda row: row[:2])]
