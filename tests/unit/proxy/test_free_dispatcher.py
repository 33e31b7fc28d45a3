"""free/… in the dispatcher, left at every moment: nothing stays reserved, and only what was sent is charged."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from backends.base import Model
from backends.errors import BackendError, RateLimited, ServerFailed
from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend, Step
from proxy.dispatcher import Dispatcher
from proxy.errors import ProxyError
from proxy.metered import Draw, Metered
from proxy.outcome import ANONYMOUS, Call, Notice, Outcome
from proxy.routing.hedging import Hedges
from proxy.runtime import Route, Runtime, TargetSet
from proxy.wire.extras import RouteWish
from quota.ledger import Attempt, Denied, Granted
from quota.memory_ledger import MemoryLedger
from quota.pool import MINUTE, SECOND, Pool, Rolling
from tests import dispatching
from tests.unit.proxy.free_world import HELLO, NOON
from tests.unit.proxy.test_spending import spending

CALL = Call(ANONYMOUS, "req_1")
ANSWER: list[Step] = [[TextDelta("Hi")], 0, [TextDelta(" you")], [Finished("stop", Usage(5, 2))]]
FAILS: list[Step] = [ServerFailed(500)]
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


async def world(
    *scripts: list[Step],
    paid: Collection[str] = (),
    local: Mapping[str, list[Step]] = MappingProxyType({}),
    clock: Sequence[int] = (NOON,),
    **options: Any,
) -> tuple[Dispatcher, Slow, list[FakeBackend]]:
    """A dispatcher over accounts a, b, …, each with CAP requests a minute, of which those in `paid` cost money; and
    over `local` backends, the last ones of all. `clock` is the ledger's.
    """
    backends = [FakeBackend(name, script=script, slots=1) for name, script in zip("abc", scripts, strict=False)]
    ours = [FakeBackend(name, script=script) for name, script in local.items()]
    ledger = Slow(lambda: clock[0])
    await ledger.define([Pool(f"{each.name}/minute", CAP, Rolling(MINUTE)) for each in backends])
    runtime = Runtime(
        backends=MappingProxyType({each.name: each for each in (*backends, *ours)}),
        models=MappingProxyType({each.name: (Model("m"),) for each in (*backends, *ours)}),
        metered=MappingProxyType(
            {each.name: {"m": replace(metered(each.name), free=each.name not in paid)} for each in backends}
        ),
    )

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    made = dispatching.dispatcher(
        lambda: runtime,
        default_max_output_tokens=100,
        spending=spending(ledger, local=[f"{each.name}/m" for each in ours]),
        now=lambda: 0.0,
        sleep=sleep,
        dice=lambda: 0.5,
        **options,
    )
    return made, ledger, [*backends, *ours]


async def ask(through: Dispatcher, heard: list[Notice] | None = None, **wish: Any) -> None:
    route, request = through.plan(HELLO)
    if wish:
        request = replace(request, extras={"sl_route": RouteWish(**wish)})
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
    dispatcher, _, backends = await world(FAILS, FAILS, FAILS)
    with pytest.raises(BackendError):
        await ask(dispatcher)
    assert sum(len(each.requests) for each in backends) == 3


async def test_what_failed_for_free_is_not_asked_again_when_money_may_be_spent() -> None:
    dispatcher, _, [a, b] = await world(FAILS, ANSWER, paid="b")
    await ask(dispatcher, when_spent=("paid",))
    assert (len(a.requests), len(b.requests)) == (1, 1)


async def test_what_failed_is_not_asked_again_when_quota_comes_back() -> None:
    clock = [NOON]
    dispatcher, _, [fails, refuses] = await world(FAILS, [RateLimited(1.0)], clock=clock)
    asking = asyncio.create_task(ask(dispatcher, when_spent=("wait",)))
    while not (fails.requests and refuses.requests):
        await asyncio.sleep(0)
    refuses.script = ANSWER
    clock[0] += 2 * SECOND
    await asking
    assert (len(fails.requests), len(refuses.requests)) == (1, 2)


async def test_a_local_model_that_failed_in_place_of_a_quota_is_not_asked_for_another_set() -> None:
    dispatcher, _, [a, ours] = await world(FAILS, local={"ours": FAILS})
    route, request = dispatcher.plan(HELLO)
    there = dispatcher._runtime().targets(["ours/m"])
    route = Route((*route.sets, TargetSet("then", there)))
    with pytest.raises(BackendError):
        async with dispatcher.open(CALL, route, request, HELLO.model, lambda _: None):
            pass
    assert (len(a.requests), len(ours.requests)) == (1, 1)


async def test_an_outcome_tells_of_the_free_model_that_failed_before_a_local_one_answered() -> None:
    outcomes: list[Outcome] = []
    dispatcher, _, _ = await world(FAILS, local={"ours": ANSWER}, on_outcome=[outcomes.append])
    await ask(dispatcher)
    [outcome] = outcomes
    assert outcome.backend == "ours"
    assert [each.backend for each in outcome.failed_attempts] == ["a"]


async def test_a_hedge_takes_no_attempt_that_is_not_left() -> None:
    stuck = asyncio.Event()
    dispatcher, _, backends = await world(
        FAILS, FAILS, local={"slow": [stuck, *FAILS], "other": FAILS}, hedges=Hedges(share=1.0, after=0.01)
    )
    asking = asyncio.create_task(ask(dispatcher))
    while not backends[2].requests:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    stuck.set()
    with pytest.raises(BackendError):
        await asking
    assert sum(len(each.requests) for each in backends) == 3


async def test_no_account_is_paid_more_than_the_caller_allows() -> None:
    dispatcher, _, [a, b] = await world(FAILS, ANSWER, paid="b")
    with pytest.raises((BackendError, ProxyError)):
        await ask(dispatcher, when_spent=("paid",), max_cost_usd_micros=0)
    assert not b.requests
    assert len(a.requests) == 1, "what is free is within every ceiling"
