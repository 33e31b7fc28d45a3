"""The order in which the candidates of one set are asked. Pure: turns and dice are given.

The first is the one that the strategy chooses; all others follow as fallbacks, in the same strategy's order. One that
recovers gets only a part of what it would: by its weight it is first or last.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import inf, log
from typing import TypeAlias

from msgspec import Struct

from backends.base import Load
from proxy.routing.constraints import dearest, dollars
from proxy.routing.values import Facts, Pick, Target
from proxy.routing.vitals import UNKNOWN, Standing
from proxy.runtime import Candidate, TargetSet

Dice: TypeAlias = Callable[[], float]

EXPLORED = 0.05  # of requests go to one of whose speed nothing is known, if there is one
USUAL_OUTPUT = 300  # tokens of an answer for which speeds are compared; most end long before they must
ALIKE = 1.1  # times the best time are as good, so that not all go to the same
PLACES = 16  # of a backend that sets no limit, to compare it with those that do
LEAST_CHANCE = 1e-9  # of the dice, whose logarithm is taken


class Busy(Struct, frozen=True):
    """How busy a backend is: how many of ours run there, how many wait for a place, and how many places there are, inf
    for no limit. `wait` is how many seconds a place may take, None while unknown. `load` is what its server says.
    """

    running: int = 0
    waiting: int = 0
    places: float = inf
    wait: float | None = None
    load: Load | None = None

    @property
    def share(self) -> float:
        """How full it would be with one more: 1 when every place is taken. Its memory may be fuller than its places."""
        running, cache = self.running, 0.0
        if self.load is not None:  # others ask that server too; ours are among its own numbers
            running = max(running, self.load.running + self.load.waiting)
            cache = self.load.cache_usage or 0.0
        return max((running + self.waiting + 1) / (PLACES if self.places == inf else max(1.0, self.places)), cache)


IDLE = Busy()


class Able(Struct, frozen=True):
    """A candidate that nothing is in the way of, how it is, and how busy its backend."""

    candidate: Candidate
    standing: Standing = UNKNOWN
    busy: Busy = IDLE
    weight: float = 1.0  # the operator's

    @property
    def target(self) -> Target:
        """Its backend's name, and its model."""
        return self.candidate.backend.name, self.candidate.model


Reasoned: TypeAlias = tuple[Able, str]


def order(
    among: TargetSet,
    able: Sequence[Able],
    facts: Facts | None,
    *,
    dice: Dice,
    turn: int = 0,
    stuck: Target | None = None,
) -> tuple[Pick, ...]:
    """Each of `able` once. `turn` counts how often this set was asked; `stuck` has answered the conversation."""
    if len(able) == 1:
        return (Pick(able[0].candidate, "no other may be asked" if len(among.candidates) > 1 else ""),)
    conversation = None if facts is None else facts.conversation
    if among.sticky == "hash" and conversation is not None:
        rows = hashed(able, conversation)
    else:
        rows = ranked(among, able, facts, dice, turn)
        if among.strategy != "weighted":
            rows = recovering(rows, dice)
        if among.sticky == "conversation":
            rows = sticking(rows, stuck)
    return tuple([Pick(each.candidate, reason) for each, reason in rows])


def ranked(among: TargetSet, able: Sequence[Able], facts: Facts | None, dice: Dice, turn: int) -> list[Reasoned]:
    """By the strategy alone."""
    match among.strategy:
        case "weighted":
            return weighted(able, dice)
        case "round_robin":
            here = turn % len(able)
            first, *others = (*able[here:], *able[:here])
            return [(first, "its turn"), *((each, "next in turn") for each in others)]
        case "least_busy":
            return least_busy(able, dice)
        case "two_choices":
            return two_choices(able, dice)
        case "lowest_cost":
            return lowest_cost(able, facts)
        case "lowest_latency":
            return lowest_latency(able, facts, dice)
    places = {id(each): place for place, each in enumerate(among.candidates, start=1)}
    return [(each, f"no. {places[id(each.candidate)]} of the operator's order") for each in able]


def weighted(able: Sequence[Able], dice: Dice) -> list[Reasoned]:
    """Drawn one after the other, each as often as its weight says (Efraimidis and Spirakis, 2006)."""
    whole = sum(each.weight for each in able) or 1.0
    drawn = []
    for place, each in enumerate(able):
        weight = each.weight * each.standing.weight
        key = -log(max(LEAST_CHANCE, dice())) / weight if weight > 0 else inf
        drawn.append((key, place, each))
    drawn.sort(key=lambda row: row[:2])
    return [(each, f"drawn, as {each.weight / whole:.0%} of requests are") for _, _, each in drawn]


def least_busy(able: Sequence[Able], dice: Dice) -> list[Reasoned]:
    """The emptiest first; of those that are as empty one is drawn."""
    rows = sorted(((each.busy.share, dice(), place) for place, each in enumerate(able)))
    told = [(able[place], f"{share:.0%} full") for share, _, place in rows]
    (first, full), *others = told
    return [(first, f"the least busy of {len(able)}, {full}"), *others]


def two_choices(able: Sequence[Able], dice: Dice) -> list[Reasoned]:
    """Two are drawn, and the emptier of them is asked: nearly as good as the least busy, and no herd runs to it."""
    rows = sorted((dice(), place) for place in range(len(able)))
    first, second, *others = (able[place] for _, place in rows)
    if second.busy.share < first.busy.share:
        first, second = second, first
    chosen = f"the less busy of two that were drawn, {first.busy.share:.0%} full and {second.busy.share:.0%}"
    return [(first, chosen), (second, "the busier of two that were drawn"), *((each, "not drawn") for each in others)]


def lowest_cost(able: Sequence[Able], facts: Facts | None) -> list[Reasoned]:
    """The cheapest at its longest answer; whose price is not known comes last."""
    rows = []
    for place, each in enumerate(able):
        cost = price_of(each.candidate, facts)
        why = "its price is not known" if cost is None else f"of {len(able)} by price, {dollars(cost)} at the longest"
        rows.append((inf if cost is None else cost, place, each, why))
    rows.sort(key=lambda row: row[:2])
    return [(each, why) for _, _, each, why in rows]


def price_of(candidate: Candidate, facts: Facts | None) -> int | None:
    """What it costs at most, in micro-dollars; without facts, what it reads, per million tokens."""
    if facts is None:
        return None if candidate.price is None else candidate.price.input
    return dearest(candidate, facts)


def lowest_latency(able: Sequence[Able], facts: Facts | None, dice: Dice) -> list[Reasoned]:
    """Whose answer is expected soonest. Of whom nothing is known is asked once in a while, and after all others."""
    tokens = USUAL_OUTPUT if facts is None else min(USUAL_OUTPUT, facts.output_tokens)
    known: list[tuple[float, float, int]] = []
    unknown: list[tuple[float, int]] = []
    for place, each in enumerate(able):
        if (seconds := expected(each.standing, tokens)) is None:
            unknown.append((dice(), place))
        else:
            known.append((seconds, dice(), place))
    best = min(known)[0] * ALIKE if known else 0.0
    known.sort(key=lambda row: (max(row[0], best), row[1]))
    rows = []
    for seconds, _, place in known:
        told = f"{seconds:.2f} s to a usual answer"
        rows.append((able[place], f"the quickest of {len(able)}: {told}" if seconds <= best else told))
    untried = [(able[place], "nothing is known yet of its speed") for _, place in sorted(unknown)]
    return [*untried[:1], *rows, *untried[1:]] if untried and rows and dice() < EXPLORED else [*rows, *untried]


def expected(standing: Standing, tokens: int) -> float | None:
    """Seconds until so many tokens are there; None where it was not asked lately."""
    if standing.first_token is None:
        return None
    return standing.first_token + (standing.per_token or 0.0) * tokens


def hashed(able: Sequence[Able], conversation: str) -> list[Reasoned]:
    """By rendezvous hashing (Thaler and Ravishankar, 1998), weighted: each conversation has its own order of targets,
    so one more target takes only its share of them from the others, and one that is gone gives back only its own.
    """
    rows = []
    for place, each in enumerate(able):
        text = "\0".join((conversation, *each.target)).encode("utf-8", "surrogatepass")
        drawn = (int.from_bytes(blake2b(text, digest_size=8).digest(), "big") + 1) / (2**64 + 1)
        rows.append((-log(drawn) / each.weight if each.weight > 0 else inf, place, each))
    rows.sort(key=lambda row: row[:2])
    return [(each, "this conversation's by its hash") for _, _, each in rows]


def recovering(rows: list[Reasoned], dice: Dice) -> list[Reasoned]:
    """Those that have just recovered come last, but for a part of the requests that grows."""
    late = [row for row in rows if row[0].standing.weight < 1.0 and dice() >= row[0].standing.weight]
    if not late:
        return rows
    return [*(row for row in rows if row not in late), *((each, "it has just recovered") for each, _ in late)]


def sticking(rows: list[Reasoned], stuck: Target | None) -> list[Reasoned]:
    """Who answers the conversation already goes on with it."""
    for place, (each, _) in enumerate(rows):
        if each.target == stuck:
            return [(each, "it answers this conversation already"), *rows[:place], *rows[place + 1 :]]
    return rows
