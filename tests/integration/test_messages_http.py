"""Anthropic's Messages API, asked by its unmodified Python SDK, sync and async."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from backends.errors import Overloaded, StreamBroken
from backends.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from backends.request import Image, Text, ToolResult
from tests.gateway import DONE, Gateway, answers, gateway
from tests.unit.proxy.wire.responses_requests import PIXEL

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
SAY: Any = {"model": "fake", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
TOOL: Any = {"name": "weather", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}
CALLS: list[Any] = [
    [ReasoningDelta("Two "), ReasoningDelta("places.")],
    [TextDelta("I look.")],
    [ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"place":'), ToolCallDelta(0, '"Rome"}')],
    [ToolCallStart(1, "call_2", "weather"), ToolCallDelta(1, '{"place":"Oslo"}')],
    [Finished("stop", Usage(10, 5, cached_tokens=4))],
]


def sdk_of(running: Gateway, key: str = "k") -> AsyncAnthropic:
    return AsyncAnthropic(base_url=running.base_url.removesuffix("/v1"), api_key=key, max_retries=0)


@pytest.fixture
def fake() -> FakeBackend:
    return answers()


@pytest.fixture
async def running(fake: FakeBackend) -> AsyncIterator[Gateway]:
    async with gateway(backends=[fake]) as started:
        yield started


async def test_a_whole_answer(running: Gateway) -> None:
    async with sdk_of(running) as sdk:
        message = await sdk.messages.create(**SAY)
    assert [(block.type, block.text) for block in message.content] == [("text", "Hello wörld")]
    assert (message.role, message.model, message.stop_reason) == ("assistant", "fake", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (3, 2)
    assert message._request_id


async def test_the_sync_sdk_streams(running: Gateway) -> None:
    def ask() -> tuple[str, Any]:
        with Anthropic(base_url=running.base_url.removesuffix("/v1"), api_key="k") as sdk:
            with sdk.messages.stream(**SAY) as stream:
                return "".join(stream.text_stream), stream.get_final_message()

    said, final = await asyncio.to_thread(ask)
    assert said == final.content[0].text == "Hello wörld"
    assert (final.usage.input_tokens, final.usage.output_tokens, final.stop_reason) == (3, 2, "end_turn")


async def test_thinking_text_and_tools_streamed_and_whole() -> None:
    async with gateway(backends=[FakeBackend("fake", script=CALLS)]) as running, sdk_of(running) as sdk:
        async with sdk.messages.stream(**SAY, tools=[TOOL]) as stream:
            kinds = [event.type async for event in stream]
            streamed = await stream.get_final_message()
        whole = await sdk.messages.create(**SAY, tools=[TOOL])
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 4
    assert "input_json" in kinds
    for message in (streamed, whole):
        thought, text, rome, oslo = message.content
        assert (thought.type, thought.thinking, thought.signature) == ("thinking", "Two places.", "")
        assert text.text == "I look."
        assert (rome.id, rome.name, rome.input) == ("call_1", "weather", {"place": "Rome"})
        assert oslo.input == {"place": "Oslo"}
        assert message.stop_reason == "tool_use"
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (6, 4)


async def test_a_conversation_with_a_tool_and_a_picture_reaches_the_backend(
    running: Gateway, fake: FakeBackend
) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    messages: Any = [
        {"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}]},
    ]
    async with sdk_of(running) as sdk:
        await sdk.messages.create(
            model="fake",
            max_tokens=7,
            system="Be brief.",
            messages=messages,
            tools=[TOOL],
            tool_choice={"type": "any"},
            stop_sequences=["END"],
        )
    [request] = fake.requests
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "user"]
    assert request.messages[1].parts == (Image("image/png", PIXEL), Text("What is it?"))
    assert request.messages[3].parts == (ToolResult("call_1", (Text("sunny"),)),)
    assert (request.tool_choice, request.stop, request.max_output_tokens) == ("required", ("END",), 7)


class City(BaseModel):
    """An answer with a form."""

    name: str


async def test_structured_outputs_are_parsed() -> None:
    fake = FakeBackend("fake", script=[[TextDelta('{"name":'), TextDelta('"Oslo"}')], DONE])
    async with gateway(backends=[fake]) as running, sdk_of(running) as sdk:
        parsed = await sdk.messages.parse(**SAY, output_format=City)
    assert parsed.parsed_output == City(name="Oslo")
    assert fake.requests[0].format is not None


async def test_tokens_are_counted_by_the_backend(running: Gateway) -> None:
    async with sdk_of(running) as sdk:
        counted = await sdk.messages.count_tokens(
            model="fake", system="one two", messages=[{"role": "user", "content": "three"}]
        )
    assert counted.input_tokens == 3
    assert not hasattr(counted, "sl_estimated")


class Uncounting(FakeBackend):
    """A backend that cannot count."""

    count_tokens = None  # type: ignore[assignment]  # what it lacks is no TokenCounter


async def test_tokens_that_nobody_counts_are_estimated_and_marked() -> None:
    async with gateway(backends=[Uncounting("fake")]) as running, sdk_of(running) as sdk:
        counted = await sdk.messages.count_tokens(model="fake", messages=[{"role": "user", "content": "a" * 40}])
    assert counted.input_tokens == 10
    assert counted.sl_estimated is True  # type: ignore[attr-defined]


async def test_errors_have_anthropics_shape() -> None:
    text = f'server.api_keys = ["{KEY}"]'
    async with gateway(text, [answers()]) as running:
        async with sdk_of(running, KEY) as sdk:
            with pytest.raises(anthropic.NotFoundError, match="does not exist") as missing:
                await sdk.messages.create(**{**SAY, "model": "nope"})
            with pytest.raises(anthropic.BadRequestError, match="mcp_servers"):
                await sdk.messages.create(**SAY, extra_body={"mcp_servers": [{"url": "x"}]})
            with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
                await sdk.messages.create(**{**SAY, "max_tokens": 0})
        body: Any = missing.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
        assert body["request_id"] == missing.value.request_id
        async with sdk_of(running, "sk-sl-wrong") as stranger:
            with pytest.raises(anthropic.AuthenticationError) as refused:
                await stranger.messages.create(**SAY)
        body = refused.value.body
        assert body["error"]["type"] == "authentication_error"


async def test_a_key_may_come_in_x_api_key_for_every_route() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as running, aiohttp.ClientSession() as http:
        for key, status in ((KEY, 200), ("sk-sl-wrong", 401), ("", 401)):
            async with http.get(f"{running.base_url}/models", headers={"x-api-key": key}) as got:
                assert got.status == status
        # A proxy before us may ask for a password of its own.
        headers = {"x-api-key": KEY, "Authorization": "Basic YTpi", "X-Request-Id": KEY}
        async with http.get(f"{running.base_url}/models", headers=headers) as got:
            assert got.status == 200
            assert got.headers["X-Request-Id"] == got.headers["Request-Id"] != KEY, "a key must not reach the log"


async def test_what_fails_before_the_first_word_is_a_status_and_later_an_event() -> None:
    full = FakeBackend("fake", script=[Overloaded(2)])
    async with gateway("deadlines.retry = 1", [full]) as running, sdk_of(running) as sdk:
        for more in ({}, {"stream": True}):
            with pytest.raises(anthropic.APIStatusError) as raised:
                await sdk.messages.create(**SAY, **more)
            assert raised.value.status_code == 503
            body: Any = raised.value.body
            assert body["error"]["type"] == "overloaded_error"
    broken: list[Any] = [[TextDelta("half")], StreamBroken()]
    async with gateway(backends=[FakeBackend("fake", script=broken)]) as running, sdk_of(running) as sdk:
        stream = await sdk.messages.create(**SAY, stream=True)
        kinds = [(await anext(stream)).type for _ in range(4)]
        with pytest.raises(anthropic.APIStatusError, match="broke the connection"):
            await anext(stream)
    assert kinds == ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]
