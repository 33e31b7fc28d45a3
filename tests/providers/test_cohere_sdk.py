"""The fake Cohere can be believed: the official SDK understands all that it says, and each refusal is its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from cohere import AsyncClientV2
from cohere.core.api_error import ApiError
from cohere.core.request_options import RequestOptions
from cohere.errors import (
    BadRequestError,
    InternalServerError,
    InvalidTokenError,
    NotFoundError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)

from backends.events import Citation, Finished, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.cohere import Cohere

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
ASK: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}]}
ONCE: dict[str, Any] = {"request_options": RequestOptions(max_retries=0)}
END = Finished("stop", Usage(9, 4, cached_tokens=2))
RICH = [
    [ReasoningDelta("Let me "), ReasoningDelta("see.")],
    [TextDelta("It is "), TextDelta("sunny.")],
    [Citation(6, 11, "sunny", "call_1:0", "Forecast")],
    [ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"city":'), ToolCallDelta(0, '"Paris"}')],
    [ToolCallStart(1, "call_2", "weather"), ToolCallDelta(1, "{}"), END],
]


@pytest.fixture
async def provider() -> AsyncIterator[Cohere]:
    async with Cohere(FakeBackend("behind", text="one two three", context=20)) as provider:
        yield provider


def client(provider: Cohere, key: str = Cohere.key) -> AsyncClientV2:
    return AsyncClientV2(api_key=key, base_url=provider.url, timeout=30)


async def streamed(provider: Cohere, **more: Any) -> list[Any]:
    async with client(provider) as sdk:
        return [event async for event in sdk.chat_stream(**{**ASK, **ONCE, **more})]


async def whole(provider: Cohere, key: str = Cohere.key, **more: Any) -> Any:
    async with client(provider, key) as sdk:
        return await sdk.chat(**ASK, **ONCE, **more)


async def test_text_and_usage(provider: Cohere) -> None:
    events = await streamed(provider, max_tokens=2)
    assert [event.type for event in events] == [
        "message-start", "content-start", "content-delta", "content-delta", "content-end", "message-end",
    ]  # fmt: skip
    assert "".join(event.delta.message.content.text for event in events[2:4]) == "one two "
    end = events[-1].delta
    assert (end.finish_reason, end.usage.tokens.input_tokens, end.usage.tokens.output_tokens) == ("MAX_TOKENS", 2, 2)

    answer = await whole(provider)
    assert answer.message.content[0].text == "one two three"
    assert (answer.finish_reason, answer.usage.tokens.output_tokens) == ("COMPLETE", 3)


async def test_a_tool_is_called_and_its_result_goes_back(provider: Cohere) -> None:
    events = await streamed(provider, tools=[WEATHER], tool_choice="REQUIRED")
    [start] = [event for event in events if event.type == "tool-call-start"]
    call = start.delta.message.tool_calls
    arguments = [event.delta.message.tool_calls.function for event in events if event.type == "tool-call-delta"]
    assert (call.function.name, "".join(each.arguments for each in arguments)) == ("weather", '{"city":"word"}')
    assert events[-1].delta.finish_reason == "TOOL_CALL"

    answer = await whole(provider, tools=[WEATHER], tool_choice="REQUIRED")
    [call] = answer.message.tool_calls
    told = [*ASK["messages"], answer.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}]
    events = await streamed(provider, messages=told, tools=[WEATHER])
    assert events[-1].delta.finish_reason == "COMPLETE"


async def test_thinking_citations_and_several_calls() -> None:
    async with Cohere(FakeBackend("behind", script=RICH)) as provider:
        events = await streamed(provider, thinking={"type": "enabled", "token_budget": 100})
    contents = [event.delta.message.content for event in events if event.type == "content-delta"]
    assert "".join(content.thinking or "" for content in contents) == "Let me see."
    assert "".join(content.text or "" for content in contents) == "It is sunny."
    [cited] = [event.delta.message.citations for event in events if event.type == "citation-start"]
    assert (cited.start, cited.end, cited.text, cited.sources[0].id) == (6, 11, "sunny", "call_1:0")
    starts = [event for event in events if event.type == "tool-call-start"]
    assert [(event.index, event.delta.message.tool_calls.id) for event in starts] == [(0, "call_1"), (1, "call_2")]
    assert events[-1].delta.usage.cached_tokens == 2


async def test_models_and_vectors(provider: Cohere) -> None:
    texts = {"input_type": "search_document", "texts": ["a b", "c"]}
    async with client(provider) as sdk:
        [model] = (await sdk.models.list()).models
        found = await sdk.embed(model="fake", **texts, embedding_types=["float"], output_dimension=4)
    assert (model.name, model.context_length, model.endpoints) == ("fake", 20, ["chat", "embed"])
    assert [len(vector) for vector in found.embeddings.float_] == [4, 4]
    assert found.meta.billed_units.input_tokens == 3


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("rate_limited", TooManyRequestsError),
        ("spent", TooManyRequestsError),
        ("overloaded", ServiceUnavailableError),
        ("server_error", InternalServerError),
        ("context_overflow", BadRequestError),
        ("content_filter", InvalidTokenError),
        ("prefill_refused", BadRequestError),
        ("bad_key", UnauthorizedError),
        ("unknown_model", NotFoundError),
    ],
)
async def test_a_refusal_is_the_sdks_own(provider: Cohere, name, error: type[ApiError]) -> None:
    provider.faults.append(Fault(name, retry_after=3))
    with pytest.raises(error) as raised:
        await streamed(provider)
    assert raised.value.headers["retry-after"] == "3"


async def test_what_it_refuses_by_itself(provider: Cohere) -> None:
    with pytest.raises(UnauthorizedError):
        await whole(provider, "wrong")
    with pytest.raises(NotFoundError):
        await streamed(provider, model="other")
    with pytest.raises(BadRequestError, match="cannot exceed 20 - received 30"):
        await streamed(provider, messages=[{"role": "user", "content": "word " * 30}])


async def test_an_error_inside_the_stream(provider: Cohere) -> None:
    provider.faults.append(Fault("error_in_stream", at=1))
    *_, end = await streamed(provider)
    assert (end.delta.finish_reason, end.delta.error) == ("ERROR", "the model failed to generate")
