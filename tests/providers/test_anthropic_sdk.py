"""The fake Anthropic can be believed: the official SDK understands all that it says, and each fault is one."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from anthropic import (
    APIConnectionError,
    APIStatusError,
    AsyncAnthropic,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
)
from anthropic.types import Message

from backends.events import Citation, Event, Finished, ReasoningDelta, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from tests.providers.anthropic import Anthropic
from tests.providers.base import Fault

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "weather", "input_schema": SCHEMA}
ASK = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 100}
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def provider() -> AsyncIterator[Anthropic]:
    async with Anthropic(FakeBackend("behind", text=WORDS, models=("fake", "b", "c")), page=2) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Anthropic) -> AsyncIterator[AsyncAnthropic]:
    async with client(provider) as sdk:
        yield sdk


def client(provider: Anthropic) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=provider.url.removesuffix("/v1"), api_key=Anthropic.key, max_retries=0)


async def streamed(sdk: AsyncAnthropic, **more) -> Message:
    async with sdk.messages.stream(**{**ASK, **more}) as stream:
        return await stream.get_final_message()


async def test_text_and_usage(sdk: AsyncAnthropic, provider: Anthropic) -> None:
    assert [model.id async for model in sdk.models.list()] == ["fake", "b", "c"]
    answer, whole = await streamed(sdk), await sdk.messages.create(**ASK)
    for message in (answer, whole):
        assert [block.text for block in message.content] == [WORDS]
        assert message.stop_reason == "end_turn"
        assert (message.usage.input_tokens, message.usage.output_tokens) == (2, 8)
    assert [seen.tokens for seen in provider.seen] == [8, 8]
    assert (await sdk.messages.count_tokens(model="fake", messages=ASK["messages"])).input_tokens == 2


async def test_a_tool_is_called_and_answered(sdk: AsyncAnthropic) -> None:
    asked = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    for message in (await streamed(sdk, **asked), await sdk.messages.create(**ASK, **asked)):
        [call] = message.content
        assert (call.name, call.input, message.stop_reason) == ("weather", {"city": "word"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny."}
    turns = [*ASK["messages"], {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    [text] = (await streamed(sdk, messages=turns, tools=[WEATHER])).content
    assert text.text == WORDS


async def test_thinking_comes_with_its_signature_and_goes_back() -> None:
    script: list[list[Event]] = [
        [ReasoningDelta("let me "), ReasoningDelta("see")],
        [Signature("anthropic", "c2lnbmVk"), Signature("anthropic", "redacted.aGlkZGVu")],
        [TextDelta("It is so."), Citation(0, 9, "so it is", "https://example.com/", "Example")],
        [Finished("stop", Usage(20, 9, cached_tokens=8, reasoning_tokens=5))],
    ]
    async with Anthropic(FakeBackend("behind", script=script)) as provider, client(provider) as sdk:
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
        for message in (await streamed(sdk, **thinking), await sdk.messages.create(**{**ASK, **thinking})):
            thought, hidden, text = message.content
            assert (thought.thinking, thought.signature) == ("let me see", "c2lnbmVk")
            assert hidden.data == "aGlkZGVu"
            assert (text.text, text.citations[0].url) == ("It is so.", "https://example.com/")
            usage = message.usage
            total = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
            assert (total, usage.cache_read_input_tokens) == (20, 8)
            assert usage.output_tokens_details.thinking_tokens == 5
        turns = [*ASK["messages"], {"role": "assistant", "content": message.content}, *ASK["messages"]]
        await streamed(sdk, messages=turns, **thinking)


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        (Fault("rate_limited", retry_after=2), RateLimitError, "rate_limit_error"),
        (Fault("spent"), BadRequestError, "invalid_request_error"),
        (Fault("overloaded"), OverloadedError, "overloaded_error"),
        (Fault("server_error"), InternalServerError, "api_error"),
        (Fault("context_overflow"), BadRequestError, "invalid_request_error"),
        (Fault("content_filter"), BadRequestError, "invalid_request_error"),
        (Fault("prefill_refused"), BadRequestError, "invalid_request_error"),
        (Fault("bad_key"), AuthenticationError, "authentication_error"),
        (Fault("unknown_model"), NotFoundError, "not_found_error"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(
    sdk: AsyncAnthropic, provider: Anthropic, fault: Fault, error: type[APIStatusError], kind: str
) -> None:
    provider.faults.append(fault)
    with pytest.raises(error) as caught:
        await streamed(sdk)
    assert caught.value.type == kind
    assert caught.value.response.headers.get("retry-after") == ("2" if fault.retry_after else None)
    assert (await streamed(sdk)).content, "a fault is for one request"


async def test_a_wrong_key_and_a_wrong_model(sdk: AsyncAnthropic) -> None:
    with pytest.raises(AuthenticationError):
        await sdk.with_options(api_key="sk-wrong").messages.create(**ASK)
    with pytest.raises(NotFoundError, match="model: other"):
        await sdk.messages.create(**{**ASK, "model": "other"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.5},
        {"stop_sequences": [" "]},
        {"messages": [{"role": "user", "content": " "}]},
        {"messages": [{"role": "assistant", "content": "Hi"}]},
        {"messages": [*ASK["messages"], {"role": "assistant", "content": "So "}]},
        {"tool_choice": {"type": "auto"}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_what_anthropic_refuses_is_refused(sdk: AsyncAnthropic, wrong: dict) -> None:
    with pytest.raises(BadRequestError):
        await sdk.messages.create(**ASK, extra_body=wrong)  # `temperature` is no argument any more


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("reset_before_headers"), APIConnectionError),
        (Fault("cut", at=3), httpx2.ReadError),
        (Fault("bad_chunk", at=3), ValueError),
        (Fault("error_in_200"), APIStatusError),
        (Fault("error_in_stream", at=3), APIStatusError),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_trouble_is_trouble(
    sdk: AsyncAnthropic, provider: Anthropic, fault: Fault, error: type[Exception]
) -> None:
    provider.always = fault
    with pytest.raises(error):
        await streamed(sdk)
