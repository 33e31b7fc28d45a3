"""What a request cost is told to clients that asked for our extensions, to the log and to metrics; to nobody else."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families as parsed

from backends.json import loads
from proxy.app import Gateway
from tests.gateway import connected, gateway

CONFIG = """
[[backends]]
name = "paid"
kind = "fake"
text = "one two"
[[backends]]
name = "odd"
kind = "fake"
text = "one two"
[prices."paid/fake"]
input = 1.0
output = 2.5
[responses]
persist = true
"""
EXTENDED = {"X-Streamlane-Ext": "1"}
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(CONFIG) as started:
        yield started


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def of(usage: Mapping[str, Any]) -> int:
    """What the prices make of these tokens, in micro-dollars."""
    read: int = usage.get("input_tokens") or usage["prompt_tokens"]
    said: int = usage.get("output_tokens") or usage.get("completion_tokens") or 0  # embeddings have none
    return (2 * read + 5 * said + 1) // 2


async def socketed(running: Gateway, query: str, model: str) -> dict[str, Any]:
    async with connected(running.base_url, query) as socket:
        await socket.create(model=model)
        usage: dict[str, Any] = (await socket.until())[-1]["response"]["usage"]
        return usage


async def test_a_socket_that_asked_for_extensions_is_told_and_no_other(running: Gateway) -> None:
    plain, extended = [await socketed(running, query, "paid/fake") for query in ("", "?sl_ext=1")]
    assert extended == {**plain, "sl_cost": {"usd_micros": of(plain)}}
    assert (await socketed(running, "?sl_ext=1", "odd/fake"))["sl_cost"] == {"usd_micros": None}, "unknown is not 0"


async def test_what_is_sent_again_and_what_is_stored_say_it_too(
    running: Gateway, session: aiohttp.ClientSession
) -> None:
    key = "?sl_session=aaaaaaaaaaaaaaaaaaaaaa&sl_ext=1"
    async with connected(running.base_url, key) as socket:
        await socket.create(model="paid/fake")
        first = (await socket.until())[-1]["response"]
    async with connected(running.base_url, f"{key}&sl_after=2") as socket:
        again = (await socket.until())[-1]["response"]
    assert again == first
    assert first["usage"]["sl_cost"]["usd_micros"] > 0
    url = f"{running.base_url}/responses/{first['id']}"
    for headers in (EXTENDED, {}):
        async with session.get(url, headers=headers) as answer:
            usage = (await answer.json())["usage"]
        assert ("sl_cost" in usage) == bool(headers)
        assert {**usage, "sl_cost": first["usage"]["sl_cost"]} == first["usage"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", {"input": "hi"}),
        ("/chat/completions", {**CHAT, "n": 2}),
        ("/completions", {"prompt": "hi"}),
        ("/messages", {**CHAT, "max_tokens": 9}),
        ("/embeddings", {"input": "hi there"}),
    ],
)
async def test_over_http_it_is_in_the_usage_of_each_api(
    running: Gateway, session: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    used = []
    for headers in ({}, EXTENDED):
        async with session.post(
            f"{running.base_url}{path}", json={"model": "paid/fake", **body}, headers=headers
        ) as answer:
            assert answer.status == 200
            used.append((await answer.json())["usage"])
    plain, extended = used
    assert abs(extended["sl_cost"]["usd_micros"] - of(plain)) <= 1  # each of two choices was rounded
    assert extended == {**plain, "sl_cost": extended["sl_cost"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", {"input": "hi"}),
        ("/chat/completions", {**CHAT, "stream_options": {"include_usage": True}}),
        ("/completions", {"prompt": "hi", "stream_options": {"include_usage": True}}),
        ("/messages", {**CHAT, "max_tokens": 9}),
    ],
)
async def test_the_end_of_a_stream_says_it(
    running: Gateway, session: aiohttp.ClientSession, path: str, body: dict[str, Any]
) -> None:
    for headers in (EXTENDED, {}):
        asked = {"model": "paid/fake", "stream": True, **body}
        async with session.post(f"{running.base_url}{path}", json=asked, headers=headers) as answer:
            events = [loads(line[6:]) for line in (await answer.text()).splitlines() if line.startswith("data: {")]
        usage = [each.get("response", each).get("usage") for each in events]
        told = [each["sl_cost"] for each in usage if each and "sl_cost" in each]
        assert [each["usd_micros"] > 0 for each in told] == [True] * bool(headers)


async def test_the_log_and_the_metrics_have_it(running: Gateway, session: aiohttp.ClientSession) -> None:
    with structlog.testing.capture_logs() as lines:
        plain = await socketed(running, "", "paid/fake")
        await socketed(running, "", "odd/fake")
        while running.generations.running:
            await session.get(f"{running.ops_url}/metrics")
    costs = {line["backend"]: line["cost_usd_micros"] for line in lines if line["event"] == "request"}
    assert costs == {"paid": of(plain), "odd": None}
    async with session.get(f"{running.ops_url}/metrics") as answer:
        families = parsed(await answer.text())
    found = {
        (each.name, each.labels["backend"]): each.value
        for family in families
        for each in family.samples
        if "_cost" in each.name
    }
    assert found == {
        ("streamlane_cost_usd_micros_total", "paid"): of(plain),
        ("streamlane_requests_without_cost_total", "odd"): 1,
    }
