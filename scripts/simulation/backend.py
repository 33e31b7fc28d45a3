"""A backend that answers as a server under load would: places, a line, a pace that they share, and bad weather."""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from backends.base import Batches, Model
from backends.errors import DeadlineExceeded, Overloaded, RateLimited, ServerFailed, StreamBroken, Unreachable
from backends.events import Event, Finished, TextDelta, Usage
from backends.request import Request, Text
from quota.price import Price
from scripts.simulation.weather import FAIR, Weather

LENGTH = "simulated_length"  # the field of a request that says how many tokens its answer has
NAME = "simulated_name"  # and the one with a name for it, for whoever counts attempts
CONNECT = 10.0  # seconds, after which the gateway gives a connection up
REFUSED, REFUSING = 0.02, 0.15  # seconds until a machine, and a provider, says no
STALLING = 8.0  # seconds until a proxy gives up what is behind it
BATCHES = 5  # of an answer: fewer than in life, for a day has to end
CACHED = 500  # conversations whose prompts a server remembers
CHARACTERS = 4  # of a token


@dataclass(frozen=True)
class Speed:
    """`first` is the median of the seconds to the first token; `prefill` and `pace` are the tokens per second of a
    prompt, and of an answer that has the server to itself; `most` those of all answers together. `jitter` is the
    deviation of the logarithm.
    """

    first: float = 0.5
    prefill: float = 2000.0
    pace: float = 50.0
    most: float = math.inf
    jitter: float = 0.25


@dataclass(frozen=True)
class Asked:
    """One attempt: when it came, when it was left, which request, and how it was met ("well", or a word of Kind)."""

    came: float
    left: float
    request: str
    how: str


class SimulatedBackend:
    """`slots` is what the gateway is told, `room` how many answers run at once in truth; as many as `line` wait inside
    for that, more are Overloaded. Beyond `per_minute` it is RateLimited until the minute is over.

    `asked` is every attempt that has ended, `running` and `waiting` are those of now.
    `looks` counts who asked for its models, as probes do.
    """

    extras = frozenset({LENGTH, NAME})

    def __init__(
        self,
        name: str,
        *,
        speed: Speed = Speed(),
        price: Price | None = None,
        slots: int | None = None,
        room: int = 1_000,
        line: int = 0,
        per_minute: int | None = None,
        weather: Weather = FAIR,
        seed: int = 0,
    ) -> None:
        self.name, self.slots, self.price, self.weather = name, slots, price, weather
        self.asked: list[Asked] = []
        self.running = self.waiting = self.looks = 0
        self._speed, self._line, self._per_minute = speed, line, per_minute
        self._places = asyncio.Semaphore(room)
        self._dice = random.Random(f"{seed}/{name}")
        self._minute, self._taken = -1, 0
        self._cache: OrderedDict[str, int] = OrderedDict()

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def models(self) -> Sequence[Model]:
        """One, of the same name; a server that is dead does not say it."""
        self.looks += 1
        await self._met(self._how())
        return [Model(self.name)]

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        """Answer, or fail as the weather says."""
        now = asyncio.get_running_loop().time
        came, how = now(), self._how()
        entered = False
        try:
            await self._met(how)
            if how == "stalling":
                await asyncio.sleep(STALLING)
                raise ServerFailed(504)
            if (wait := self._limited(came)) is not None:
                how = "limited"
                await asyncio.sleep(REFUSING)
                raise RateLimited(wait)
            if self._places.locked() and self.waiting >= self._line:
                how = "full"
                await asyncio.sleep(REFUSING)
                raise Overloaded
            self.waiting += 1
            try:
                await self._places.acquire()
            finally:
                self.waiting -= 1
            self.running += 1
            entered = True
            async with aclosing(self._answer(request, how == "hanging")) as batches:
                yield batches
        finally:
            if entered:
                self.running -= 1
                self._places.release()
            self.asked.append(Asked(came, now(), str(request.extras.get(NAME, "")), how))

    def _how(self) -> str:
        """How it meets who comes now."""
        spell = self.weather.at(asyncio.get_running_loop().time())
        return "well" if spell is None else spell.kind

    async def _met(self, how: str) -> None:
        """Take as long as that takes to fail, if it does."""
        if how == "refused":
            await asyncio.sleep(REFUSED)
            raise Unreachable("refused")
        if how == "silent":
            await asyncio.sleep(CONNECT)
            raise DeadlineExceeded("connect", CONNECT)
        if how in {"failing", "full"}:
            await asyncio.sleep(REFUSING)
            raise ServerFailed(500) if how == "failing" else Overloaded

    def _limited(self, now: float) -> float | None:
        """Seconds until the minute is over, when it has had all that it may; else this one counts."""
        if self._per_minute is None:
            return None
        minute = int(now // 60)
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        if self._taken >= self._per_minute:
            return 60.0 - now % 60
        self._taken += 1
        return None

    async def _answer(self, request: Request, hanging: bool) -> AsyncGenerator[Sequence[Event], None]:
        if hanging:
            await asyncio.Event().wait()
        now = asyncio.get_running_loop().time
        prompt, cached = self._prompt(request)
        length = int(request.extras.get(LENGTH, request.max_output_tokens))
        length = max(1, min(length, request.max_output_tokens or length))
        first = self._speed.first + (prompt - cached) / self._speed.prefill
        await asyncio.sleep(first * math.exp(self._dice.gauss(0.0, self._speed.jitter)) * self._slowness(now()))
        batches = min(length, BATCHES)
        own = self._speed.pace * math.exp(self._dice.gauss(0.0, self._speed.jitter / 2))
        for batch in range(batches):
            if batch:
                pace = min(own, self._speed.most / self.running)
                await asyncio.sleep(length / (batches - 1) / pace * self._slowness(now()))
            if self.weather.dead(now()):
                raise StreamBroken
            yield [TextDelta("word ")]
        yield [Finished("stop", Usage(prompt, length, cached))]

    def _slowness(self, now: float) -> float:
        spell = self.weather.at(now)
        return 1.0 if spell is None else spell.factor

    def _prompt(self, request: Request) -> tuple[int, int]:
        """Tokens of the prompt, and how many of them it has read before in the same conversation."""
        texts = [part.text for message in request.messages for part in message.parts if isinstance(part, Text)]
        tokens = sum(map(len, texts)) // CHARACTERS
        begin = texts[0] if texts else ""
        cached = min(tokens, self._cache.pop(begin, 0))
        self._cache[begin] = tokens
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return tokens, cached
