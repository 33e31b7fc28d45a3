"""The fake Bedrock can be believed by Claude's users as well: Anthropic's SDK signs for it and reads its chunks."""

from collections.abc import AsyncIterator

import pytest
from anthropic import (
    APIStatusError,
    AsyncAnthropicBedrock,
    BadRequestError,
    InternalServerError,
    PermissionDeniedError,
    RateLimitError,
)
from anthropic.types import Message
from botocore.eventstream import ChecksumMismatch

from backends.events import Event, Finished, ReasoningDelta, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock
from tests.providers.test_anthropic_sdk import WEATHER, WORDS

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TURNS = [{"role": "user", "content": "Hello there"}]
ASK = {"model": CLAUDE, "messages": TURNS, "max_tokens": 100}


@pytest.fixture
async def provider() -> AsyncIterator[Bedrock]:
    async with Bedrock(FakeBackend("behind", text=WORDS, models=(CLAUDE,))) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Bedrock) -> AsyncIterator[AsyncAnthropicBedrock]:
    async with client(provider) as sdk:
        yield sdk


def client(provider: Bedrock, secret: str = SECRET, token: str | None = None) -> AsyncAnthropicBedrock:
    credentials = {"aws_access_key": ACCESS, "aws_secret_key": secret, "aws_session_token": token}
    return AsyncAnthropicBedrock(base_url=provider.url, aws_region=REGION, max_retries=0, **credentials)


async def streamed(sdk: AsyncAnthropicBedrock, **more) -> Message:
    async with sdk.messages.stream(**{**ASK, **more}) as stream:
        return await stream.get_final_message()


async def test_text_and_usage(sdk: AsyncAnthropicBedrock, provider: Bedrock) -> None:
    for message in (await streamed(sdk), await sdk.messages.create(**ASK)):
        assert [block.text for block in message.content] == [WORDS]
        assert message.stop_reason == "end_turn"
        assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 8)
    async with sdk.messages.stream(**ASK) as stream:
        assert [text async for text in stream.text_stream][:2] == ["one ", "two "]
    assert [seen.path.rpartition("/")[2] for seen in provider.seen] == [
        "invoke-with-response-stream",
        "invoke",
        "invoke-with-response-stream",
    ]


async def test_a_tool_is_called_and_answered(sdk: AsyncAnthropicBedrock) -> None:
    asked = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    for message in (await streamed(sdk, **asked), await sdk.messages.create(**ASK, **asked)):
        [call] = message.content
        assert (call.name, call.input, message.stop_reason) == ("weather", {"city": "word"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
    turns = [*TURNS, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    [text] = (await streamed(sdk, messages=turns, tools=[WEATHER])).content
    assert text.text == WORDS


async def test_thinking_comes_with_its_signature() -> None:
    script: list[list[Event]] = [
        [ReasoningDelta("let me "), ReasoningDelta("see"), Signature("anthropic", "c2lnbmVk")],
        [TextDelta("It is so.")],
        [Finished("stop", Usage(20, 9, cached_tokens=8))],
    ]
    async with Bedrock(FakeBackend("behind", script=script)) as provider, client(provider) as sdk:
        thought, text = (await streamed(sdk, model="fake")).content
    assert (thought.thinking, thought.signature, text.text) == ("let me see", "c2lnbmVk", "It is so.")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("rate_limited", retry_after=2), RateLimitError),
        (Fault("bad_key"), PermissionDeniedError),
        (Fault("context_overflow"), BadRequestError),
        (Fault("server_error"), InternalServerError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(
    sdk: AsyncAnthropicBedrock, provider: Bedrock, fault: Fault, error: type[APIStatusError]
) -> None:
    for ask in (streamed, lambda sdk: sdk.messages.create(**ASK)):
        provider.faults.append(fault)
        with pytest.raises(error) as caught:
            await ask(sdk)
        assert caught.value.response.headers.get("retry-after") == ("2" if fault.retry_after else None)
        assert (await ask(sdk)).content, "a fault is for one request"


async def test_who_signed(provider: Bedrock) -> None:
    async with client(provider, "wrong") as stranger:
        with pytest.raises(PermissionDeniedError, match="security token"):
            await streamed(stranger)
    provider.token = "a-session"
    async with client(provider) as without, client(provider, token="a-session") as borrowed:
        with pytest.raises(PermissionDeniedError):
            await without.messages.create(**ASK)
        assert (await borrowed.messages.create(**ASK)).content


async def test_trouble_inside_the_stream(sdk: AsyncAnthropicBedrock, provider: Bedrock) -> None:
    provider.faults += [Fault("error_in_stream", at=3), Fault("bad_chunk", at=3)]
    with pytest.raises(APIStatusError, match="unable to process"):
        await streamed(sdk)
    with pytest.raises(ChecksumMismatch):
        await streamed(sdk)


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.5}, {"stream": True}, {"model": CLAUDE}], ids=lambda wrong: next(iter(wrong))
)
async def test_what_has_no_place_in_the_body_is_refused(sdk: AsyncAnthropicBedrock, wrong: dict) -> None:
    body = {"messages": TURNS, "max_tokens": 100, **wrong}
    with pytest.raises(BadRequestError, match="Extra inputs"):
        await sdk.post(f"/model/{CLAUDE}/invoke", body=body, cast_to=Message)
