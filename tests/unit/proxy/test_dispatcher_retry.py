"""The dispatcher tries again: before the first content only, in line like everybody, and all of it is on record."""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import pytest
from structlog.testing import capture_logs

from backends.base import Model
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    RateLimited,
    ServerFailed,
    StreamBroken,
)
from backends.events import Citation, Event, Finished, Signature, TextDelta
from backends.fake import FakeBackend, Step
from backends.request import Request, said
from proxy.deadlines import Deadlines
from proxy.outcome import ANONYMOUS, Attempt, Call, Notice, Outcome
from proxy.places import Places, Room
from proxy.queueing import Ticket
from proxy.runtime import Alias, Runtime
from tests.dispatching import dispatcher

CALL = Call(ANONYMOUS, "req_1")
ANSWER: list[Step] = [[TextDelta("Hi")], [Finished("stop")]]


class Scripts(FakeBackend):
    """A backend that plays the next of its scripts to each request; the last one to all that follow."""

    def __init__(self, name: str, *scripts: Sequence[Step], slots: int | None = None) -> None:
        super().__init__(name, slots=slots)
        self._scripts = [*scripts]

    def answer(self, request: Request) -> list[Step]:
        return [*(self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0])]


class World:
    """A dispatcher over `backends`, with a clock that only its waits move."""

    def __init__(self, *backends: FakeBackend, queue: int = 8, retry: float = 30) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self.outcomes: list[Outcome] = []
        self.notices: list[Notice] = []
        self.runtime = Runtime(
            backends=MappingProxyType({each.name: each for each in backends}),
            aliases=MappingProxyType({"all": Alias(tuple(f"{each.name}/fake" for each in backends))}),
            models=MappingProxyType({each.name: (Model("fake"),) for each in backends}),
        )
        self.places = Places(seconds=60, rooms=lambda _: Room(queued=queue))
        self.dispatcher = dispatcher(
            lambda: self.runtime,
            deadlines=Deadlines(retry=retry),
            places=self.places,
            on_outcome=[self.outcomes.append],
            now=lambda: self.time,
            sleep=self.sleep,
            dice=lambda: 0.5,
        )

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    async def ask(self) -> list[Event]:
        route, request = self.dispatcher.plan(Request("all", (said("user", "Hi"),)))
        events: list[Event] = []

        def take(batch: Sequence[Event]) -> None:
            events.extend(batch)

        async with self.dispatcher.open(CALL, route, request, "all", self.notices.append) as answer:
            await answer.into(take)
        return events


async def test_the_same_target_is_asked_again_after_a_wait() -> None:
    world = World(backend := Scripts("a", [Overloaded()], ANSWER))
    with capture_logs() as lines:
        assert (await world.ask())[0] == TextDelta("Hi")
    assert len(backend.requests) == 2
    assert world.waits == [0.25]
    assert world.outcomes[0].failed_attempts == (Attempt("a", "fake", "backend_overloaded", 0.25),)
    [line] = [line for line in lines if line["event"] == "attempt_failed"]
    assert (line["attempt"], line["backend"], line["error"], line["wait_ms"]) == (1, "a", "backend_overloaded", 250.0)
    assert [notice.data["queue_position"] for notice in world.notices] == [0, 0], "who asked for it is told again"


async def test_the_next_target_is_asked_at_once_and_none_twice() -> None:
    world = World(a := Scripts("a", [Overloaded()], ANSWER), b := Scripts("b", [ServerFailed(500)]))
    with pytest.raises(ServerFailed):
        await world.ask()
    assert (len(a.requests), len(b.requests)) == (1, 1)
    assert world.waits == []
    assert [notice.data["backend"] for notice in world.notices] == ["a", "b"]


async def test_a_retry_after_is_waited_for_or_told() -> None:
    world = World(Scripts("a", [RateLimited(3)], ANSWER))
    await world.ask()
    assert world.waits == [3.25]
    world = World(a := Scripts("a", [RateLimited(31)]))
    with pytest.raises(RateLimited) as caught:
        await world.ask()
    assert (caught.value.retry_after, world.waits, len(a.requests)) == (31, [], 1)
    assert caught.value.backend == "a"


@pytest.mark.parametrize("script", [[[TextDelta("He")], StreamBroken()], [[], [TextDelta("He")], Overloaded()]])
async def test_after_the_first_content_nothing_is_tried_again(script: list[Any]) -> None:
    world = World(a := Scripts("a", script), b := Scripts("b", ANSWER))
    with pytest.raises(BackendError):
        await world.ask()
    assert (len(a.requests), len(b.requests)) == (1, 0)
    assert world.outcomes[0].failed_attempts == ()


async def test_what_is_no_content_binds_nobody_and_is_not_lost() -> None:
    signed, cited = Signature("anthropic", "x"), Citation(0, 0, "", "doc")
    world = World(Scripts("a", [[signed], StreamBroken()]), Scripts("b", [[signed], [cited], [], *ANSWER]))
    assert await world.ask() == [signed, cited, TextDelta("Hi"), Finished("stop")]


async def test_another_key_of_the_same_target_is_tried_at_once() -> None:
    refused = AuthenticationFailed(401)
    refused.other_keys = True
    world = World(a := Scripts("a", [refused], ANSWER), b := Scripts("b", ANSWER))
    await world.ask()
    assert (len(a.requests), len(b.requests), world.waits) == (2, 0, [])


async def test_a_request_that_is_wrong_is_asked_once() -> None:
    world = World(a := Scripts("a", [InvalidRequest(400, "stop")]), b := Scripts("b", ANSWER))
    with pytest.raises(InvalidRequest):
        await world.ask()
    assert (len(a.requests), len(b.requests)) == (1, 0)


async def test_who_tries_again_stands_in_line_again() -> None:
    gate = asyncio.Event()
    world = World(backend := Scripts("a", [gate, Overloaded()], [gate, *ANSWER], ANSWER, slots=1))
    first, second = asyncio.create_task(world.ask()), asyncio.create_task(world.ask())
    while world.places.gate(backend).waiting == 0:
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, second)
    # The first has its place, the second waits, then it is the first that waits, until the second has its answer.
    assert [notice.data["queue_position"] for notice in world.notices] == [0, 1, 1, 0, 0]
    assert len(backend.requests) == 3


async def test_a_line_that_does_not_move_ends_with_the_failure_before_it() -> None:
    world = World(Scripts("a", [ServerFailed(500)]), b := Scripts("b", ANSWER, slots=1), retry=0.01)
    async with world.places.place(b, Ticket("other"), lambda *_: None):
        with pytest.raises(ServerFailed) as caught:
            await world.ask()
    assert caught.value.backend == "a"
    assert world.places.gate(b).waiting == 0
    assert (world.outcomes[0].backend, world.outcomes[0].error) == ("a", "backend_failed"), "b was never asked"


async def test_what_passes_is_told_and_recorded_rather_than_what_another_target_lacks() -> None:
    world = World(Scripts("a", [Overloaded(60)]), Scripts("b", [ContextLengthExceeded(9, 8)]))
    with pytest.raises(Overloaded) as caught:
        await world.ask()
    assert (caught.value.backend, caught.value.retry_after) == ("a", 60)
    [outcome] = world.outcomes
    assert (outcome.backend, outcome.error) == ("a", "backend_overloaded")
    assert outcome.failed_attempts == (Attempt("b", "fake", "context_length_exceeded", 0.0),)


async def test_a_target_that_does_not_exist_is_the_operators_matter() -> None:
    world = World(Scripts("a", [RateLimited(60)]), Scripts("b", [ModelNotFound("fake")]))
    with capture_logs() as lines, pytest.raises(RateLimited, match="'a'"):
        await world.ask()
    levels = [(line["backend"], line["log_level"]) for line in lines if line["event"] == "attempt_failed"]
    assert levels == [("a", "info"), ("b", "warning")]


async def test_the_log_says_as_much_as_the_client_hears() -> None:
    credentials = AuthenticationFailed(401, "credentials", "None were found. Set some.")
    world = World(Scripts("a", [credentials]), Scripts("b", [ServerFailed(500)]))
    with capture_logs() as lines, pytest.raises(ServerFailed) as caught:
        await world.ask()
    first = next(line for line in lines if line["event"] == "attempt_failed")
    assert first["reason"].startswith("The backend 'a' takes none of this gateway's credentials.")
    assert first["reason"].endswith("None were found. Set some."), "what is for the operator alone"
    assert (first["status"], first["retry_after"]) == (401, None)
    assert world.outcomes[0].reason == str(caught.value)
    assert "'b' failed (HTTP 500)" in str(caught.value)


async def test_a_full_line_is_no_reason_to_stand_in_it_again() -> None:
    world = World(backend := Scripts("a", ANSWER, slots=1), queue=0)
    async with world.places.place(backend, Ticket("other"), lambda *_: None):
        with pytest.raises(BackendError, match="overloaded"):
            await world.ask()
    assert (backend.requests, world.waits) == ([], [])


async def test_who_is_cancelled_while_it_waits_asks_no_more() -> None:
    world = World(backend := Scripts("a", [Overloaded()], ANSWER))
    waiting = asyncio.Event()

    async def forever(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    world.dispatcher._sleep = forever
    task = asyncio.create_task(world.ask())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(backend.requests) == 1
    assert world.outcomes[0].status == "cancelled"
    assert world.places.gate(backend).running == 0


async def test_under_total_outage_hardly_more_is_asked_than_without_retries() -> None:
    world = World(a := Scripts("a", [Overloaded()]))
    for _ in range(100):
        with pytest.raises(BackendError):
            await world.ask()
    assert len(a.requests) < 10, "it rests after a few refusals, and then nobody asks"
