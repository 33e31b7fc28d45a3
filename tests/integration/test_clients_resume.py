"""Our clients lose their connection in the middle of answers, and nobody notices: each token comes once, and in order."""

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from streamlane_client import AsyncClient, Client, ConnectionLost
from tests.gateway import DONE, answers, gateway
from tests.integration.cuts import Wire
from tests.integration.node_client import script

COUNT = " ".join(str(number) for number in range(600))
LANES = 4


def counting() -> FakeBackend:
    return FakeBackend("fake", text=COUNT, tokens_per_second=400)


def halves(gate: asyncio.Event) -> FakeBackend:
    """Says "Hel", waits for the event, and says "lo"."""
    return FakeBackend("fake", script=[[TextDelta("Hel")], gate, [TextDelta("lo")], DONE])


@pytest.mark.parametrize("seed", range(2))
async def test_python_asynchronous_every_token_comes_once(seed: int) -> None:
    backend = counting()
    async with gateway(backends=[backend]) as started, Wire(started.base_url, every=60_000, most=12, seed=seed) as wire:
        async with AsyncClient(wire.base_url) as client:
            running = [client.create(model="fake", input="count") for _ in range(LANES)]
            told = [event async for event in running[0]]
            texts = await asyncio.gather(*(answer.text() for answer in running))
    assert texts == [COUNT] * LANES
    assert "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta") == COUNT
    assert [event["type"] for event in told].count("response.created") == 1
    assert wire.cuts >= 5
    assert len(backend.requests) == LANES


async def test_python_synchronous_every_token_comes_once() -> None:
    backend = counting()

    def use(url: str) -> list[str]:
        with Client(url) as client:
            running = [client.create(model="fake", input="count") for _ in range(LANES)]
            return ["".join(e["delta"] for e in a if e["type"] == "response.output_text.delta") for a in running]

    async with gateway(backends=[backend]) as started, Wire(started.base_url, every=60_000, most=12, seed=7) as wire:
        assert await asyncio.to_thread(use, wire.base_url) == [COUNT] * LANES
    assert wire.cuts >= 5
    assert len(backend.requests) == LANES


@pytest.mark.needs("node")
@pytest.mark.parametrize("seed", range(2))
async def test_javascript_every_token_comes_once(seed: int) -> None:
    backend = counting()
    async with gateway(backends=[backend]) as started, Wire(started.base_url, every=60_000, most=12, seed=seed) as wire:
        async with script("resume", wire.base_url) as node:
            said = await node.says()
    assert said["texts"] == [COUNT] * LANES
    assert said["finals"] == [COUNT] * LANES
    assert wire.cuts >= 5
    assert len(backend.requests) == LANES


async def test_creates_around_a_cut_run_once() -> None:
    """Cut within the first bytes again and again: in the handshake, before and in response.created."""
    backend = answers()
    async with gateway(backends=[backend]) as started:
        for seed in range(6):
            async with Wire(started.base_url, every=2_000, most=4, seed=seed) as wire, AsyncClient(wire.base_url) as client:
                with_patience = [answer.text() for answer in await asked(client, 3)]
                assert await asyncio.gather(*with_patience) == ["Hello wörld"] * 3
            assert len(backend.requests) == 3 * (seed + 1)


async def asked(client: AsyncClient, count: int) -> list:
    """Three answers on a connection that may not come at first: then a create would fail at once, so it is opened before."""
    while True:
        try:
            await client.open()
        except ConnectionLost:
            continue
        return [client.create(model="fake", input="hi") for _ in range(count)]
