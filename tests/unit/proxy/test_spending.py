"""Between the dispatcher and the ledger: whose turn it is in the line, what a caller may want, what a success mends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, cast

import pytest
from msgspec.structs import replace

from backends.base import Model
from backends.fake import FakeBackend
from backends.request import EmbeddingRequest
from proxy.free_memory import FreeMemory
from proxy.line import Line
from proxy.metered import Draw, Metered
from proxy.outcome import Call, Principal
from proxy.quota_counts import QuotaCounts
from proxy.runtime import Candidate
from proxy.selection import PassedOver, Policy, Selection, scopes
from proxy.spending import Spending
from proxy.wire.extras import RouteWish
from quota.ledger import Cooldown
from quota.memory_ledger import MemoryLedger
from quota.pool import HOUR, Fixed, Pool
from quota.windows import ENDLESS
from tests.unit.proxy.free_world import HELLO, NOON, World

METERED = Metered("me", "groq", "m", (Draw("me/day", "requests"),), "stops")


async def nothing(told: Mapping[str, int]) -> None:
    assert not told


def spending(
    ledger: MemoryLedger,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    local: Sequence[str] = (),
) -> Spending:
    return Spending(
        ledger=ledger,
        rules={},
        unknown={},
        on_learned=nothing,
        memory=FreeMemory(),
        policy=Policy(),
        counts=QuotaCounts(),
        confirm=lambda _: None,
        when_spent=("wait", "local", "paid"),
        wait=30.0,
        local=local,
        waiting_per_principal=8,
        sleep=sleep,
        dice=lambda: 0.0,
    )


async def test_who_has_had_least_comes_first_whoever_wakes_first() -> None:
    woken = {1.0: asyncio.Event(), 2.0: asyncio.Event()}

    async def sleep(seconds: float) -> None:
        await woken[seconds].wait()

    spends = spending(MemoryLedger(lambda: NOON), sleep)
    use = {"greedy": 0.9, "modest": 0.1, "middling": 0.5}
    spends.line = Line(8, use.__getitem__)
    turns: list[str] = []

    async def waits(who: str, seconds: float) -> None:
        with spends.line.place(who, lambda _: None) as place:
            await spends.change(seconds)
            async with spends.line.turn(place):
                turns.append(who)
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(waits("greedy", 1.0))
        tasks.create_task(waits("middling", 2.0))
        tasks.create_task(waits("modest", 2.0))
        await asyncio.sleep(0)
        woken[1.0].set()  # only greedy's time has come
    assert turns == ["modest", "middling", "greedy"]


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        (None, ("wait", "local")),  # there is no account that costs
        (("local", "wait"), ("local", "wait")),
        ((), ()),
        (("paid", "local"), ("local",)),
        (("wait",) * 1000, ("wait",)),  # not a thousand times the operator's longest wait
    ],
)
def test_a_caller_chooses_among_what_the_operator_allows_each_once(
    wanted: tuple[Literal["wait", "local", "paid"], ...] | None, tried: tuple[str, ...]
) -> None:
    request = replace(HELLO, extras={"sl_route": RouteWish(when_spent=wanted)})
    world = World()
    world.daily("me", 10, 10)
    spends = spending(MemoryLedger(), local=("home/m",))
    assert spends.when_spent(request, world.candidates) == tried


def test_no_attempt_is_kept_for_who_is_not_there() -> None:
    world = World()
    assert spending(MemoryLedger()).when_spent(HELLO, world.candidates) == ("wait",)
    world.daily("budget", 10, 10, free=False)
    assert spending(MemoryLedger()).when_spent(HELLO, world.candidates) == ("wait", "paid")


def test_who_embeds_can_say_nothing_and_gets_what_the_operator_wants() -> None:
    spends = spending(MemoryLedger(), local=("home/m",))
    assert spends.when_spent(EmbeddingRequest("free/m", ("Hi",)), ()) == ("wait", "local")


@pytest.mark.parametrize(
    ("until", "guessed", "over"),
    [
        (NOON + HOUR, True, True),
        (ENDLESS, False, True),  # its key was refused, and is good again
        (NOON + HOUR, False, False),  # the provider itself said when
    ],
)
async def test_an_answer_ends_what_was_guessed_of_a_model(until: int, guessed: bool, over: bool) -> None:
    ledger = MemoryLedger(lambda: NOON)
    for scope in scopes(METERED):
        await ledger.cool(Cooldown(scope, until, "it failed", guessed))
    spending(ledger).succeeded(METERED)
    await asyncio.sleep(0)
    assert (not ledger.cooldowns()) == over


async def test_pools_are_told_with_why_nobody_is_asked() -> None:
    ledger, labels = MemoryLedger(lambda: NOON), {"account": "me", "provider": "groq", "model": "m"}
    await ledger.define([Pool("me/day", 20, Fixed("day"), labels=labels)])
    await ledger.cool(Cooldown("account:me", NOON + HOUR, "it is overloaded"))
    spends, head = spending(ledger), ledger.headroom()["me/day"]
    [told] = cast(list[dict[str, object]], spends.notice(METERED, "ann").data["pools"])
    over = PassedOver(Candidate(FakeBackend("me"), "m", Model("m"), METERED), "too_large", head=head)
    [listed] = spends.exhausted(Call(Principal("ann"), "req_1"), Selection((), (over,), None)).pools
    for pool in (told, listed):
        assert (pool["resting"], pool["rests_until"]) == (
            "It is not asked now: it is overloaded.",
            "2026-11-21T13:00:00Z",
        )
