"""One run of a day: the real dispatcher over simulated backends, and callers who wait, go on, or leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from backends.base import Model
from backends.errors import BackendError
from backends.events import Event, Finished
from backends.request import Message, Request, said
from proxy.chooser import Chooser
from proxy.conversations import Conversations
from proxy.deadlines import Deadlines
from proxy.discovery import Discovery
from proxy.dispatch_setup import STICKY, busy_with
from proxy.dispatcher import Dispatcher
from proxy.outcome import Call, Outcome, Principal
from proxy.places import Places
from proxy.routing.breaker import Rules
from proxy.routing.choosing import State
from proxy.routing.hedging import Hedges
from proxy.routing.vitals import Vitals
from proxy.runtime import Candidate, Route, Runtime, Sticky, Strategy, TargetSet
from proxy.wire.extras import RouteWish
from proxy.wire_errors import wire
from scripts.simulation.backend import CHARACTERS, LENGTH, NAME, SimulatedBackend
from scripts.simulation.traffic import LONGEST, PATIENCE, Talk, Turn, Work

FILLER = "lorem ipsum dolor sit amet " * 2000


@dataclass(frozen=True)
class Ended:
    """One request. `came`, `first` and `ended` are in seconds of the day; `first` None where no token came.

    `how` is "answered"; "refused" with the wire `code`; "broken" in the middle; or "left" before the first token.
    `cost` is in micro-dollars.
    """

    name: str
    user: str
    work: Work
    came: float
    ended: float
    how: Literal["answered", "refused", "broken", "left"]
    first: float | None = None
    backend: str | None = None
    cost: int = 0
    tokens: int = 0
    code: str = ""

    @property
    def waited(self) -> float | None:
        """Seconds to the first token."""
        return None if self.first is None else self.first - self.came


class World:
    """A dispatcher over `backends`, which one target set holds in this order. It lives on the running loop's clock."""

    def __init__(
        self,
        backends: Sequence[SimulatedBackend],
        strategy: Strategy = "ordered",
        *,
        weights: tuple[float, ...] = (),
        sticky: Sticky = "none",
        hedges: Hedges | None = None,
        seed: int = 0,
    ) -> None:
        self.backends = tuple(backends)
        self.outcomes: list[Outcome] = []
        self.ended: list[Ended] = []
        candidates = tuple(Candidate(each, each.name, Model(each.name), None, each.price) for each in backends)
        self.route = Route((TargetSet("day", candidates, strategy, weights, sticky),))
        self._now = asyncio.get_running_loop().time
        self.places = Places(seconds=Deadlines().queue, now=self._now)
        dice = random.Random(f"{seed}/dispatcher").random
        self.vitals = Vitals(Rules(), dice)
        runtime = Runtime(MappingProxyType({each.name: each for each in backends}))
        self.discovery = Discovery(runtime, lambda name, up, why: self.vitals.probed(name, up, self._now(), why))
        busy = busy_with(self.places, self.discovery.load)
        state = State(self.vitals, Conversations(STICKY), dice, busy)
        self.dispatcher = Dispatcher(
            runtime=lambda: self.discovery.runtime,
            deadlines=Deadlines(),
            places=self.places,
            vitals=self.vitals,
            chooser=Chooser(state=state, now=self._now),
            default_max_output_tokens=LONGEST,
            on_outcome=[self.outcomes.append],
            hedges=hedges,
            now=self._now,
            sleep=asyncio.sleep,
            dice=dice,
        )

    async def day(self, talks: Iterable[Talk]) -> None:
        """All of them, each at its time; until the last one has ended."""
        probing = asyncio.create_task(self.discovery.run())
        try:
            async with asyncio.TaskGroup() as people:
                for talk in talks:
                    await asyncio.sleep(talk.begins - self._now())
                    people.create_task(self.talk(talk))
        finally:
            probing.cancel()

    async def talk(self, talk: Talk) -> None:
        """Ask the questions one after the other, each with all that was said before; stop where one is not answered."""
        messages: tuple[Message, ...] = (said("system", f"{talk.name}. Answer briefly."),)
        for number, turn in enumerate(talk.turns, 1):
            if turn.think:
                await asyncio.sleep(turn.think)
            if talk.work == "batch":
                messages = messages[:1]
            messages = (*messages, said("user", FILLER[: turn.prompt * CHARACTERS]))
            ended = await self.ask(talk, f"{talk.name}/{number}", messages, turn)
            if ended.how != "answered" and talk.work != "batch":
                return
            messages = (*messages, said("assistant", FILLER[: turn.answer * CHARACTERS]))

    async def ask(self, talk: Talk, name: str, messages: tuple[Message, ...], turn: Turn) -> Ended:
        """One request, until its answer is whole, it failed, or its caller had no more patience."""
        came, first, last = self._now(), None, None
        wishes = {"sl_route": RouteWish(work=talk.work, deadline_ms=talk.deadline_ms)}
        request = Request("day", messages, LONGEST, extras={**wishes, LENGTH: turn.answer, NAME: name})
        how: Literal["answered", "refused", "broken", "left"] = "answered"
        code, backend = "", None

        def take(batch: Sequence[Event]) -> None:
            nonlocal first, last
            if first is None:
                first = self._now()
                wait.reschedule(None)
            last = batch[-1]

        try:
            async with asyncio.timeout(PATIENCE[talk.work]) as wait:
                call = Call(Principal(talk.user), name)
                async with self.dispatcher.open(call, self.route, request, "day", lambda _: None) as answer:
                    await answer.into(take)
        except TimeoutError:
            how = "left"
        except BackendError as error:
            how, code = ("refused" if first is None else "broken"), wire(error).code
            backend = error.backend
        usage = last.usage if isinstance(last, Finished) else None
        outcome = self.outcomes[-1]
        assert outcome.request_id == name, "the outcome of a call is there when it ends"
        backend = outcome.backend if how != "refused" else backend
        ended = Ended(
            name, talk.user, talk.work, came, self._now(), how, first, backend,
            outcome.cost or 0, usage.output_tokens if usage else 0, code,
        )  # fmt: skip
        self.ended.append(ended)
        return ended
