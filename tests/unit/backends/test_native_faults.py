"""Cohere and Ollama on a bad day: each fault of theirs becomes one of our errors, and what came before it is kept."""

from collections.abc import AsyncIterator

import pytest

from backends.base import Backend
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    Unreachable,
)
from backends.events import Event, Finished, TextDelta
from backends.fake import FakeBackend
from backends.request import Request, said
from tests.contract.kinds import built
from tests.providers.base import Fault, Provider
from tests.providers.cohere import Cohere
from tests.providers.ollama import Ollama

WORDS = "one two three four five six"
ASK = Request("fake", (said("user", "Hi"),), 16)
REFUSED = [
    (Fault("rate_limited", retry_after=2), RateLimited),
    (Fault("spent"), QuotaExhausted),
    (Fault("overloaded", retry_after=2), Overloaded),
    (Fault("server_error"), ServerFailed),
    (Fault("context_overflow"), ContextLengthExceeded),
    (Fault("bad_key"), AuthenticationFailed),
    (Fault("unknown_model"), ModelNotFound),
    (Fault("reset_before_headers"), (StreamBroken, Unreachable)),
    (Fault("reset_after_headers"), StreamBroken),
    (Fault("error_in_200"), ServerFailed),
]
BROKEN = [
    (Fault("cut", at=2), StreamBroken),
    (Fault("bad_chunk", at=2), ProtocolViolation),
    (Fault("error_in_stream", at=2), ServerFailed),
]


@pytest.fixture(params=[Cohere, Ollama])
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    async with request.param(FakeBackend("behind", text=WORDS, tokens_per_second=500)) as provider:
        yield provider


@pytest.fixture
async def backend(provider: Provider) -> AsyncIterator[Backend]:
    kind = type(provider).__name__.lower()
    async with built({"kind": kind, "base_url": provider.url, "api_key": provider.key}) as backend:
        yield backend


async def told(backend: Backend, found: list[Event]) -> None:
    async with backend.stream(ASK) as batches:
        async for batch in batches:
            found += batch


@pytest.mark.parametrize(("fault", "error"), REFUSED, ids=lambda each: getattr(each, "name", ""))
async def test_a_refusal(backend: Backend, provider: Provider, fault: Fault, error: type[BackendError]) -> None:
    provider.faults.append(fault)
    found: list[Event] = []
    with pytest.raises(error) as raised:
        await told(backend, found)
    assert raised.value.retry_after == fault.retry_after
    assert found == []


@pytest.mark.parametrize(("fault", "error"), BROKEN, ids=lambda each: getattr(each, "name", ""))
async def test_an_answer_that_breaks_off(
    backend: Backend, provider: Provider, fault: Fault, error: type[BackendError]
) -> None:
    provider.faults.append(fault)
    found: list[Event] = []
    with pytest.raises(error):
        await told(backend, found)
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["one ", "two "]


@pytest.mark.parametrize("name", ["half_json", "no_done"])
async def test_the_end_that_does_not_come(backend: Backend, provider: Provider, name) -> None:
    """The last message of the answer itself says that it was all; [DONE] behind it says nothing new."""
    provider.faults.append(Fault(name))
    found: list[Event] = []
    if name == "half_json":
        with pytest.raises(StreamBroken):
            await told(backend, found)
    else:
        await told(backend, found)
        assert isinstance(found[-1], Finished)
    assert "".join(event.text for event in found if isinstance(event, TextDelta)) == WORDS


async def test_a_prompt_that_a_filter_refuses(backend: Backend, provider: Provider) -> None:
    provider.faults.append(Fault("content_filter"))
    with pytest.raises(ContentFiltered if isinstance(provider, Cohere) else InvalidRequest):
        await told(backend, [])


async def test_leaving_ends_the_request(backend: Backend, provider: Provider) -> None:
    provider.faults.append(Fault("stall", at=1, seconds=60))
    async with backend.stream(ASK) as batches:
        await anext(batches)
    await provider.seen[0].gone.wait()
    assert provider.seen[0].left_early
