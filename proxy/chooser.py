"""Chooses who answers a request: gathers what the pure choice looks at; what is slow is done off the event loop."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from backends.request import EmbeddingRequest, Request
from proxy.outcome import Call, Routed
from proxy.routing.choosing import QUOTA, State, decide
from proxy.routing.constraints import affordable, allowed, asks_of
from proxy.routing.facts import facts_of
from proxy.routing.rules import Rules
from proxy.routing.values import Decision, Facts, Ordered, Pick, Scored
from proxy.runtime import Candidate, Route, Runtime
from proxy.wire.extras import NO_WISH, wish_of

LONG = 1000  # characters of a question; a score of more takes too long for the event loop
NO_GROUPS: Mapping[str, frozenset[str]] = MappingProxyType({})


class Scorer(Protocol):
    """A learned router with its calibration. Called from any thread."""

    def scored(self, question: str) -> Scored:
        """Its verdict."""


NO_SCORERS: Mapping[str, Scorer] = MappingProxyType({})


class Choice(Struct, frozen=True):
    """What was chosen, of which route, by what was seen of the request; None where nothing had to be looked at."""

    decision: Decision
    route: Route
    facts: Facts | None = None

    def routed(self) -> Routed | None:
        """For the record of the call; None where neither a rule nor the learned router had a say."""
        made = self.decision
        if self.facts is None or (made.rule is None and made.profile is None):
            return None
        return Routed(
            tuple(each.name for each in made.sets),
            self.facts.question,
            made.seconds,
            made.rule,
            made.profile,
            None if made.scored is None else made.scored.score,
            made.threshold,
            made.scored is not None and made.scored.guarded,
        )


class Chooser:
    """`scorers` are learned routers by name, `groups` those of principals, `at` the time in the operator's zone, and
    `language` tells that of a text. `now` is in seconds, the clock of the state's vitals.
    """

    def __init__(
        self,
        *,
        state: State,
        rules: Rules = Rules(()),  # noqa: B008  # it is immutable
        groups: Mapping[str, frozenset[str]] = NO_GROUPS,
        scorers: Mapping[str, Scorer] = NO_SCORERS,
        language: Callable[[str], str | None] | None = None,
        now: Callable[[], float] = time.monotonic,
        at: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._state, self._rules, self._groups, self._scorers = state, rules, groups, scorers
        self._language = language if rules.ask_language else None
        self._now, self._at = now, at

    async def choose(
        self, call: Call, name: str, route: Route, request: Request | EmbeddingRequest, runtime: Runtime
    ) -> Choice:
        """Who is asked for `name`, in order, and why. Raises what says why nobody may be."""
        began = time.perf_counter()
        facts, rule, scored = await self._facts(call, name, route, request), None, None
        if facts is not None and (found := self._rules.first(facts)) is not None:
            route, rule = runtime.used(found.use, route.alias), found.use.name
        if facts is not None and route.ask is not None:
            scored = await self._scored(route.ask.router, facts.question)
        if route.profile is not None:  # all of it is Spending's, with what is done when all is spent
            [among] = route.sets
            candidates, passed = affordable(among.candidates, facts, among.max_price)
            picks = tuple([Pick(each, QUOTA) for each in candidates])
            decision = Decision((Ordered(among.name, picks, among.profile),), passed, rule)
        else:
            decision = decide(route, facts, asks_of(request), self._state, self._now(), rule=rule, scored=scored)
        return Choice(replace(decision, seconds=time.perf_counter() - began), route, facts)

    def may(self, choice: Choice, candidate: Candidate) -> bool:
        """Whether the caller allows one that is in no set of the choice."""
        return choice.facts is None or allowed(candidate, choice.facts, self._state.own)

    def answered(self, choice: Choice, candidate: Candidate) -> None:
        """Who has answered, for the next time that somebody goes on with the conversation."""
        if choice.facts is not None and any(each.sticky == "conversation" for each in choice.route.sets):
            target = candidate.backend.name, candidate.model
            self._state.conversations.stick(choice.facts.conversation, target, self._now())

    async def _facts(self, call: Call, name: str, route: Route, request: Request | EmbeddingRequest) -> Facts | None:
        """What there is to see; None where nothing depends on it."""
        if isinstance(request, EmbeddingRequest):
            return None
        plain = route.ask is None and len(route.sets) == 1 and len(route.sets[0].candidates) == 1
        if (plain or route.profile is not None) and wish_of(request) == NO_WISH and not self._rules.concern(name):
            return None
        look = partial(facts_of, request, call, model=name, at=self._at(), groups=self._groups, language=self._language)
        return await asyncio.to_thread(look) if self._language is not None else look()

    async def _scored(self, router: str, question: str) -> Scored | None:
        """What the learned router says; None where there is nothing to read, or no router."""
        scorer = self._scorers.get(router)
        if scorer is None or not question:
            return None
        return scorer.scored(question) if len(question) <= LONG else await asyncio.to_thread(scorer.scored, question)
