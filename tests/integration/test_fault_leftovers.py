"""What a fault leaves behind: no wait of who has gone, no SDK that tries in vain, and no client that hangs."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from anthropic import AsyncAnthropic
from openai import APIStatusError, AsyncOpenAI

from tests.gateway import client, gateway, text_of
from tests.integration.fault_ways import WAYS, Way, World, posted
from tests.providers.base import Fault
from tests.upstream import HOLD, SSE_HEAD, Script, Upstream, answer, chat_chunk, chunk, until


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
        await until(lambda: bool(world.primary.seen) and world.places == 0)
        assert world.gateway.generations.running == 1, "it waits, and holds no place meanwhile"
        waits.set()
        await leaving
        await until(lambda: world.gateway.generations.running == 0)
        assert len(world.primary.seen) == 1


async def by_openai(url: str) -> None:
    async with AsyncOpenAI(base_url=url, api_key="k") as sdk:
        with pytest.raises(APIStatusError) as refused:
            await sdk.responses.create(model="primary/fake", input="hi")
        assert refused.value.status_code == 429


async def by_openai_s_chat(url: str) -> None:
    async with AsyncOpenAI(base_url=url, api_key="k") as sdk:
        with pytest.raises(APIStatusError) as refused:
            await sdk.chat.completions.create(model="primary/fake", messages=[{"role": "user", "content": "hi"}])
        assert refused.value.status_code == 429


async def by_anthropic(url: str) -> None:
    async with AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="k") as sdk:
        with pytest.raises(Exception, match="rate_limit_error"):
            await sdk.messages.create(model="primary/fake", max_tokens=8, messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize("ask", [by_openai, by_openai_s_chat, by_anthropic])
@pytest.mark.parametrize("fault", [Fault("spent"), Fault("rate_limited", retry_after=3600)], ids=lambda each: each.name)
async def test_sdks_do_not_try_again_in_vain(fault: Fault, ask: Callable[[str], Awaitable[None]]) -> None:
    async with World() as world, asyncio.timeout(20):
        world.primary.always = fault
        await ask(world.gateway.base_url)  # the provider refuses it
        await ask(world.gateway.base_url)  # the provider rests since: it is refused for the same reason
        assert len(world.primary.seen) == 1
        assert await world.metric("requests_total") == 2, "one request for each"


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
        text = f'{backends}[models.both]\ntargets = ["hung/m", "next/m"]\n[deadlines]\nfirst_event = 1\nretry = 5'
        async with gateway(text) as started, client(started) as socket, asyncio.timeout(10):
            await socket.create("both")
            assert text_of(await socket.until()) == "yes"
            await (await hung.seen(0)).gone.wait()
