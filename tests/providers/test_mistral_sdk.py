"""The fake Mistral can be believed: the official SDK understands what it says, and what it refuses."""

from collections.abc import AsyncIterator

import pytest
from mistralai.client import Mistral as MistralSDK
from mistralai.client.errors import SDKError
from mistralai.client.utils import RetryConfig

from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.mistral import Mistral

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ASK = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 100}
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def provider() -> AsyncIterator[Mistral]:
    async with Mistral(FakeBackend("behind", text=WORDS), keyed=True) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Mistral) -> AsyncIterator[MistralSDK]:
    retries = RetryConfig("none", None, False)  # type: ignore[arg-type]  # the strategy that has no backoff
    async with MistralSDK(
        api_key=Mistral.key, server_url=provider.url.removesuffix("/v1"), retry_config=retries
    ) as sdk:
        yield sdk


async def test_text_and_usage(sdk: MistralSDK) -> None:
    [model] = (await sdk.models.list_async()).data
    assert (model.id, model.capabilities.function_calling) == ("fake", True)
    chunks = [event.data async for event in await sdk.chat.stream_async(**ASK)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == WORDS
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [8], "unasked, in the last chunk"
    whole = await sdk.chat.complete_async(**ASK)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (WORDS, "stop")
    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens


async def test_a_tool_is_called(sdk: MistralSDK) -> None:
    asked = {**ASK, "tools": [WEATHER], "tool_choice": "required"}
    pieces = [event.data.choices[0].delta.tool_calls async for event in await sdk.chat.stream_async(**asked)]
    [whole] = (await sdk.chat.complete_async(**asked)).choices[0].message.tool_calls
    [streamed] = [call for piece in pieces for call in piece or ()]
    for call in (streamed, whole):
        assert (call.function.name, call.function.arguments) == ("weather", '{"city":"word"}')


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (Fault("rate_limited", retry_after=2), 429, '"code": "1300"'),
        (Fault("bad_key"), 401, "Unauthorized"),
        (Fault("context_overflow"), 400, "too large for model"),
        (Fault("unknown_model"), 400, "Invalid model"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_error(
    sdk: MistralSDK, provider: Mistral, fault: Fault, status: int, words: str
) -> None:
    provider.faults.append(fault)
    with pytest.raises(SDKError) as caught:
        await sdk.chat.stream_async(**ASK)
    assert (caught.value.status_code, words in caught.value.body) == (status, True)
