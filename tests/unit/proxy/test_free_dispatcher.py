"""free/… in the dispatcher, left at every moment: nothing stays reserved, and only what was sent is charged."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from backends.base import Model
from backends.errors import BackendError, RateLimited, ServerFailed
from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend, Step
from proxy.dispatcher import Dispatcher
from proxy.metered import Draw, Metered
from proxy.outcome import ANONYMOUS, Call, Notice
from proxy.runtime import Runtime
from quota.ledger import Attempt, Denied, Granted
from quota.memory_ledger import MemoryLedger
from quota.pool import MINUTE, Pool, Rolling
from tests import dispatching
from tests.unit.proxy.free_world import HELLO, NOON
from tests.unit.proxy.test_spending import spending

CALL = Call(ANONYMOUS, "req_1")
ANSWER: list[Step] = [[TextDelta("Hi")], 0, [TextDelta(" you")], [Finished("stop", Usage(5, 2))]]
CAP = 5


class Slow(MemoryLedger):
    """As one on a disk: an answer takes a few moments."""

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        answer = await super().reserve(attempt, amounts, tag)  # what was begun is done, also for who has left
        for _ in range(3):
            await asyncio.sleep(0)
        return answer


def metered(name: str) -> Metered:
    return Metered(name, "groq", "m", (Draw(f"{name}/minute", "requests"),), "stops")


async def world(*scripts: list[Step]) -> tuple[Dispatcher, Slow, list[FakeBackend]]:
    """A dispatcher over accounts a, b, …, each with CAP requests a minute."""
    backends = [FakeBackend(name, script=script, slots=1) for name, script in zip("abc", scripts, strict=False)]
    ledger = Slow(lambda: NOON)
    await ledger.define([Pool(f"{each.name}/minute", CAP, Rolling(MINUTE)) for each in backends])
    runtime = Runtime(
        backends=MappingProxyType({each.name: each for each in backends}),
        models=MappingProxyType({each.name: (Model("m"),) for each in backends}),
        metered=MappingProxyType({each.name: {"m": metered(each.name)} for each in backends}),
    )

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    made = dispatching.dispatcher(
        lambda: runtime,
        default_max_output_tokens=100,
        spending=spending(ledger),
        now=lambda: 0.0,
        sleep=sleep,
        dice=lambda: 0.5,
    )
    return made, ledger, backends


async def ask(through: Dispatcher, heard: list[Notice] | None = None) -> None:
    route, request = through.plan(HELLO)
    notify = (lambda _: None) if heard is None else heard.append
    async with through.open(CALL, route, request, HELLO.model, notify) as answer:
        await answer.into(lambda batch: None)


@pytest.mark.parametrize("moment", range(40))
@pytest.mark.parametrize("first", [ANSWER, [ServerFailed(500)], [RateLimited(1.0)]], ids=["answer", "fails", "refuses"])
async def test_who_leaves_at_any_moment_leaves_nothing_reserved(first: list[Step], moment: int) -> None:
    dispatcher, ledger, backends = await world(first, ANSWER)
    asking = asyncio.create_task(ask(dispatcher))
    for _ in range(moment):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(5):
        while any(each.reserved for each in ledger.headroom().values()):
            await asyncio.sleep(0)
    for backend in backends:
        assert ledger.headroom()[f"{backend.name}/minute"].used == len(backend.requests)


async def test_two_that_fail_are_followed_by_a_third_and_each_is_counted_once() -> None:
    failing: list[Step] = [ServerFailed(500)]
    dispatcher, ledger, backends = await world(failing, failing, ANSWER)
    heard: list[Notice] = []
    for _ in range(3):
        await ask(dispatcher, heard)
    await asyncio.sleep(0)
    used = {name: each.used for name, each in ledger.headroom().items()}
    assert used == {f"{each.name}/minute": len(each.requests) for each in backends}
    assert used["c/minute"] == 3
    assert {"route", "quota"} == {each.kind for each in heard}


async def test_no_call_asks_more_than_three_times() -> None:
    dispatcher, _, backends = await world(*[[ServerFailed(500)]] * 3)
    with pytest.raises(BackendError):
        await ask(dispatcher)
    assert sum(len(each.requests) for each in backends) == 3
