"""Traffic in virtual time: clients that ask a ledger first and then a provider of tests/quota_providers.py.

    world = World(start, seed=7)
    client = Client(world, [ledger], fake, {"requests": "pool-1"}, Habits())
    await client.run(seconds=3600)     # an hour, as fast as the machine can
    fake.refused, fake.most("requests")

Nothing sleeps: the world has a heap of what happens when, and its clock jumps from one event to the next.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol, TypeAlias

from quota.ledger import Attempt, Denied, Granted, Observation, Settled
from tests.quota_providers import SECOND, Call, Fake, Limiter

Span: TypeAlias = tuple[float, float]  # seconds or amounts, from and to


class Asked(Protocol):
    """What a client needs of a ledger."""

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied: ...
    def settle(
        self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None
    ) -> Awaitable[Settled | None]: ...
    def release(self, attempt: Attempt, why: str) -> Awaitable[bool]: ...
    def observe(self, observation: Observation) -> Awaitable[None]: ...


class World:
    """True time in Unix microseconds, and what is still to happen. `wall` is our computer's clock, which may jump."""

    def __init__(self, start: int, seed: int) -> None:
        self.start = self.now = start
        self.dice = Random(seed)
        self.wrong = 0  # microseconds by which our wall clock is off
        self._heap: list[tuple[int, int, Callable[[], Awaitable[None]]]] = []
        self._order = itertools.count()

    def wall(self) -> int:
        return self.now + self.wrong

    def elapsed(self) -> int:
        return self.now - self.start

    def at(self, moment: float, action: Callable[[], Awaitable[None]]) -> None:
        heapq.heappush(self._heap, (max(self.now, int(moment)), next(self._order), action))

    def after(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        self.at(self.now + seconds * SECOND, action)

    async def run(self, seconds: float) -> None:
        """Let everything happen that happens until then."""
        end = self.now + int(seconds * SECOND)
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            await action()
        self.now = end


@dataclass(frozen=True)
class Habits:
    """How clients ask. "flood" wants more at every moment, "waves" floods and rests, "drip" asks at random times.

    `cut` is how many of them go while the answer runs, `unreachable` how many never get to the provider.
    """

    demand: Literal["flood", "waves", "drip"] = "flood"
    latency: Span = (0.05, 3.0)
    stream: Span = (1.0, 20.0)
    prompt: Span = (10, 200)
    longest: Span = (20, 400)
    pause: float = 5.0  # seconds between two of "drip", and the length of a wave's rest
    cut: float = 0.0
    unreachable: float = 0.0
    at_once: int = 1  # reservations that race each other


@dataclass
class Client:
    """Everybody who asks one provider through the ledgers. `pools` names the ledger's pool of each axis."""

    world: World
    ledgers: Sequence[Asked]
    fake: Fake
    pools: Mapping[str, str]
    habits: Habits = field(default_factory=Habits)
    says: Callable[[Fake, int], Sequence[Observation]] | None = None  # what its answer's headers say, at a moment
    denied: int = 0
    granted: int = 0
    _numbers: itertools.count = field(default_factory=itertools.count)  # type: ignore[type-arg]
    _resting: bool = False
    _wake_at: int = 0

    async def run(self, seconds: float) -> None:
        habits, world = self.habits, self.world
        world.after(world.dice.random(), self._drip if habits.demand == "drip" else self._press)
        if habits.demand == "waves":
            world.after(habits.pause, self._turn)
        await world.run(seconds)

    async def _turn(self) -> None:
        self._resting = not self._resting
        self.world.after(self.world.dice.uniform(0.2, 2) * self.habits.pause, self._turn)
        await self._press()

    async def _drip(self) -> None:
        await asyncio.gather(*(self._ask() for _ in range(self.habits.at_once)))
        self.world.after(self.world.dice.expovariate(1 / self.habits.pause), self._drip)

    async def _press(self) -> None:
        """Ask until one is denied; then again when it may be granted, or when a reservation ends."""
        if self._resting or self.habits.demand == "drip":
            return
        while True:
            answers = await asyncio.gather(*(self._ask() for _ in range(self.habits.at_once)))
            opens = [denied.opens_at for denied in answers if denied is not None]
            if opens:
                break
        for moment in opens:
            if moment is not None and not self.world.now < self._wake_at <= moment:
                assert moment > self.world.now, "a denial that opens now"
                self._wake_at = moment
                self.world.at(moment, self._press)

    async def _ask(self) -> Denied | None:
        dice, habits, world = self.world.dice, self.habits, self.world
        prompt, longest = round(dice.uniform(*habits.prompt)), round(dice.uniform(*habits.longest))
        attempt = Attempt(f"r{next(self._numbers)}")
        ledger = dice.choice(self.ledgers)
        amounts = {self.pools[name]: axis.amount(prompt, longest) for name, axis in self.fake.axes.items()}
        answer = await ledger.reserve(attempt, amounts, tag="somebody")
        if isinstance(answer, Denied):
            assert answer.why in {"spent", "closed"}, answer
            self.denied += 1
            return answer
        self.granted += 1
        asked = _Asked(self, ledger, attempt, prompt, longest)
        if dice.random() < habits.unreachable:
            world.after(dice.uniform(*habits.latency), asked.unreachable)
        else:
            world.after(dice.uniform(*habits.latency), asked.arrives)
        return None


@dataclass
class _Asked:
    """One request that was granted."""

    client: Client
    ledger: Asked
    attempt: Attempt
    prompt: int
    longest: int
    call: Call | None = None
    output: int = 0
    answered_at: int = 0
    said: Sequence[Observation] = ()

    async def unreachable(self) -> None:
        await self.ledger.release(self.attempt, "unreachable")
        await self.client._press()

    async def arrives(self) -> None:
        world, client = self.client.world, self.client
        habits, dice = client.habits, world.dice
        self.call = client.fake.arrive(world.now, self.prompt, self.longest)
        self.said = client.says(client.fake, world.now) if client.says else ()
        back = dice.uniform(*habits.latency)
        if self.call is None:
            world.after(back, self.refused)
            return
        whole = dice.uniform(*habits.stream)
        begins = whole * dice.uniform(0.05, 0.5)
        self.output = dice.randint(0, self.longest)
        world.after(begins + back, self.answered)
        if dice.random() < habits.cut:
            gone = begins + back + dice.random() * (whole - begins)
            world.after(gone, self.cut)
        else:
            world.after(whole, self.ends)
            world.after(whole + back, self.settled)

    async def refused(self) -> None:
        for observation in self.said:
            await self.ledger.observe(observation)
        counted = self.client.fake.counts_refused
        used = {
            pool: int(counted and self.client.fake.axes[axis].counts == "arrival")
            for axis, pool in self.client.pools.items()
        }
        await self.ledger.settle(self.attempt, used)
        await self.client._press()

    async def answered(self) -> None:
        self.answered_at = self.client.world.now
        for observation in self.said:
            await self.ledger.observe(observation)

    async def ends(self) -> None:
        assert self.call is not None
        self.client.fake.end(self.call, self.client.world.now, self.output)

    async def settled(self) -> None:
        axes = self.client.fake.axes
        used = {pool: axes[axis].used(self.prompt, self.output) for axis, pool in self.client.pools.items()}
        await self.ledger.settle(self.attempt, used, self._ago())
        await self.client._press()

    async def cut(self) -> None:
        """The client goes: the ledger books all that was reserved, and the provider hears of it later."""
        world = self.client.world
        world.after(world.dice.uniform(*self.client.habits.latency), self.ends)
        await self.ledger.settle(self.attempt, {}, self._ago())
        await self.client._press()

    def _ago(self) -> float:
        return (self.client.world.now - self.answered_at) / SECOND


def used_share(limiter: Limiter, seconds: float, length: int) -> float:
    """How much of what the provider gave in that time was taken, from 0 to 1 and a little."""
    return limiter.total / (limiter.cap * seconds * SECOND / length)
