"""Anthropic's API as a backend: what it is asked for, keys and pages, and thoughts that go there and back."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from backends.anthropic import Anthropic, Options
from backends.base import Model, TokenCounter
from backends.capabilities import Capabilities
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import Event, Finished, ReasoningDelta, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from backends.http import Transport
from backends.request import Message, Opaque, Reasoning, Request, Text, said
from tests.providers import anthropic
from tests.providers.base import Fault

WORDS = "one two three four five six seven eight"
ASK = Request("fake", (said("user", "Hello there"),), 100)
ABLE = Capabilities(
    images=True,
    files=True,
    json_schema=True,
    reasoning=True,
    audio=False,
    logprobs=False,
    completions=False,
    embeddings=False,
)


@pytest.fixture
async def provider() -> AsyncIterator[anthropic.Anthropic]:
    behind = FakeBackend("behind", text=WORDS, models=("fake", "b", "c"), context=512)
    async with anthropic.Anthropic(behind, page=2) as provider:
        yield provider


def backend(provider: anthropic.Anthropic, transport: Transport, key: str = anthropic.Anthropic.key) -> Anthropic:
    return Anthropic(Options(name="a", base_url=provider.url, api_key=key), transport)


async def told(backend: Anthropic, request: Request = ASK) -> list[Event]:
    async with backend.stream(request) as batches:
        return [event async for batch in batches for event in batch]


def test_the_usual_place_is_its_default() -> None:
    assert Options(name="a").base_url == "https://api.anthropic.com/v1"


async def test_every_page_of_models_with_what_they_can(provider: anthropic.Anthropic, transport: Transport) -> None:
    found = await backend(provider, transport).models()
    assert found == [Model(name, 512, ABLE, 64_000) for name in ("fake", "b", "c")]


async def test_what_it_sends(provider: anthropic.Anthropic, transport: Transport) -> None:
    *content, end = await told(backend(provider, transport))
    assert "".join(event.text for event in content) == WORDS
    assert end == Finished("stop", Usage(2, 8))
    [seen] = provider.seen
    assert seen.path == "/v1/messages"
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert (headers["x-api-key"], headers["anthropic-version"]) == (provider.key, "2023-06-01")
    assert "authorization" not in headers


async def test_tokens_are_counted(provider: anthropic.Anthropic, transport: Transport) -> None:
    counter = backend(provider, transport)
    assert isinstance(counter, TokenCounter)
    assert await counter.count_tokens(ASK) == 2
    with pytest.raises(ModelNotFound):
        await counter.count_tokens(replace(ASK, model="other"))


async def test_a_wrong_key_is_told(provider: anthropic.Anthropic, transport: Transport) -> None:
    wrong = backend(provider, transport, "sk-wrong")
    for ask in (wrong.models, lambda: told(wrong), lambda: wrong.count_tokens(ASK)):
        with pytest.raises(AuthenticationFailed) as caught:
            await ask()
        assert "sk-wrong" not in str(caught.value)


async def test_a_thought_goes_there_and_back(transport: Transport) -> None:
    script: list[list[Event]] = [
        [ReasoningDelta("Hm."), Signature("anthropic", "c2ln"), Signature("anthropic", "redacted.aGlk")],
        [TextDelta("So."), Finished("stop", Usage(9, 4, 8, 1))],
    ]
    async with anthropic.Anthropic(FakeBackend("behind", script=script)) as provider:
        asked = backend(provider, transport)
        assert await told(asked) == [event for batch in script for event in batch]
        thoughts = (Reasoning("Hm.", Opaque("anthropic", "c2ln")), Reasoning("", Opaque("anthropic", "redacted.aGlk")))
        await told(
            asked,
            replace(ASK, messages=(*ASK.messages, Message("assistant", (*thoughts, Text("So."))), said("user", "?"))),
        )
        assert provider.behind.requests[-1].messages[1].parts[:2] == thoughts


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("rate_limited", retry_after=2), RateLimited),
        (Fault("overloaded"), Overloaded),
        (Fault("server_error"), ServerFailed),
        (Fault("context_overflow"), ContextLengthExceeded),
        (Fault("content_filter"), ContentFiltered),
        (Fault("prefill_refused"), UnsupportedFeature),
        (Fault("bad_key"), AuthenticationFailed),
        (Fault("unknown_model"), ModelNotFound),
        (Fault("spent"), QuotaExhausted),
        (Fault("reset_before_headers"), BackendError),
        (Fault("reset_after_headers"), StreamBroken),
        (Fault("cut", at=3), StreamBroken),
        (Fault("bad_chunk", at=3), ProtocolViolation),
        (Fault("half_json"), StreamBroken),
        (Fault("error_in_200"), Overloaded),
        (Fault("error_in_stream", at=3), Overloaded),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_fault_is_what_it_means(
    provider: anthropic.Anthropic, transport: Transport, fault: Fault, error: type[BackendError]
) -> None:
    provider.faults.append(fault)
    asked = backend(provider, transport)
    with pytest.raises(error) as caught:
        await told(asked)
    assert caught.value.retry_after == fault.retry_after


async def test_a_last_message_that_is_missing_loses_nothing(
    provider: anthropic.Anthropic, transport: Transport
) -> None:
    provider.faults.append(Fault("no_done"))
    asked = backend(provider, transport)
    assert await told(asked) == await told(asked)
