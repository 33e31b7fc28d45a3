"""The dispatcher among several sets: each target once, breakers, hedges, and a caller's own deadline."""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import pytest

from backends.base import Model
from backends.errors import DeadlineExceeded, ServerFailed, Unreachable
from backends.events import Event, Finished, TextDelta, Usage
from backends.fake import FakeBackend
from backends.request import EmbeddingRequest, Request, said
from backends.unasked import CircuitOpen
from proxy.errors import BadParameter
from proxy.outcome import ANONYMOUS, Call, Notice, Outcome
from proxy.places import Places, Room
from proxy.queue_ticket import ticket_of
from proxy.router_names import Ladder, Router, Targets
from proxy.routing.hedging import Hedges
from proxy.runtime import Route, Runtime, TargetSet
from proxy.wire.extras import RouteWish
from tests.dispatching import dispatcher

CALL = Call(ANONYMOUS, "req_1")
ANSWER: list[Any] = [[TextDelta("Hi")], [Finished("stop", Usage(1, 1))]]
BROKEN: list[Any] = [ServerFailed(500)]


class World:
    """A dispatcher over `sets` of backends, tried in order; its clock stands still unless it is told otherwise."""

    def __init__(self, *sets: Sequence[FakeBackend], **options: Any) -> None:
        self.outcomes: list[Outcome] = []
        self.notices: list[Notice] = []
        backends = {each.name: each for among in sets for each in among}
        self.runtime = Runtime(
            backends=MappingProxyType(backends),
            models=MappingProxyType({name: (Model("fake"),) for name in backends}),
        )
        self.route = Route(
            tuple(
                TargetSet(f"set {number}", self.runtime.targets(f"{each.name}/fake" for each in among))
                for number, among in enumerate(sets)
            )
        )
        self.time = 0.0
        self.dispatcher = dispatcher(
            lambda: self.runtime,
            now=lambda: self.time,
            dice=lambda: 0.5,
            on_outcome=[self.outcomes.append],
            **options,
        )

    async def ask(self, **wish: Any) -> list[Event]:
        extras = {"sl_route": RouteWish(**wish)} if wish else {}
        request = Request("all", (said("user", "Hi"),), 9, extras=extras)
        events: list[Event] = []

        def take(batch: Sequence[Event]) -> None:
            events.extend(batch)

        async with self.dispatcher.open(CALL, self.route, request, "all", self.notices.append) as answer:
            await answer.into(take)
        return events

    def answered(self) -> str | None:
        return self.outcomes[-1].backend


async def test_a_target_that_is_in_two_sets_is_asked_once() -> None:
    a, b = FakeBackend("a", script=BROKEN), FakeBackend("b", script=ANSWER)
    world = World([a], [a, b])
    await world.ask()
    assert (len(a.requests), len(b.requests), world.answered()) == (1, 1, "b")


async def test_a_dead_backend_costs_nobody_anything_once_its_breaker_is_open() -> None:
    dead, well = FakeBackend("dead", script=[Unreachable("refused")]), FakeBackend("well", script=ANSWER)
    world = World([dead, well])
    for _ in range(50):
        await world.ask()
    assert len(dead.requests) <= 10
    assert not world.outcomes[-1].failed_attempts
    over = world.notices[-1].data["passed_over"]
    assert isinstance(over, list)
    assert over[0]["backend"] == "dead"


async def test_one_that_is_alone_is_refused_at_once_and_found_again() -> None:
    alone = FakeBackend("alone", script=[Unreachable("refused")])
    world = World([alone])
    for _ in range(20):
        with pytest.raises((Unreachable, CircuitOpen)):
            await world.ask()
    asked = len(alone.requests)
    with pytest.raises(CircuitOpen) as caught:
        await world.ask()
    assert len(alone.requests) == asked
    assert caught.value.retry_after
    alone.script = ANSWER
    world.time += 600
    await world.ask()
    await world.ask()
    assert len(alone.requests) == asked + 2


async def test_nobody_waits_for_the_probe_of_one_that_hangs() -> None:
    hangs, well = FakeBackend("hangs", script=BROKEN), FakeBackend("well", script=ANSWER)
    world = World([hangs, well])
    for _ in range(20):
        await world.ask()
    hangs.script, asked = [asyncio.Event(), *ANSWER], len(hangs.requests)
    world.time += 600
    await world.ask()
    assert (len(hangs.requests), world.answered(), hangs.open) == (asked + 1, "well", 0)
    await world.ask()
    assert len(hangs.requests) == asked + 1, "its probe has failed, and it rests again"
    hangs.script = ANSWER
    world.time += 600
    for _ in range(5):
        await world.ask()
    assert len(hangs.requests) > asked + 1, "it is asked again, though not at once by all"


async def test_of_several_targets_none_is_asked_twice_although_only_one_is_well() -> None:
    dead, busy = FakeBackend("dead", script=[Unreachable("refused")]), FakeBackend("busy", script=ANSWER)
    world = World([dead, busy])
    for _ in range(20):
        await world.ask()
    busy.script, asked = BROKEN, len(busy.requests)
    with pytest.raises(ServerFailed):
        await world.ask()
    assert len(busy.requests) == asked + 1


async def test_a_slow_target_gets_another_beside_it_and_who_is_first_answers() -> None:
    stuck = asyncio.Event()
    slow, quick = FakeBackend("slow", script=[stuck, *ANSWER]), FakeBackend("quick", script=ANSWER)
    world = World([slow, quick], hedges=Hedges(share=1.0, after=0.01))
    assert (await world.ask())[0] == TextDelta("Hi")
    assert (world.answered(), slow.open, quick.open) == ("quick", 0, 0)
    assert world.dispatcher.lines()["slow"].running == 0
    assert world.dispatcher.lines()["quick"].running == 0
    await_one = asyncio.create_task(world.ask(hedge=False))
    await asyncio.sleep(0.05)
    assert len(quick.requests) == 1, "who does not want it gets none"
    stuck.set()
    await await_one
    assert world.answered() == "slow"


async def test_a_hedge_that_fails_leaves_the_first_and_is_not_asked_again() -> None:
    stuck = asyncio.Event()
    slow, broken, last = (
        FakeBackend("slow", script=[stuck, ServerFailed(500)]),
        FakeBackend("broken", script=BROKEN),
        FakeBackend("last", script=ANSWER),
    )
    world = World([slow, broken, last], hedges=Hedges(share=1.0, after=0.01))
    asking = asyncio.create_task(world.ask())
    while not broken.requests:
        await asyncio.sleep(0.005)
    stuck.set()
    await asking
    assert (len(slow.requests), len(broken.requests), world.answered()) == (1, 1, "last")


async def test_a_hedged_call_that_is_cancelled_leaves_nothing() -> None:
    stuck = asyncio.Event()
    a, b = FakeBackend("a", script=[stuck, *ANSWER]), FakeBackend("b", script=[stuck, *ANSWER])
    world = World([a, b], hedges=Hedges(share=1.0, after=0.01))
    asking = asyncio.create_task(world.ask())
    while not b.requests:
        await asyncio.sleep(0.005)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (a.open, b.open, world.outcomes[-1].status) == (0, 0, "cancelled")
    assert {name: gate.running for name, gate in world.dispatcher.lines().items()} == {"a": 0, "b": 0}


async def test_who_has_no_place_at_the_first_is_not_raced_against_itself_at_the_second() -> None:
    stuck, places = asyncio.Event(), Places(seconds=60, rooms=lambda _: Room(queued=0))
    full = FakeBackend("full", script=[stuck, *ANSWER], slots=1)
    slow, last = FakeBackend("slow", script=[stuck, *ANSWER]), FakeBackend("last", script=ANSWER)
    world = World([full, slow, last], hedges=Hedges(share=1.0, after=0.01), places=places)
    holds = asyncio.create_task(world.ask(hedge=False))
    while not full.requests:
        await asyncio.sleep(0)
    asking = asyncio.create_task(world.ask())
    while not slow.requests:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert len(slow.requests) == 1
    stuck.set()
    await asyncio.gather(holds, asking)


async def test_of_a_first_that_failed_while_its_hedge_ran_the_outcome_tells() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    a, b = FakeBackend("a", script=[first, ServerFailed(500)]), FakeBackend("b", script=[second, *ANSWER])
    world = World([a, b], hedges=Hedges(share=1.0, after=0.01))
    asking = asyncio.create_task(world.ask())
    while not b.requests:
        await asyncio.sleep(0.005)
    first.set()
    while a.open:
        await asyncio.sleep(0)
    second.set()
    await asking
    assert world.answered() == "b"
    assert [each.backend for each in world.outcomes[-1].failed_attempts] == ["a"]


async def test_a_client_hears_of_a_hedge_only_when_it_answers() -> None:
    stuck = asyncio.Event()
    a, b = FakeBackend("a", script=[stuck, *ANSWER]), FakeBackend("b", script=[stuck, ServerFailed(500)])
    world = World([a, b], hedges=Hedges(share=1.0, after=0.01))
    asking = asyncio.create_task(world.ask())
    while not b.requests:
        await asyncio.sleep(0.005)
    stuck.set()
    await asking
    assert [each.data["backend"] for each in world.notices] == ["a"]
    a.script, b.script = [asyncio.Event()], ANSWER
    await world.ask()
    assert world.notices[-1].data["backend"] == "b"


async def test_lines_that_are_full_cost_no_attempt() -> None:
    stuck, places = asyncio.Event(), Places(seconds=60, rooms=lambda _: Room(queued=0))
    full = [FakeBackend(name, script=[stuck, *ANSWER], slots=1) for name in "abc"]
    free = FakeBackend("free", script=ANSWER)
    world = World([*full, free], places=places)
    holding = [asyncio.create_task(world.ask()) for _ in full]
    while not all(each.requests for each in full):
        await asyncio.sleep(0)
    await world.ask()
    assert world.answered() == "free"
    stuck.set()
    await asyncio.gather(*holding)


async def test_the_hedges_share_of_the_attempts_is_bounded_as_all_are() -> None:
    stuck = asyncio.Event()
    slow, broken = FakeBackend("slow", script=[stuck, ServerFailed(500)]), FakeBackend("broken", script=BROKEN)
    others = [FakeBackend(name, script=BROKEN) for name in "ab"]
    world = World([slow, broken, *others], hedges=Hedges(share=1.0, after=0.01))
    asking = asyncio.create_task(world.ask())
    while not broken.requests:
        await asyncio.sleep(0.005)
    stuck.set()
    with pytest.raises(ServerFailed):
        await asking
    assert sum(len(each.requests) for each in (slow, broken, *others)) == 3


async def test_a_callers_deadline_ends_the_wait_for_the_first_token() -> None:
    world = World([FakeBackend("a", script=[asyncio.Event(), *ANSWER])])
    with pytest.raises(DeadlineExceeded) as caught:
        await world.ask(deadline_ms=30)
    assert caught.value.name == "requested"


async def test_no_vectors_are_of_whichever_model_the_router_chooses() -> None:
    ladder = Ladder((Targets("weak", ("a/fake",)), Targets("strong", ("b/fake",))), (0.5, 0.5))
    backends = {name: FakeBackend(name, script=ANSWER) for name in "ab"}
    runtime = Runtime(MappingProxyType(backends), router=Router(MappingProxyType({"auto": ladder}), ()))
    with pytest.raises(BadParameter, match="do not compare"):
        await dispatcher(lambda: runtime).embed(CALL, EmbeddingRequest("auto", ("Hi",)))


def test_times_of_vectors_are_compared_among_requests_of_about_the_same_length() -> None:
    one, other = (ticket_of(CALL, "m", EmbeddingRequest("m", ("x" * size,)), 0.0).kind for size in (40, 40_000))
    assert one != other
