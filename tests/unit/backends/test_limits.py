"""What an answer says of limits comes out with it: in its headers, and in the words of a refusal."""

import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import bedrock_errors
from backends.base import Backend, Embedder
from backends.chat_decode import Decoder
from backends.errors import BackendError, ContextLengthExceeded, Overloaded, QuotaExhausted, RateLimited, ServerFailed
from backends.events import Finished
from backends.fake import FakeBackend
from backends.json import dumps
from backends.limits import Limited, Per, Refused, spoken
from backends.request import EmbeddingRequest, Request, said
from tests.contract.kinds import built
from tests.providers.anthropic import Anthropic
from tests.providers.base import Fault, Provider, Said
from tests.providers.chat import Chat
from tests.providers.cohere import Cohere
from tests.providers.gemini import Gemini
from tests.providers.groq import Groq
from tests.providers.limits_said import HEADERS, REFUSALS
from tests.providers.mistral import Mistral
from tests.providers.ollama import Ollama
from tests.providers.openai import OpenAI

ASK = Request("fake", (said("user", "Hello there"),), 100)
TEXT = "one two three"
KINDS: dict[str, tuple[type[Provider], dict[str, str]]] = {  # of the catalog's providers: the rest are compatible
    "groq": (Groq, {"kind": "openai_compatible", "preset": "groq"}),
    "openai": (OpenAI, {"kind": "openai"}),
    "mistral": (Mistral, {"kind": "openai_compatible", "preset": "mistral"}),
    "cohere": (Cohere, {"kind": "cohere"}),
    "gemini": (Gemini, {"kind": "gemini"}),
    "anthropic": (Anthropic, {"kind": "anthropic"}),
    "ollama": (Ollama, {"kind": "ollama"}),
}


@asynccontextmanager
async def asked(name: str) -> AsyncIterator[tuple[Provider, Backend]]:
    """A stand-in of that provider, and the real backend before it."""
    standing, options = KINDS.get(name, (Chat, {"kind": "openai_compatible"}))
    async with standing(FakeBackend("behind", text=TEXT)) as provider:
        async with built({**options, "base_url": provider.url, "api_key": provider.key}) as backend:
            yield provider, backend


async def refusal(backend: Backend) -> BackendError:
    with pytest.raises(BackendError) as caught:  # noqa: PT012
        async with backend.stream(ASK) as batches:
            async for _ in batches:
                pass
    return caught.value


@pytest.mark.parametrize("name", HEADERS)
async def test_the_headers_of_a_stream(name: str) -> None:
    async with asked(name) as (provider, backend):
        provider.limits = HEADERS[name] | {"set-cookie": "secret=1", "x-request-id": "req_1"}
        async with backend.stream(ASK) as batches:
            assert isinstance(batches, Limited)
            found = dict(batches.limits)
            events = [event async for batch in batches for event in batch]
        assert isinstance(events[-1], Finished)
        assert found.keys() - {"date"} == HEADERS[name].keys()
        assert all(found[each] == value for each, value in HEADERS[name].items())


async def test_the_headers_of_an_answer_that_is_not_streamed() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    async with asked("nvidia") as (provider, backend):
        provider.faults.append(Fault("slow", said=Said(200, whole, {"x-ratelimit-limit": "40"})))
        async with backend.stream(ASK) as batches:
            assert isinstance(batches, Limited)
            assert batches.limits["x-ratelimit-limit"] == "40"
            assert isinstance([event async for batch in batches for event in batch][-1], Finished)


@pytest.mark.parametrize("name", ["mistral", "cohere"])
async def test_the_headers_of_vectors(name: str) -> None:
    async with asked(name) as (provider, backend):
        provider.limits = HEADERS[name]
        assert isinstance(backend, Embedder)
        made = await backend.embed(EmbeddingRequest("fake", ("one", "two")))
        assert isinstance(made, Limited)
        assert HEADERS[name].items() <= made.limits.items()


EXPECTED: dict[tuple[str, str], tuple[type[BackendError], Refused | None]] = {
    ("groq", "TPM"): (RateLimited, Refused("tokens", "minute", 8000, 7000)),
    ("groq", "TPD"): (QuotaExhausted, Refused("tokens", "day", 200_000, 199_000)),
    ("groq", "RPM"): (RateLimited, Refused("requests", "minute", 30, 30)),
    ("groq", "RPD"): (QuotaExhausted, Refused("requests", "day", 1000, 1000)),
    ("groq", "too large"): (ContextLengthExceeded, Refused("tokens", "minute", 6000)),
    ("mistral", "minute"): (RateLimited, Refused("requests", "minute", 60)),
    ("mistral", "month"): (QuotaExhausted, Refused("tokens", "month", 10**9, account=True)),
    ("openrouter", "day"): (QuotaExhausted, Refused("requests", "day", 50, 50, account=True)),
    ("openrouter", "day in 200"): (QuotaExhausted, Refused("requests", "day", 50, 50, account=True)),
    ("openrouter", "minute"): (RateLimited, Refused("requests", "minute", 20, 20, account=True)),
    ("cerebras", "minute"): (RateLimited, Refused("tokens", "minute", 30000)),
    ("cohere", "minute"): (RateLimited, Refused("requests", "minute", 20)),
    ("cohere", "month"): (QuotaExhausted, Refused("requests", "month", 1000, account=True)),
    ("cohere", "tokens"): (RateLimited, Refused("tokens", "minute", 100_000, account=True)),
    ("gemini", "day"): (QuotaExhausted, Refused("requests", "day", 20)),
    ("gemini", "minute"): (RateLimited, Refused("input_tokens", "minute", 250_000)),
    ("gemini", "not free"): (QuotaExhausted, Refused("requests", "day", 0)),
    ("anthropic", "minute"): (RateLimited, Refused("input_tokens", "minute", 80_000)),
    ("cloudflare", "day"): (QuotaExhausted, Refused("neurons", "day", 10_000, account=True)),
    ("cloudflare", "capacity"): (Overloaded, None),
    ("sambanova", "day"): (QuotaExhausted, Refused(per="day")),
    ("nvidia", "mute"): (RateLimited, None),
    ("huggingface", "month"): (QuotaExhausted, Refused("usd_micros", "month", account=True)),
}


def test_every_refusal_is_expected() -> None:
    assert EXPECTED.keys() == {(name, kind) for name, kinds in REFUSALS.items() for kind in kinds}


@pytest.mark.parametrize(("name", "kind"), EXPECTED)
async def test_a_refusal_names_its_axis(name: str, kind: str) -> None:
    words = REFUSALS[name][kind]
    async with asked(name) as (provider, backend):
        provider.faults.append(Fault("rate_limited", said=words))
        error = await refusal(backend)
    assert (type(error), error.refused) == EXPECTED[name, kind]
    assert {header.lower(): value for header, value in words.headers.items()}.items() <= error.limits.items()


@pytest.mark.parametrize(
    ("words", "per"), [("weekly usage limit", "week"), ("hourly usage limit", "hour"), ("usage limit", "hour")]
)
async def test_a_share_that_is_renewed_at_an_unknown_time(words: str, per: Per) -> None:
    async with asked("ollama") as (provider, backend):
        text = f"you (me) have reached your {words}, upgrade: https://ollama.com/upgrade"
        provider.faults.append(Fault("spent", said=Said(429, {"error": text})))
        error = await refusal(backend)
    assert (type(error), error.retry_after, error.refused) == (QuotaExhausted, None, Refused(per=per, account=True))


def test_a_day_that_is_spent_in_the_middle_of_a_stream() -> None:
    decoder = Decoder("m", now=lambda: 1_795_251_600.0)
    with pytest.raises(QuotaExhausted) as caught:
        decoder.feed(dumps(REFUSALS["openrouter"]["day"].body | {"id": "gen-1", "choices": []}))
    assert caught.value.refused == Refused("requests", "day", 50, 50, account=True)
    assert (caught.value.retry_after, caught.value.limits["x-ratelimit-remaining"]) == (54_000.0, "0")


def test_bedrocks_day() -> None:
    body = b'{"message": "Too many tokens per day, please wait before trying again."}'
    error = bedrock_errors.classify(429, {"x-amzn-errortype": "ThrottlingException"}, body)
    assert (type(error), error.refused) == (QuotaExhausted, Refused("tokens", "day"))


async def test_headers_in_the_body_of_a_refusal() -> None:
    async with asked("openrouter") as (provider, backend):
        provider.faults.append(Fault("rate_limited", said=REFUSALS["openrouter"]["day in 200"]))
        error = await refusal(backend)
    assert error.limits["x-ratelimit-reset"] == "1795305600000"
    assert "date" in error.limits, "and those of the answer itself"


@pytest.mark.parametrize("pushed", [False, True])
async def test_an_error_inside_a_stream_has_the_headers_of_its_answer(pushed: bool) -> None:
    async with asked("groq") as (provider, backend):
        provider.limits = HEADERS["groq"]
        provider.faults.append(Fault("error_in_stream", at=1))
        if not pushed:
            error = await refusal(backend)
        else:
            with pytest.raises(ServerFailed) as caught:
                async with backend.stream(ASK) as batches:
                    await batches.into(lambda _: None)  # type: ignore[attr-defined]  # a stream's are Pushing
            error = caught.value
    assert isinstance(error, ServerFailed)
    assert HEADERS["groq"].items() <= error.limits.items()


async def test_a_fake_says_nothing_of_limits() -> None:
    async with FakeBackend("fake", text=TEXT).stream(ASK) as batches:
        assert not isinstance(batches, Limited)
    assert dict(ServerFailed().limits) == {}
    assert ServerFailed().refused is None


async def test_what_a_refusal_says_survives_a_process_boundary() -> None:
    async with asked("groq") as (provider, backend):
        provider.faults.append(Fault("rate_limited", said=REFUSALS["groq"]["RPM"]))
        error = await refusal(backend)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.limits, copied.refused, str(copied)) == (error.limits, error.refused, str(error))


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(list(HEADERS["groq"])), st.text("0123456789.-eNaInfsmh ", max_size=30)))
async def test_headers_that_make_no_sense_do_no_harm(lies: dict[str, str]) -> None:
    lies = {name: value.strip() for name, value in lies.items()}
    async with asked("groq") as (provider, backend):
        provider.limits = lies
        async with backend.stream(ASK) as batches:
            assert isinstance(batches, Limited)
            assert lies.items() <= batches.limits.items()
            assert isinstance([event async for batch in batches for event in batch][-1], Finished)


def test_what_speaks_of_limits() -> None:
    headers = {"Set-Cookie": "a=b", "X-RateLimit-Limit": "5", "Retry-After-Ms": "7", "Date": "now", "X-Request-Id": "1"}
    assert spoken(headers | {"openai-organization": "org-1", "ratelimit-policy": "x"}) == {
        "x-ratelimit-limit": "5",
        "retry-after-ms": "7",
        "date": "now",
        "ratelimit-policy": "x",
    }
