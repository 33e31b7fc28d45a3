"""The fake Ollama can be believed: the official SDK understands all that it says, and each refusal is its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from ollama import AsyncClient, ChatResponse, ResponseError

from backends.events import Finished, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.ollama import Ollama

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
ASK: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}]}
THOUGHTFUL = [
    [ReasoningDelta("Let me "), ReasoningDelta("see.")],
    [TextDelta("I look it up.")],
    [ToolCallStart(0, "ours", "weather"), ToolCallDelta(0, '{"city":'), ToolCallDelta(0, '"Paris"}')],
    [ToolCallStart(1, "ours too", "weather"), ToolCallDelta(1, "{}"), Finished("stop", Usage(9, 4))],
]


@pytest.fixture
async def provider() -> AsyncIterator[Ollama]:
    async with Ollama(FakeBackend("behind", text="one two three", context=20)) as provider:
        yield provider


async def streamed(provider: Ollama, **more: Any) -> list[ChatResponse]:
    async with AsyncClient(provider.url) as sdk:
        return [part async for part in await sdk.chat(**{**ASK, **more}, stream=True)]


async def whole(provider: Ollama, **more: Any) -> ChatResponse:
    async with AsyncClient(provider.url) as sdk:
        return await sdk.chat(**ASK, **more)


async def test_text_and_counts(provider: Ollama) -> None:
    *parts, end = await streamed(provider, options={"num_predict": 2})
    assert [part.message.content for part in parts] == ["one ", "two "]
    assert (end.done, end.done_reason, end.prompt_eval_count, end.eval_count) == (True, "length", 2, 2)
    answer = await whole(provider)
    assert (answer.message.content, answer.done_reason, answer.eval_count) == ("one two three", "stop", 3)
    await streamed(provider, messages=[{"role": "user", "content": "And this?", "images": [PIXEL]}])


@pytest.mark.parametrize("stream", [True, False])
async def test_thinking_and_tools_and_their_results_go_back(stream: bool) -> None:
    async with Ollama(FakeBackend("behind", script=THOUGHTFUL)) as provider:
        more: dict[str, Any] = {"tools": [WEATHER], "think": True}
        parts = await streamed(provider, **more) if stream else [await whole(provider, **more)]
        assert "".join(part.message.thinking or "" for part in parts) == "Let me see."
        assert "".join(part.message.content or "" for part in parts) == "I look it up."
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("weather", {"city": "Paris"}),
            ("weather", {}),
        ]
        said = {"role": "assistant", "content": "", "thinking": "Let me see.", "tool_calls": calls}
        result = {"role": "tool", "tool_name": "weather", "content": "Sunny."}
        await streamed(provider, messages=[*ASK["messages"], said, result], **more)


async def test_log_probabilities_and_a_raw_prompt(provider: Ollama) -> None:
    *parts, _ = await streamed(provider, logprobs=True, top_logprobs=1)
    assert [(each.token, each.top_logprobs[0].token) for part in parts for each in part.logprobs] == [
        ("one ", "one "), ("two ", "two "), ("three", "three"),
    ]  # fmt: skip
    async with AsyncClient(provider.url) as sdk:
        raw = await sdk.generate(model="fake", prompt="Go on", raw=True, stream=True)
        assert "".join([part.response async for part in raw]) == "one two three"


async def test_models_and_vectors(provider: Ollama) -> None:
    async with AsyncClient(provider.url) as sdk:
        [model] = (await sdk.list()).models
        shown = await sdk.show("fake")
        found = await sdk.embed(model="fake", input=["a b", "c"], dimensions=4)
    assert model.model == "fake"
    assert shown.modelinfo["llama.context_length"] == 20
    assert {"completion", "tools", "vision", "thinking"} <= set(shown.capabilities)
    assert [len(vector) for vector in found.embeddings] == [4, 4]
    assert found.prompt_eval_count == 3


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("rate_limited", 429, "too many"),
        ("spent", 429, "weekly usage limit"),
        ("overloaded", 503, "server busy"),
        ("server_error", 500, "failed to generate"),
        ("context_overflow", 400, "exceeds the available context size"),
        ("bad_key", 401, "unauthorized"),
        ("unknown_model", 404, "not found"),
    ],
)
async def test_a_refusal_is_the_sdks_own(provider: Ollama, name, status: int, words: str) -> None:
    provider.faults.append(Fault(name))
    with pytest.raises(ResponseError, match=words) as raised:
        await streamed(provider)
    assert raised.value.status_code == status


async def test_what_it_refuses_by_itself(provider: Ollama) -> None:
    with pytest.raises(ResponseError, match="not found"):
        await streamed(provider, model="other")
    with pytest.raises(ResponseError, match="30 tokens"):
        await streamed(provider, messages=[{"role": "user", "content": "word " * 30}])
    async with Ollama(FakeBackend("behind"), locked=True) as locked:
        with pytest.raises(ResponseError, match="unauthorized"):
            await streamed(locked)
        async with AsyncClient(locked.url, headers={"authorization": f"Bearer {locked.key}"}) as sdk:
            assert (await sdk.chat(**ASK)).done


async def test_an_error_inside_the_stream(provider: Ollama) -> None:
    provider.faults.append(Fault("error_in_stream", at=1))
    with pytest.raises(ResponseError, match="while running the model"):
        await streamed(provider)
