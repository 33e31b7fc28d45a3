"""The places of a backend: never too many, in a fair order, none lost, whoever gives up whenever; who is refused."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import DeadlineExceeded
from backends.fake import FakeBackend
from backends.unasked import QueueFull
from proxy.limiting import FEW, Bounds
from proxy.places import Places, Room
from proxy.queueing import Ticket

ANY = Ticket("a")


class Caller:
    """One that wants a place, holds it until `done` is set, and writes down what it was told."""

    def __init__(self, places: Places, backend: FakeBackend, ticket: Ticket = ANY) -> None:
        self.told: list[int] = []
        self.waits: list[float | None] = []
        self.done = asyncio.Event()
        self.error: Exception | None = None
        self.task = asyncio.create_task(self._call(places, backend, ticket))

    async def _call(self, places: Places, backend: FakeBackend, ticket: Ticket) -> None:
        try:
            async with places.place(backend, ticket, self._tell):
                await self.done.wait()
        except (QueueFull, DeadlineExceeded) as error:
            self.error = error

    def _tell(self, place: int, wait: float | None) -> None:
        self.told.append(place)
        self.waits.append(wait)

    @property
    def has_place(self) -> bool:
        return self.told[-1:] == [0] and not self.task.done()

    async def end(self, cancel: bool) -> None:
        self.done.set()
        if cancel:
            self.task.cancel()


async def settle() -> None:
    """Long enough for a place to go through the hands of everybody in line."""
    for _ in range(200):
        await asyncio.sleep(0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def held(places: Places, backend: FakeBackend, seconds: float, clock: list[float]) -> None:
    """One call that holds a place so long, by a clock of the test's own."""
    async with places.place(backend, Ticket("before"), lambda *_: None):
        clock[0] += seconds


async def test_each_is_told_its_place_as_the_line_moves() -> None:
    places, backend = Places(seconds=60), FakeBackend("f", slots=1)
    callers = [Caller(places, backend) for _ in range(4)]
    await settle()
    assert [caller.told for caller in callers] == [[0], [1], [2], [3]]
    await callers[1].end(cancel=True)  # gives up while it waits
    await until(lambda: [caller.told for caller in callers] == [[0], [1], [2, 1], [3, 2]])
    await callers[0].end(cancel=False)
    await until(lambda: [caller.told for caller in callers] == [[0], [1], [2, 1, 0], [3, 2, 1]])
    for caller in callers:
        await caller.end(cancel=True)


async def test_it_is_told_about_how_long_that_takes() -> None:
    clock = [0.0]
    places, backend = Places(seconds=60, now=lambda: clock[0]), FakeBackend("f", slots=2)
    await held(places, backend, 4.0, clock)
    callers = [Caller(places, backend) for _ in range(5)]
    await settle()
    assert [caller.waits for caller in callers] == [[None], [None], [2.0], [4.0], [6.0]]
    for caller in callers:
        await caller.end(cancel=True)


async def test_a_full_line_refuses_and_says_when_to_come_again() -> None:
    clock = [0.0]
    places, backend = (
        Places(seconds=60, rooms=lambda _: Room(queued=2), now=lambda: clock[0]),
        FakeBackend("f", slots=1),
    )
    await held(places, backend, 5.0, clock)
    callers = [Caller(places, backend) for _ in range(4)]
    await settle()
    error = callers[3].error
    assert isinstance(error, QueueFull)
    assert error.retry_after == 10.0
    assert places.gate(backend).refused == {"full": 1}
    for caller in callers:
        await caller.end(cancel=True)


async def test_one_who_has_nothing_in_a_full_line_gets_in_and_the_last_of_who_has_most_goes() -> None:
    places, backend = Places(seconds=60, rooms=lambda _: Room(queued=2)), FakeBackend("f", slots=1)
    callers = [Caller(places, backend, Ticket(who, tokens=10)) for who in "aaab"]
    await settle()
    assert [isinstance(caller.error, QueueFull) for caller in callers] == [False, False, True, False]
    assert [caller.told[-1] for caller in callers] == [0, 1, 2, 2]
    for caller in callers:
        await caller.end(cancel=True)


async def test_who_would_wait_too_long_is_refused_at_once_and_others_are_not() -> None:
    clock = [0.0]
    places, backend = Places(seconds=40, now=lambda: clock[0]), FakeBackend("f", slots=1)
    await held(places, backend, 10.0, clock)
    callers = [Caller(places, backend) for _ in range(4)]
    hasty = Caller(places, backend, Ticket("b", deadline=9.0))
    urgent = Caller(places, backend, Ticket("b", deadline=11.0))
    last = Caller(places, backend)
    await settle()
    assert isinstance(hasty.error, QueueFull)
    assert (hasty.error.wait, hasty.error.retry_after) == (20.0, 12.8), "it comes after the first of a"
    assert isinstance(urgent.error, QueueFull)
    assert isinstance(last.error, QueueFull)
    assert (last.error.wait, last.error.retry_after) == (40.0, 8.0)
    assert "about 40 s" in str(last.error)
    assert places.gate(backend).refused == {"too_late": 3}
    assert [caller.told for caller in callers] == [[0], [1], [2], [3]]
    for caller in callers:
        await caller.end(cancel=True)


@pytest.mark.parametrize("deadline", [None, 0.01])
async def test_waiting_ends_with_its_deadline_and_leaves_the_line(deadline: float | None) -> None:
    places, backend = Places(seconds=60 if deadline else 0.01), FakeBackend("f", slots=1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.place(backend, Ticket("a"), lambda *_: None))
        with pytest.raises(DeadlineExceeded, match=r"queue deadline of 0\.01 s"):
            async with places.place(backend, Ticket("a", deadline=deadline), lambda *_: None):
                pass
        assert places.gate(backend).waiting == 0
        assert places.gate(backend).refused == {"deadline": 1}
    assert places.gate(backend).running == 0


async def test_a_place_goes_to_the_most_urgent_in_the_same_step() -> None:
    places, backend = Places(seconds=60), FakeBackend("f", slots=1)
    first = Caller(places, backend)
    batch, agent, person = [Caller(places, backend, Ticket("a", work)) for work in ("batch", "agent", "interactive")]
    await settle()
    gate = places.gate(backend)
    first.done.set()
    await until(first.task.done)
    assert (gate.running, gate.waiting) == (1, 2), "nobody who comes now can be before it"
    late = Caller(places, backend)
    await settle()
    assert [person.has_place, agent.has_place, batch.has_place, late.has_place] == [True, False, False, False]
    for caller in (batch, agent, person, late):
        await caller.end(cancel=True)


async def test_a_limit_that_sinks_touches_nobody_who_runs_and_lets_in_who_waits_when_it_rises() -> None:
    places, backend = Places(seconds=60), FakeBackend("f")
    gate = places.gate(backend)
    callers = [Caller(places, backend) for _ in range(20)]
    await settle()
    for seconds in [0.1] * FEW + [30.0] * 40:
        gate.first(("m", 1), seconds, 20)
    assert gate.limit < 20
    late = Caller(places, backend)
    await settle()
    assert all(caller.has_place for caller in callers)
    assert late.told == [1]
    while gate.limit < 21:
        gate.first(("m", 1), 0.1, 20)
    await settle()
    assert late.has_place
    for caller in (*callers, late):
        await caller.end(cancel=True)


async def test_the_operators_most_holds_also_where_there_are_slots() -> None:
    places, backend = (
        Places(seconds=60, rooms=lambda name: Room(Bounds(most=2 if name == "f" else 9))),
        FakeBackend("f", slots=8),
    )
    callers = [Caller(places, backend) for _ in range(4)]
    await settle()
    assert [caller.has_place for caller in callers] == [True, True, False, False]
    for caller in callers:
        await caller.end(cancel=True)


async def test_a_hundred_lanes_of_one_get_as_much_as_one_lane_of_another() -> None:
    places, backend, served = Places(seconds=60), FakeBackend("f", slots=1), list[str]()

    async def lane(who: str) -> None:
        for _ in range(30):
            async with places.place(backend, Ticket(who, tokens=100), lambda *_: None):
                served.append(who)
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(lane("many")) for _ in range(100)]
    one = asyncio.create_task(lane("one"))
    await one
    for task in tasks:
        task.cancel()
    both = served[served.index("one") :]
    assert both.count("one") / len(both) == pytest.approx(0.5, rel=0.1)


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans(), st.sampled_from("aab")), max_size=40),
)
def test_no_place_is_lost_and_none_is_given_twice(slots: int, moves: list[tuple[int, bool, bool, str]]) -> None:
    async def play() -> None:
        places, backend = Places(seconds=60), FakeBackend("f", slots=slots)
        gate, callers = places.gate(backend), list[Caller]()
        for which, cancel, at_once, who in moves:
            if which < len(callers):
                await callers[which].end(cancel)
            else:
                callers.append(Caller(places, backend, Ticket(who)))
            if not at_once:  # otherwise several things happen in one turn of the loop
                await settle()
        await settle()
        holding = [caller for caller in callers if caller.has_place]
        alive = [caller for caller in callers if not caller.task.done()]
        assert len(holding) == min(slots, len(alive))
        assert (gate.running, gate.waiting) == (len(holding), len(alive) - len(holding))
        for caller in callers:
            caller.task.cancel()
            with suppress(asyncio.CancelledError):
                await caller.task
        assert (gate.running, gate.waiting, gate.line.tokens) == (0, 0, 0)

    asyncio.run(play())


async def test_who_comes_when_more_places_are_there_does_not_go_before_those_who_wait() -> None:
    places, backend = Places(seconds=60), FakeBackend("f", slots=1)
    callers = [Caller(places, backend) for _ in range(2)]
    await settle()
    backend.slots = 2  # as when a model was loaded that takes more at once
    callers.append(Caller(places, backend))
    await settle()
    assert [caller.has_place for caller in callers] == [True, True, False]
    for caller in callers:
        await caller.end(cancel=True)
