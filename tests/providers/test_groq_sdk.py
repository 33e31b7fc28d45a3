"""The fake Groq can be believed: the official SDK understands what it says, and what it refuses."""

from collections.abc import AsyncIterator

import pytest
from groq import APIStatusError, AsyncGroq, AuthenticationError, BadRequestError, NotFoundError, RateLimitError

from backends.errors import ContextLengthExceeded
from backends.fake import FakeBackend
from backends.request import Request, said
from tests.contract.kinds import built
from tests.providers.base import Fault
from tests.providers.groq import Groq

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ASK = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}], "max_completion_tokens": 100}
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def provider() -> AsyncIterator[Groq]:
    async with Groq(FakeBackend("behind", text=WORDS), keyed=True) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Groq) -> AsyncIterator[AsyncGroq]:
    async with AsyncGroq(base_url=provider.url.removesuffix("/openai/v1"), api_key=Groq.key, max_retries=0) as sdk:
        yield sdk


async def test_text_and_usage(sdk: AsyncGroq) -> None:
    assert [model.id for model in (await sdk.models.list()).data] == ["fake"]
    chunks = [chunk async for chunk in await sdk.chat.completions.create(**ASK, stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == WORDS
    assert chunks[-1].x_groq.usage.completion_tokens == 8
    assert not any(chunk.usage for chunk in chunks)
    whole = await sdk.chat.completions.create(**ASK)
    assert (whole.choices[0].message.content, whole.usage.completion_tokens) == (WORDS, 8)


async def test_a_tool_is_called(sdk: AsyncGroq) -> None:
    asked = {**ASK, "tools": [WEATHER], "tool_choice": "required"}
    chunks = [chunk async for chunk in await sdk.chat.completions.create(**asked, stream=True)]
    streamed = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    [whole] = (await sdk.chat.completions.create(**asked)).choices[0].message.tool_calls
    assert streamed[0].function.name == whole.function.name == "weather"
    assert "".join(call.function.arguments or "" for call in streamed) == whole.function.arguments == '{"city":"word"}'


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("rate_limited"), RateLimitError),
        (Fault("spent"), RateLimitError),
        (Fault("bad_key"), AuthenticationError),
        (Fault("context_overflow"), BadRequestError),
        (Fault("unknown_model"), NotFoundError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(
    sdk: AsyncGroq, provider: Groq, fault: Fault, error: type[APIStatusError]
) -> None:
    provider.faults.append(fault)
    with pytest.raises(error):
        await sdk.chat.completions.create(**ASK, stream=True)


async def test_a_request_above_the_limit_per_minute(sdk: AsyncGroq, provider: Groq) -> None:
    provider.per_minute = 50
    with pytest.raises(APIStatusError) as caught:
        await sdk.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.body["error"]["code"]) == (413, "rate_limit_exceeded")
    options = {"kind": "openai_compatible", "preset": "groq", "base_url": provider.url, "api_key": provider.key}
    async with built(options) as backend:
        with pytest.raises(ContextLengthExceeded) as ours:
            async with backend.stream(Request("fake", (said("user", "Hi"),), 100)):
                pass
    assert (ours.value.context, ours.value.per_minute) == (50, True)
