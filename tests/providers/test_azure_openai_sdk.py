"""The fake Azure OpenAI can be believed: the official SDK's client for Azure streams from it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError, RateLimitError

from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend
from tests.providers.azure_openai import AzureOpenAI
from tests.providers.base import Fault

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ASK: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}]}
WORDS = "one two three four five six seven eight"
VERSION = "2024-10-21"


@pytest.fixture
async def provider() -> AsyncIterator[AzureOpenAI]:
    async with AzureOpenAI(FakeBackend("behind", text=WORDS), keyed=True) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: AzureOpenAI) -> AsyncIterator[AsyncAzureOpenAI]:
    key = {"api_key": AzureOpenAI.key, "api_version": VERSION}
    async with AsyncAzureOpenAI(azure_endpoint=provider.url, max_retries=0, **key) as sdk:
        yield sdk


async def told(sdk: AsyncOpenAI) -> str:
    stream = await sdk.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage.completion_tokens == 8
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_deployment_streams(sdk: AsyncAzureOpenAI, provider: AzureOpenAI) -> None:
    assert await told(sdk) == WORDS
    assert provider.seen[0].path == f"/openai/deployments/fake/chat/completions?api-version={VERSION}"
    whole = await sdk.chat.completions.create(**ASK)
    assert whole.choices[0].message.content == WORDS


async def test_a_tool_is_called(sdk: AsyncAzureOpenAI) -> None:
    async with sdk.chat.completions.stream(**ASK, tools=[TOOL], tool_choice="required") as stream:
        [call] = (await stream.get_final_completion()).choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"word"}')


async def test_the_filter_judges_the_prompt_first(sdk: AsyncAzureOpenAI, provider: AzureOpenAI) -> None:
    provider.behind.script = [[TextDelta("Well"), Finished("content_filter", Usage(2, 1))]]
    stream = await sdk.chat.completions.create(**ASK, stream=True)
    first, *_, last = [chunk async for chunk in stream]
    assert first.choices == []
    assert first.prompt_filter_results[0]["content_filter_results"]["hate"] == {"filtered": False, "severity": "safe"}
    assert last.choices[0].finish_reason == "content_filter"
    provider.faults.append(Fault("content_filter"))
    with pytest.raises(BadRequestError) as refused:
        await told(sdk)
    assert (refused.value.code, refused.value.body["innererror"]["code"]) == (
        "content_filter",
        "ResponsibleAIPolicyViolation",
    )


async def test_tokens_of_entra(provider: AzureOpenAI) -> None:
    token = {"azure_ad_token": AzureOpenAI.token, "api_version": VERSION}
    async with AsyncAzureOpenAI(azure_endpoint=provider.url, max_retries=0, **token) as sdk:
        assert await told(sdk) == WORDS


async def test_the_newer_api_has_no_versions(provider: AzureOpenAI) -> None:
    async with AsyncOpenAI(base_url=f"{provider.url}/openai/v1", api_key=AzureOpenAI.token) as sdk:
        assert await told(sdk) == WORDS
    assert provider.seen[-1].path == "/openai/v1/chat/completions"


async def test_errors_are_typed(sdk: AsyncAzureOpenAI, provider: AzureOpenAI) -> None:
    provider.faults.append(Fault("rate_limited", retry_after=2))
    with pytest.raises(RateLimitError) as limited:
        await told(sdk)
    assert limited.value.response.headers["retry-after"] == "2"
    with pytest.raises(AuthenticationError):
        await told(sdk.with_options(api_key="wrong"))
    with pytest.raises(NotFoundError) as absent:
        await sdk.chat.completions.create(**{**ASK, "model": "other"})
    assert absent.value.code == "DeploymentNotFound"


async def test_embeddings(sdk: AsyncAzureOpenAI) -> None:
    found = await sdk.embeddings.create(model="fake", input=["a cat"])
    assert len(found.data[0].embedding) == 8
