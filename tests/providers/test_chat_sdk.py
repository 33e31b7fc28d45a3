"""The fake chat provider can be believed: the official SDK understands all that it says, and each fault is one."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from openai import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)

from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.chat import Chat

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ASK = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 100}
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def provider() -> AsyncIterator[Chat]:
    async with Chat(FakeBackend("behind", text=WORDS), keyed=True) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Chat) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=provider.url, api_key=Chat.key, max_retries=0) as sdk:
        yield sdk


async def told(sdk: AsyncOpenAI) -> str:
    """What a stream says."""
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    return "".join([piece.choices[0].delta.content or "" async for piece in stream if piece.choices])


async def test_text_and_usage(sdk: AsyncOpenAI, provider: Chat) -> None:
    assert [model.id async for model in sdk.models.list()] == ["fake"]
    async with sdk.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.content == WORDS
    assert answer.usage.completion_tokens == 8
    whole = await sdk.chat.completions.create(**ASK)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (WORDS, "stop")
    assert whole.usage == answer.usage
    assert [seen.tokens for seen in provider.seen] == [8, 8]
    assert not any(seen.left_early for seen in provider.seen)


async def test_a_tool_is_called(sdk: AsyncOpenAI) -> None:
    asked = {**ASK, "tools": [WEATHER], "tool_choice": "required"}
    async with sdk.chat.completions.stream(**asked) as stream:
        [streamed] = (await stream.get_final_completion()).choices[0].message.tool_calls
    [whole] = (await sdk.chat.completions.create(**asked)).choices[0].message.tool_calls
    for call in (streamed, whole):
        assert (call.function.name, call.function.arguments) == ("weather", '{"city":"word"}')


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault("rate_limited", retry_after=2), RateLimitError, "rate_limit_exceeded"),
        (Fault("spent"), RateLimitError, "insufficient_quota"),
        (Fault("overloaded"), InternalServerError, None),
        (Fault("server_error"), InternalServerError, None),
        (Fault("context_overflow"), BadRequestError, "context_length_exceeded"),
        (Fault("content_filter"), BadRequestError, "content_filter"),
        (Fault("prefill_refused"), BadRequestError, None),
        (Fault("bad_key"), AuthenticationError, "invalid_api_key"),
        (Fault("unknown_model"), NotFoundError, "model_not_found"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(
    sdk: AsyncOpenAI, provider: Chat, fault: Fault, error: type[APIStatusError], code: str | None
) -> None:
    provider.faults.append(fault)
    with pytest.raises(error) as caught:
        await told(sdk)
    assert caught.value.code == code
    assert caught.value.response.headers.get("retry-after") == ("2" if fault.retry_after else None)
    assert await told(sdk) == WORDS, "a fault is for one request"


async def test_a_wrong_key_and_a_wrong_model(sdk: AsyncOpenAI) -> None:
    with pytest.raises(AuthenticationError):
        await sdk.with_options(api_key="sk-wrong").chat.completions.create(**ASK)
    with pytest.raises(NotFoundError, match="The model `other` does not exist"):
        await sdk.chat.completions.create(**{**ASK, "model": "other"})


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("reset_before_headers"), APIConnectionError),
        (Fault("reset_after_headers"), APIConnectionError),
        (Fault("cut", at=3), APIConnectionError),
        (Fault("bad_chunk", at=3), ValueError),
        (Fault("error_in_200"), APIError),
        (Fault("error_in_stream", at=3), APIError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_trouble_is_trouble(sdk: AsyncOpenAI, provider: Chat, fault: Fault, error: type[Exception]) -> None:
    provider.always = fault
    for _ in range(2):
        with pytest.raises(error):
            await told(sdk)
    assert {seen.tokens for seen in provider.seen} == {8 if fault.name == "bad_chunk" else fault.at}


async def test_an_end_that_is_missing(provider: Chat) -> None:
    """The SDK takes the end of the body for the end of the answer, so the bytes are looked at."""
    provider.faults += [None, Fault("no_done"), Fault("half_json")]
    async with ClientSession(headers={"authorization": f"Bearer {Chat.key}"}) as http:
        bodies = []
        for _ in range(3):
            async with http.post(f"{provider.url}/chat/completions", json={**ASK, "stream": True}) as response:
                bodies.append(await response.text())
    whole, no_done, half = bodies
    assert whole == no_done + "data: [DONE]\n\n"
    assert '"finish_reason":"stop"' in no_done
    assert whole.startswith(half)
    assert not half.endswith("\n")
    assert '"finish_reason":"stop"' not in half


async def test_who_leaves_during_a_silence_is_seen_leaving(sdk: AsyncOpenAI, provider: Chat) -> None:
    provider.faults += [Fault("stall", at=2, seconds=60), Fault("slow", seconds=60)]
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    pieces = aiter(stream)
    while (await anext(pieces)).choices[0].delta.content != "two ":
        pass
    await stream.close()
    await provider.seen[0].gone.wait()
    assert (provider.seen[0].left_early, provider.seen[0].tokens) == (True, 2)
    with pytest.raises(APIConnectionError):
        await sdk.with_options(timeout=0.05).chat.completions.create(**ASK, stream=True)
    await provider.seen[1].gone.wait()
    assert (provider.seen[1].left_early, provider.seen[1].tokens) == (True, 0)
