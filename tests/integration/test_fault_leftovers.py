"""What a fault leaves behind: no place, no connection, no wait of who has gone, and no SDK that tries in vain."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

import aiohttp
import pytest
from anthropic import AsyncAnthropic
from openai import APIStatusError, AsyncOpenAI

from tests.gateway import client, gateway, text_of
from tests.integration.fault_ways import WAYS, Way, World, posted
from tests.integration.test_faults import ROWS
from tests.providers.base import Fault
from tests.upstream import HOLD, SSE_HEAD, Script, Upstream, answer, chat_chunk, chunk, until

DEADLINES = "first_event = 1\nidle = 0.3\nretry = 0.001"


def places(world: World) -> int:
    """How many places are held at all backends, or waited for."""
    lines = world.gateway.generations._dispatcher.lines().values()
    return sum(each.taken + each.waiting for each in lines)


async def busy(world: World) -> int:
    """How many connections to the providers carry a request."""
    async with aiohttp.ClientSession() as session, session.get(f"{world.gateway.ops_url}/metrics") as answered:
        found = re.findall(r'backend_connections\{origin="[^"]*",state="busy"\} (\d+)', await answered.text())
    assert found
    return sum(map(int, found))


async def test_a_fault_keeps_no_place_and_no_connection() -> None:
    async def each_fault(way: Way) -> None:
        async with World(DEADLINES) as world:
            for row in ROWS:
                for model in ("primary/fake", "both"):
                    world.primary.faults.append(row.fault)
                    await world.ask(way, model)
                    assert places(world) == 0, row.name
            async with asyncio.timeout(10):  # the end of a body may still be on its way
                while await busy(world):
                    await asyncio.sleep(0.01)

    await asyncio.gather(*map(each_fault, WAYS))


async def on_a_socket(world: World, asked: asyncio.Event) -> None:
    async with client(world.gateway) as socket:
        await socket.create("primary/fake")
        await asked.wait()


async def over_http(world: World, asked: asyncio.Event, *, stream: bool) -> None:
    async def ask() -> None:
        async with posted(world.gateway, "primary/fake", stream=stream):
            raise AssertionError("it was answered")

    task = asyncio.create_task(ask())
    await asked.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


LEAVE: dict[Way, Callable[[World, asyncio.Event], Awaitable[None]]] = {
    "socket": on_a_socket,
    "SSE": lambda world, asked: over_http(world, asked, stream=True),
    "JSON": lambda world, asked: over_http(world, asked, stream=False),
}


@pytest.mark.parametrize("way", WAYS)
async def test_who_leaves_before_the_next_attempt_is_not_asked_for_again(way: Way) -> None:
    async with World() as world, asyncio.timeout(20):
        world.primary.always = Fault("rate_limited", retry_after=25)
        waits = asyncio.Event()
        leaving = asyncio.create_task(LEAVE[way](world, waits))
        await until(lambda: bool(world.primary.seen) and places(world) == 0)
        assert world.gateway.generations.running == 1, "it waits, and holds no place meanwhile"
        waits.set()
        await leaving
        await until(lambda: world.gateway.generations.running == 0)
        assert len(world.primary.seen) == 1


@pytest.mark.parametrize("fault", [Fault("spent"), Fault("rate_limited", retry_after=3600)], ids=lambda each: each.name)
async def test_sdks_do_not_try_again_in_vain(fault: Fault) -> None:
    async with World() as world, asyncio.timeout(20):
        world.primary.always = fault
        url = world.gateway.base_url
        async with AsyncOpenAI(base_url=url, api_key="k") as openai:
            with pytest.raises(APIStatusError) as refused:
                await openai.responses.create(model="primary/fake", input="hi")
            assert refused.value.status_code == 429
            with pytest.raises(APIStatusError):
                await openai.chat.completions.create(model="primary/fake", messages=[{"role": "user", "content": "hi"}])
        async with AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="k") as anthropic:
            with pytest.raises(Exception, match="rate_limit_error"):
                await anthropic.messages.create(
                    model="primary/fake", max_tokens=8, messages=[{"role": "user", "content": "hi"}]
                )
        assert len(world.primary.seen) == 3, "each asked once"


async def test_an_sdk_does_try_again_what_passes() -> None:
    async with World("retry = 0.001") as world, asyncio.timeout(20):
        world.primary.faults.append(Fault("rate_limited", retry_after=1))
        async with AsyncOpenAI(base_url=world.gateway.base_url, api_key="k") as openai:
            response = await openai.responses.create(model="primary/fake", input="hi", max_output_tokens=100)
        assert response.status == "completed"
        assert len(world.primary.seen) == 2


HUNG: dict[str, Script] = {
    "without a byte": [HOLD],
    "in the head": [b"HTTP/1.1 200 OK\r\n", HOLD],
    "behind the head": [SSE_HEAD, HOLD],
    "behind a chunk without content": [SSE_HEAD, chunk(chat_chunk({"role": "assistant", "content": ""})), HOLD],
    "with comments": [SSE_HEAD, *([chunk(b": still here\n\n"), 0.05] * 200)],
    "in an error's body": [b"HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{", HOLD],
}


@pytest.mark.parametrize("script", HUNG.values(), ids=HUNG)
async def test_a_target_that_hangs_before_its_first_content_is_left_for_the_next(script: Script) -> None:
    async with Upstream(script) as hung, Upstream(default=lambda _: answer("yes")) as next_one:
        backends = "".join(
            f'[[backends]]\nname = "{name}"\nkind = "openai_compatible"\nbase_url = "{each.url}"\nmodels = ["m"]\n'
            for name, each in (("hung", hung), ("next", next_one))
        )
        text = f'{backends}[models.both]\ntargets = ["hung/m", "next/m"]\n[deadlines]\nfirst_event = 0.3\nretry = 5'
        async with gateway(text) as started, client(started) as socket, asyncio.timeout(10):
            await socket.create("both")
            assert text_of(await socket.until()) == "yes"
            await (await hung.seen(0)).gone.wait()
