"""Who is asked, in which order, and why: the stages of a choice, one after the other. Pure: time and dice are given.

1 the name, or the rule    has led to a route: its target sets (proxy/runtime.py, routing/rules.py)
2 the learned router       which set is the first; then the stronger ones upward, then the weaker ones
3 constraints              who cannot or may not answer is passed over, with a reason
4 strategies               the order inside of each set
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from backends.base import Backend
from proxy.conversations import Conversations
from proxy.routing.constraints import GUESSES, Asks, Limits, in_the_way, none_left
from proxy.routing.strategies import IDLE, Able, Busy, order
from proxy.routing.values import Decision, Facts, Ordered, PassedOver, Pick, Scored, Target
from proxy.routing.vitals import Standing, Vitals
from proxy.runtime import Candidate, Route, RouterAsk, TargetSet

BY_LOAD = frozenset({"least_busy", "two_choices"})
MIDDLE = 0.5  # of the mix, and as a score: for a request without anything that could be scored
QUOTA = "by what is left of its quota"


class State:
    """What a choice looks at besides the request. `busy` tells how busy a backend is; `own` are the backends whose
    machines are the operator's, None for those that look so; `dice` gives numbers from 0 to 1.

    `conversations` remembers who has answered which; its times are those of `decide`.
    """

    def __init__(
        self,
        vitals: Vitals,
        conversations: Conversations[Target],
        dice: Callable[[], float],
        busy: Callable[[Backend], Busy] = lambda _: IDLE,
        own: Collection[str] | None = None,
    ) -> None:
        self.vitals, self.conversations, self.dice, self.busy = vitals, conversations, dice, busy
        self.own = None if own is None else frozenset(own)
        self._turns: Counter[tuple[Target, ...]] = Counter()

    def turn(self, among: TargetSet, *, taken: bool) -> int:
        """How often these targets were the first to be asked; with `taken` they are it once more."""
        targets = tuple([(each.backend.name, each.model) for each in among.candidates])
        turn = self._turns[targets]
        self._turns[targets] = turn + taken
        return turn


class Found(Struct):
    """What constraints leave of one set."""

    among: TargetSet
    able: list[Able]


def decide(
    route: Route,
    facts: Facts | None,
    asks: Asks,
    state: State,
    now: float,
    *,
    rule: str | None = None,
    scored: Scored | None = None,
) -> Decision:
    """Everybody who may answer, once, in order. `rule` is the name of the one that led to `route`; `scored` what the
    learned router said, where the route asks it.

    `now` is in seconds, the clock of the vitals. Raises what `none_left` says when nobody may answer. Without `facts`,
    as for embeddings, only abilities and health count. The decision's `seconds` are left to whoever has a clock.
    """
    look = _Look(facts, asks, state, now)
    sets = route.sets if route.ask is None else laddered(route.sets, route.ask, scored)
    found = [look.at(among) for among in sets]
    if not any(each.able for each in found):
        look.guess(found)
    asked = [each for each in found if each.able]
    if not asked:
        raise none_left(look.passed, facts, look.standing)
    ask = route.ask
    return Decision(
        tuple([_ordered(each, facts, state, now, first=each is asked[0]) for each in asked]),
        tuple(look.passed),
        rule,
        None if ask is None else ask.profile,
        None if ask is None else ask.threshold,
        scored,
    )


def laddered(sets: Sequence[TargetSet], ask: RouterAsk, scored: Scored | None) -> tuple[TargetSet, ...]:
    """The set that the score leads to, then the stronger ones upward, then the weaker ones downward."""
    first = rung(len(sets), ask, scored)
    return (*sets[first:], *reversed(sets[:first]))


def rung(sets: int, ask: RouterAsk, scored: Scored | None) -> int:
    """Which of so many sets comes first, counted from the weakest.

    With a threshold it is the last one from that score on; else the one in whose part of the mix the score lies.
    """
    if ask.threshold is not None:
        return sets - 1 if (MIDDLE if scored is None else scored.score) >= ask.threshold else 0
    share, end, last = MIDDLE if scored is None else scored.share, 0.0, sets - 1
    for place, part in enumerate(ask.shares):
        if part > 0:  # who has no share of the mix is not the first for its highest score either
            end, last = end + part, place
            if share < end:
                break
    return last


class _Look:
    """One look at all candidates of one request, each of which is found once."""

    def __init__(self, facts: Facts | None, asks: Asks, state: State, now: float) -> None:
        self._facts, self._asks, self._state, self._now = facts, asks, state, now
        self._seen: set[Target] = set()
        self.passed: list[PassedOver] = []
        self._guessed: list[tuple[int, Able, PassedOver]] = []  # by set
        self._sets = 0

    def standing(self, candidate: Candidate) -> Standing:
        """How it is for this caller."""
        own_key = candidate.backend.name in self._asks.keys
        return self._state.vitals.standing(candidate, self._now, own_key=own_key)

    def at(self, among: TargetSet) -> Found:
        """Those of a set that may be asked; the others are passed over."""
        limits = Limits(self._state.own, among.max_price)
        timed = self._facts is not None and self._facts.deadline is not None
        loaded = timed or among.strategy in BY_LOAD
        found: list[Able] = []
        for place, candidate in enumerate(among.candidates):
            target = (candidate.backend.name, candidate.model)
            if target in self._seen:
                continue
            self._seen.add(target)
            standing = self.standing(candidate)
            busy = self._state.busy(candidate.backend) if loaded else IDLE
            weight = among.weights[place] if among.weights else 1.0
            able = Able(candidate, standing, busy, weight)
            over = in_the_way(candidate, self._facts, self._asks, standing, wait=busy.wait, limits=limits)
            if over is None:
                found.append(able)
                continue
            self.passed.append(over)
            if over.why in GUESSES:
                self._guessed.append((self._sets, able, over))
        self._sets += 1
        return Found(among, found)

    def guess(self, found: Sequence[Found]) -> None:
        """Nobody else is left: those that were passed over on a guess are tried."""
        for place, able, over in self._guessed:
            found[place].able.append(able)
            self.passed.remove(over)


def _ordered(found: Found, facts: Facts | None, state: State, now: float, *, first: bool) -> Ordered:
    among = found.among
    if among.profile is not None:  # Spending decides
        return Ordered(among.name, tuple([Pick(each.candidate, QUOTA) for each in found.able]), among.profile)
    turn = state.turn(among, taken=first) if among.strategy == "round_robin" else 0
    stuck = None
    if among.sticky == "conversation" and facts is not None:
        stuck = state.conversations.of(facts.conversation, now)
    return Ordered(among.name, order(among, found.able, facts, dice=state.dice, turn=turn, stuck=stuck))
