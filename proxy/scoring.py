"""In which order to ask models: a score of quality, quota, speed, reliability and scarcity. Pure."""

from collections.abc import Callable, Mapping, Sequence
from math import log, sqrt
from typing import TypeAlias

from msgspec import Struct

from backends.request import EmbeddingRequest, Request
from proxy.estimate import Size
from proxy.free_memory import FreeMemory, Seen
from proxy.selection import MOST_PACE, Because, Chosen, Fit, Profile, Wish
from quota.pool import Micros


class Weights(Struct, frozen=True):
    """What each part of a score counts, for one profile. Each part is between 0 and 1."""

    quality: float
    headroom: float
    speed: float
    reliability: float
    scarcity: float


# An answer that is good enough, from a pool that lasts, is what "auto" means: both lead. Reliability counts less, for
# an attempt that fails costs one try, and cooldowns keep away what is down.
WEIGHTS: Mapping[Profile, Weights] = {
    "auto": Weights(quality=0.30, headroom=0.30, speed=0.15, reliability=0.15, scarcity=0.30),
    "fast": Weights(quality=0.10, headroom=0.15, speed=0.55, reliability=0.15, scarcity=0.15),
    "best": Weights(quality=0.80, headroom=0.05, speed=0.05, reliability=0.10, scarcity=0.00),
    "cheap": Weights(quality=0.05, headroom=0.45, speed=0.05, reliability=0.10, scarcity=0.60),
}
TARGETS: Mapping[Profile, float] = {"fast": 0.3, "best": 1.0, "cheap": 0.1}  # quality beyond it is worth nothing
MIDDLE = 0.4  # the target of "auto" for the easiest request; it goes up to 1 for the hardest
ALIKE = 0.05  # scores that near to the best are as good: one of them is drawn, so that not all go to the same
EXPLORED = 0.02  # of all requests go to whoever may be better than it is known to be
SWITCH = 0.10  # taken from other models than the one that has answered so far: another voice, and no prompt cache
SCARCE = 50  # a cap of so many requests of this size is half scarce: 20 a day are more, 1,000 nearly not
TOLERABLE = 5.0  # seconds for all of it that are worth half the points
EASY, LONG, HARDER = 0.2, 0.3, 0.25  # of the difficulty: any request, a long one, each thing that needs more thought
LONG_BYTES = 20_000  # of texts; the whole of LONG
EFFORTS = frozenset({"medium", "high", "xhigh", "max"})
LEAST_CHANCE = 1e-6  # of the dice, whose logarithm is taken
LOGIT = 0.55  # makes a standard normal of a logistic one, near enough


NEW = Seen()

Row: TypeAlias = tuple[bool, bool, float, int]
"""What decides the order, the least first: costs money, is not the conversation's, the score below zero, its place."""


def difficulty(request: Request | EmbeddingRequest, size: Size) -> float:
    """How able a model this asks for, from 0 to 1, by what can be seen without reading it."""
    if isinstance(request, EmbeddingRequest):
        return 0.0
    found = EASY + LONG * min(1.0, size.bytes / LONG_BYTES)
    found += HARDER * bool(request.tools and request.tool_choice != "none")
    found += HARDER * (request.reasoning_effort in EFFORTS)
    found += HARDER * bool(size.images or size.files)
    return min(1.0, found)


def ordered(
    fits: Sequence[Fit], hard: float, wish: Wish, memory: FreeMemory, *, now: Micros, dice: Callable[[], float]
) -> tuple[Chosen, ...]:
    """In the order in which to ask them: what is free before what is paid, who answers the conversation, the score."""
    stuck = memory.stuck(wish.conversation, now)
    known = [memory.seen.get((fit.candidate.backend.name, fit.candidate.model), NEW) for fit in fits]
    exploring = len(fits) > 1 and dice() < EXPLORED
    scores = [sampled(each, dice()) for each in known] if exploring else scored(fits, known, wish.profile, hard)
    rows: list[Row] = []
    for number, fit in enumerate(fits):
        candidate, score, sticky = fit.candidate, scores[number], False
        if stuck is not None:
            sticky = stuck == (candidate.backend.name, candidate.model)
            score -= 0.0 if candidate.model == stuck[1] else SWITCH
        rows.append((fit.paid, not sticky, -score, number))
    rows.sort()
    if not exploring:
        drawn(rows, dice)
    how: Mapping[bool, Because] = {False: "sticky", True: "explored" if exploring else "score"}
    return tuple([Chosen(fits[row[3]], -row[2], how[row[1]], known[row[3]].seconds) for row in rows])


def scored(fits: Sequence[Fit], known: Sequence[Seen], profile: Profile, hard: float) -> list[float]:
    """How good a choice each is. One loop, for there may be many."""
    weights, target = WEIGHTS[profile], TARGETS.get(profile, MIDDLE + (1.0 - MIDDLE) * hard)
    quality, speed, reliability = weights.quality, weights.speed, weights.reliability
    headroom = weights.headroom / MOST_PACE
    scarcity = weights.scarcity if profile in TARGETS else weights.scarcity * (1.0 - hard)
    scores = []
    for fit, seen in zip(fits, known, strict=True):
        rank, pace = fit.quality, fit.pace
        score = headroom * pace + (quality * rank / target if rank < target else quality)
        score += speed * TOLERABLE / (TOLERABLE + seen.duration) + reliability * seen.reliability
        if pace < MOST_PACE:  # what would be lost anyway is not spared
            score -= scarcity * SCARCE / (SCARCE + fit.times) * min(1.0, MOST_PACE - pace)
        scores.append(score)
    return scores


def sampled(known: Seen, dice: float) -> float:
    """A draw from what its reliability may be: of who was seldom tried that may be anything (Thompson sampling)."""
    mean, tries = known.reliability, known.good + known.bad
    chance = min(1.0 - LEAST_CHANCE, max(LEAST_CHANCE, dice))
    return mean + sqrt(mean * (1.0 - mean) / (tries + 1.0)) * LOGIT * log(chance / (1.0 - chance))


def drawn(rows: list[Row], dice: Callable[[], float]) -> None:
    """Put one of those that are as good as the first before it, the better ones more often."""
    paid, other, best, _ = rows[0]
    if not other:  # it answers the conversation
        return
    most = best + abs(best) * ALIKE
    alike = [row for row in rows if row[0] == paid and row[2] <= most]
    if len(alike) > 1:
        at = dice() * sum(max(LEAST_CHANCE, -row[2]) for row in alike)
        for row in alike:
            at -= max(LEAST_CHANCE, -row[2])
            if at <= 0.0:
                rows.remove(row)
                rows.insert(0, row)
                return
