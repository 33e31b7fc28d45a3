"""Twice and ten times what a backend can do, in virtual time: it does all it can, who is let in is served as ever."""

import asyncio
from random import Random

import pytest

from backends.errors import BackendError
from backends.fake import FakeBackend
from backends.unasked import QueueFull
from proxy.places import Places
from proxy.queueing import Ticket
from scripts.simulation.virtual_time import virtually

FIRST, REST, AT_ONCE = 0.1, 0.9, 16  # seconds until and after the first token; answers at once
PEAK = AT_ONCE / (FIRST + REST)  # answers per second
TEN = "abcdefghij"


def quiet(place: int, wait: float | None) -> None:
    """Nobody wants to hear it."""


class World:
    """A backend that works on AT_ONCE requests. With `slots` it says so; without, it lets the others wait inside."""

    def __init__(self, slots: int | None) -> None:
        self.now = asyncio.get_running_loop().time
        self.places = Places(seconds=60, now=self.now)
        self.backend = FakeBackend("f", slots=slots)
        self.gate = self.places.gate(self.backend)
        self.dice = Random(7)
        self.inside = asyncio.Semaphore(AT_ONCE)
        self.ended: list[tuple[float, str]] = []
        self.firsts: list[float] = []  # seconds from a request's place to its first token
        self.refused: list[tuple[BackendError, float]] = []
        self.late = 0

    async def call(self, who: str, deadline: float | None = None) -> None:
        came, ticket = self.now(), Ticket(who, tokens=100, deadline=deadline)
        try:
            async with asyncio.timeout(deadline) as until_first, self.places.place(self.backend, ticket, quiet) as at:
                began = self.now()
                async with self.inside:
                    await asyncio.sleep(FIRST)
                    until_first.reschedule(None)
                    self.firsts.append(self.now() - began)
                    at.first(self.firsts[-1])
                    await asyncio.sleep(REST)
            self.ended.append((self.now(), who))
        except TimeoutError:  # as in a dispatcher: no first token in time
            self.late += 1
        except BackendError as error:
            self.refused.append((error, self.now() - came))

    async def offer(self, times: float, seconds: float, deadline: float | None = None) -> asyncio.TaskGroup:
        """Requests of ten people, `times` as many as can be served; what is still there is left to the group."""
        group, end = asyncio.TaskGroup(), self.now() + seconds
        await group.__aenter__()
        while self.now() < end:
            group.create_task(self.call(self.dice.choice(TEN), deadline))
            await asyncio.sleep(self.dice.expovariate(PEAK * times))
        return group

    async def fill(self, times: float, seconds: float) -> None:
        """The same, until all of it is over."""
        await (await self.offer(times, seconds, 4.0)).__aexit__(None, None, None)


@pytest.mark.parametrize("times", [2, 10])
@pytest.mark.parametrize("slots", [AT_ONCE, None], ids=["slots", "found out"])
def test_overload_costs_nothing_but_the_requests_that_are_too_many(slots: int | None, times: int) -> None:
    async def play() -> None:
        world = World(slots)
        await world.fill(0.5, 10)
        await world.fill(2, 20)  # without slots the limit is found by this
        world.ended.clear(), world.firsts.clear(), world.refused.clear()
        began = world.now()
        rest = await world.offer(times, 10, 4.0)
        seconds = world.now() - began
        assert len(world.ended) >= 0.9 * PEAK * (seconds - FIRST - REST), "nobody ends before"
        usual = 1.01 * FIRST if slots else FIRST + 2.0  # a second is what it takes to be sure, and headroom
        assert sorted(world.firsts)[len(world.firsts) * 95 // 100] <= usual
        at_once = [
            seconds for error, seconds in world.refused if isinstance(error, QueueFull) and error.wait is not None
        ]
        assert at_once
        assert max(at_once) == 0.0
        assert all((error.retry_after or 0) >= 1 for error, _ in world.refused if isinstance(error, QueueFull))
        began = world.now()
        await asyncio.sleep(4)
        await world.call("new")
        assert world.now() - began <= 4 + 1.1 * (FIRST + REST), "it is as before within five seconds"
        await rest.__aexit__(None, None, None)
        assert (world.gate.running, world.gate.waiting, world.gate.line.tokens) == (0, 0, 0)

    virtually(play())


def test_without_a_limit_ten_times_too_many_would_wait_inside() -> None:
    """What the limit is worth: the same load, and it is never looked at."""

    async def play() -> None:
        world = World(1000)
        await (await world.offer(10, 10)).__aexit__(None, None, None)
        assert sorted(world.firsts)[len(world.firsts) // 2] > 10

    virtually(play())


@pytest.mark.parametrize("slots", [1, 2])
def test_a_hundred_lanes_get_as_much_as_one_that_always_waits(slots: int) -> None:
    """One lane of another has always one request in line: its next comes as soon as its last has its place."""

    async def play() -> None:
        world = World(slots)
        places, backend, served = world.places, world.backend, {"many": 0, "one": 0}
        waiting = asyncio.Event()

        async def held(who: str, tokens: int) -> None:
            async with places.place(backend, Ticket(who, tokens=tokens), quiet):
                if who == "one":
                    waiting.set()
                await asyncio.sleep(tokens / 1000)
                served[who] += tokens

        async def lane() -> None:
            while True:
                await held("many", world.dice.randint(50, 150))

        lanes = [asyncio.create_task(lane()) for _ in range(100)]
        ones = []
        for _ in range(100):
            waiting.clear()
            ones.append(asyncio.create_task(held("one", world.dice.randint(20, 400))))
            await waiting.wait()
        assert served["one"] == pytest.approx(served["many"], rel=0.1)
        for task in lanes:
            task.cancel()
        await asyncio.gather(*lanes, *ones, return_exceptions=True)
        assert (world.gate.running, world.gate.waiting) == (0, 0)

    virtually(play())


def test_whoever_gives_up_leaves_nothing_and_holds_nobody_up() -> None:
    async def play() -> None:
        world = World(AT_ONCE)
        tasks = [asyncio.create_task(world.call(world.dice.choice(TEN))) for _ in range(250)]
        await asyncio.sleep(0.05)
        gone = world.dice.sample(tasks, 200)
        for task in gone:
            task.cancel()
        began = world.now()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert world.now() - began <= 50 / PEAK + 1
        assert len(world.ended) == 50
        assert (world.gate.running, world.gate.waiting, world.gate.line.tokens) == (0, 0, 0)

    virtually(play())
