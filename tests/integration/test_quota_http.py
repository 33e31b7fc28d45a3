"""`GET /v1/quota` and the metrics of pools, over a ledger in memory: totals, the caller's share, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry, generate_latest

from proxy.edge.guard import Guard, digest
from proxy.edge.http import application
from proxy.edge.quota_api import QuotaApi
from proxy.edge.tickets import Tickets
from proxy.gauges import read_quota
from proxy.metered import Draw, Metered
from proxy.metrics import Metrics
from proxy.metrics_table import METRICS
from proxy.outcome import Principal
from proxy.quota_counts import QuotaCounts
from proxy.reference.answers import Quota
from proxy.runtime import Runtime
from quota.ledger import Attempt, Cooldown, Denied, Settled
from quota.memory_ledger import MemoryLedger
from quota.pool import DAY, MINUTE, Fixed, Gcra, Pool, Rolling
from quota.windows import ENDLESS
from streamlane_client import AsyncClient, Client
from tests.gateway import answers, gateway
from tests.integration.node_client import script

ALICE, BOB = "sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb"
LABELS = {"account": "mine", "provider": "groq", "model": "m", "metric": "requests"}
POOLS = (
    Pool("mine/requests/day/m", 20, Fixed("day"), labels=LABELS),
    Pool("mine/requests/minute/m", 5, Rolling(MINUTE), labels=LABELS),
    Pool("mine/tokens/day/m", 1000, Gcra(DAY), labels={**LABELS, "metric": "tokens"}),
)
OLD = Pool("gone/requests/day", 20, Fixed("day"), labels={"account": "gone", "provider": "x", "metric": "requests"})
MODEL = Metered("mine", "groq", "m", tuple(Draw(each.id, "requests") for each in POOLS), "stops")


def who(key: str) -> str:
    """The principal that a key's requests are booked under."""
    return Principal(f"key_{digest(key).hex()[:12]}").id


async def ledger() -> MemoryLedger:
    """One in which Alice has asked three times and Bob once, and one request of his runs."""
    made = MemoryLedger()
    await made.define((*POOLS, OLD))
    for number, key in enumerate((ALICE, ALICE, ALICE, BOB, BOB)):
        amounts = {POOLS[0].id: 1, POOLS[2].id: 100}
        await made.reserve(Attempt(f"req_{number}"), amounts, who(key))
        if number < 4:
            await made.settle(Attempt(f"req_{number}"), amounts)
    return made


Get = Callable[..., Awaitable[tuple[int, dict[str, Any]]]]


@asynccontextmanager
async def serving(made: MemoryLedger | None, *models: Metered) -> AsyncIterator[Get]:
    """The public listener, with two keys."""
    guard = Guard(
        api_keys=(ALICE, BOB),
        allowed_origins=(),
        allowed_hosts=(),
        bind="127.0.0.1",
        tickets=Tickets(now=lambda: 0.0),
    )
    app = application(guard, [QuotaApi(ledger=made, metered=lambda: models)], lambda _: None)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:

        async def get(key: str | None = ALICE) -> tuple[int, dict[str, Any]]:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            async with session.get(server.make_url("/v1/quota"), headers=headers) as answer:
                return answer.status, await answer.json()

        yield get


async def test_it_answers_what_the_reference_says() -> None:
    async with serving(await ledger(), MODEL) as get:
        status, body = await get()
    assert status == 200
    assert msgspec.to_builtins(msgspec.convert(body, Quota)) == body


async def test_a_caller_sees_the_totals_and_its_own_share() -> None:
    async with serving(await ledger(), MODEL) as get:
        [alice, *_], [bob, *_] = [(await get(key))[1]["data"] for key in (ALICE, BOB)]
    for seen in (alice, bob):
        assert (seen["used"], seen["reserved"], seen["left"]) == (4, 1, 15)
    assert (alice["share"], bob["share"]) == ({"used": 3, "part": 0.75}, {"used": 1, "part": 0.25})


async def test_nobody_sees_another_caller() -> None:
    async with serving(await ledger(), MODEL) as get:
        _, body = await get(ALICE)
    assert who(BOB) not in str(body)
    assert who(ALICE) not in str(body)


async def test_a_share_of_a_pool_that_refills_is_that_of_its_length() -> None:
    async with serving(await ledger(), MODEL) as get:
        _, body = await get(ALICE)
    [tokens] = [each for each in body["data"] if each["metric"] == "tokens"]
    assert (tokens["used"], tokens["share"]) == (400, {"used": 300, "part": 0.75})


async def test_only_pools_that_are_in_use_are_shown() -> None:
    async with serving(await ledger(), MODEL) as get:
        _, body = await get()
    assert {each["id"] for each in body["data"]} == {each.id for each in POOLS}


async def test_an_account_whose_key_was_refused_says_so() -> None:
    made = await ledger()
    async with serving(made, MODEL) as get:
        before = (await get())[1]["data"]
        await made.cool(Cooldown("account:mine", ENDLESS, "it refused the key"))
        after = (await get())[1]["data"]
    assert {each["resting"] for each in before} == {None}
    for each in after:
        assert each["resting"].startswith("Its key was refused: ")
        assert (each["rests_until"], each["state"]) == (None, "open")


async def test_without_accounts_the_list_is_empty() -> None:
    nothing = {"object": "list", "data": []}
    async with serving(MemoryLedger()) as get, serving(None) as without:
        assert [await get(), await without()] == [(200, nothing), (200, nothing)]


@pytest.mark.parametrize("key", [None, "sk-sl-wrongwrongwrongw"])
async def test_it_needs_the_key(key: str | None) -> None:
    async with serving(await ledger(), MODEL) as get:
        status, body = await get(key)
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")


ACCOUNT = """
[[accounts]]
name = "mine"
provider = "groq"
api_key = "gsk_0123456789abcdef0123"
base_url = "http://127.0.0.1:1/v1"
models = ["m"]
limits = [{ metric = "requests", amount = 20, window = "day", reset = "fixed" }]
"""


@pytest.mark.needs("node")
async def test_our_clients_ask_for_it() -> None:
    async with gateway(ACCOUNT, [answers()]) as started, AsyncClient(started.base_url) as client:
        listed = await client.quota()
        with Client(started.base_url) as plain:
            assert await asyncio.to_thread(plain.quota) == listed
        async with script("quota", started.base_url) as node:
            assert await node.says() == [each["id"] for each in listed]
    [day] = [each for each in listed if each["per"] == "day" and each["metric"] == "requests"]
    assert (day["account"], day["cap"], day["left"], day["source"]) == ("mine", 20, 20, "configuration")


async def test_metrics_tell_each_pool_and_what_became_of_reservations() -> None:
    made, counts = await ledger(), QuotaCounts()
    metrics = Metrics(CollectorRegistry(), lambda: Runtime(MappingProxyType({})))
    read_quota(metrics, made, lambda: [MODEL], counts)
    counts.grant({each.id: 300 for each in POOLS})  # reservations are counted, not what they take
    counts.deny(Denied(POOLS[0].id, "spent", None))
    counts.deny(Denied("a pool that only a request names", "unknown", None))
    counts.settle(Settled({POOLS[2].id: 7}))
    counts.settle(None)
    counts.lapse(2)
    said = generate_latest(metrics.registry).decode()
    at = 'account="mine",pool="mine/requests/day/m"'
    expected = (
        f"streamlane_quota_cap{{{at}}} 20.0",
        f"streamlane_quota_used{{{at}}} 4.0",
        f"streamlane_quota_reserved{{{at}}} 1.0",
        f"streamlane_quota_left{{{at}}} 15.0",
        f'streamlane_quota_reservations_total{{{at},result="granted"}} 1.0',
        f'streamlane_quota_reservations_total{{{at},result="spent"}} 1.0',
        'streamlane_quota_overdrafts_total{account="mine",pool="mine/tokens/day/m"} 1.0',
        "streamlane_quota_lapsed_total 2.0",
    )
    assert [each for each in expected if each not in said] == []
    assert "only a request names" not in said
    assert 'account="gone"' not in said
    assert {each.name for each in METRICS if "quota" in each.name} == {
        line.split()[2] for line in said.splitlines() if line.startswith("# TYPE streamlane_quota")
    }
