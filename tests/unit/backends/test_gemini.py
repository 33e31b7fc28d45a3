"""The gemini backend before a server of that API: keys, paths, pages, batches, and what each refusal becomes."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    CallerKeyNeeded,
    ContentFiltered,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import Event, Finished, ReasoningDelta, Signature, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from backends.gemini import Gemini, Options
from backends.http import Transport
from backends.json import dumps
from backends.request import EmbeddingRequest, Message, Opaque, Reasoning, Request, Secret, Tool, ToolCall, said
from tests.providers import gemini
from tests.providers.base import Fault
from tests.upstream import Upstream

MODEL = "gemini-3.5-flash"
WORDS = "one two three four five six seven eight"
ASK = Request(MODEL, (said("user", "Hello there"),), 100)


@pytest.fixture
async def provider() -> AsyncIterator[gemini.Gemini]:
    async with gemini.Gemini(FakeBackend("behind", text=WORDS, models=(MODEL, "other"), context=512)) as provider:
        yield provider


@pytest.fixture
def backend(provider: gemini.Gemini, transport: Transport) -> Gemini:
    return Gemini(Options(name="g", base_url=provider.url, api_key=gemini.Gemini.key), transport)


async def told(backend: Gemini, request: Request = ASK) -> list[Event]:
    async with backend.stream(request) as batches:
        return [event async for batch in batches for event in batch]


async def test_what_it_serves_in_pages(backend: Gemini) -> None:
    models = await backend.models()
    assert [(model.id, model.context, model.max_output) for model in models] == [
        (MODEL, 512, 65536),
        ("other", 512, 65536),
    ]
    assert models[0].capabilities.known() == {"reasoning": True, "completions": False, "embeddings": True}


async def test_the_key_is_in_its_header_and_nowhere_else(backend: Gemini, provider: gemini.Gemini) -> None:
    assert (await told(backend))[-1] == Finished("stop", Usage(2, 8))
    [seen] = provider.seen
    assert seen.path == f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    assert seen.headers["x-goog-api-key"] == gemini.Gemini.key
    assert "authorization" not in {name.lower() for name in seen.headers}


async def test_a_wrong_key_is_found_out_though_it_is_a_400(provider: gemini.Gemini, transport: Transport) -> None:
    options = Options(name="g", base_url=provider.url, api_keys=("AIza-wrong", gemini.Gemini.key))
    backend = Gemini(options, transport)
    with pytest.raises(AuthenticationFailed):
        await told(backend)
    for _ in range(3):
        assert await told(backend)
    with pytest.raises(AuthenticationFailed) as nobody:
        await told(Gemini(Options(name="g", base_url=provider.url), transport))
    assert nobody.value.status == 403


async def test_a_callers_own_key(provider: gemini.Gemini, transport: Transport) -> None:
    backend = Gemini(Options(name="g", base_url=provider.url, key_source="caller"), transport)
    assert await told(backend, replace(ASK, keys={"g": Secret(gemini.Gemini.key)}))
    with pytest.raises(CallerKeyNeeded):
        await told(backend, replace(ASK, keys={"g": Secret("AIza-wrong")}))


async def test_a_tool_call_with_its_signature_goes_there_and_back(backend: Gemini, provider: gemini.Gemini) -> None:
    script = [ReasoningDelta("Hm."), Signature("gemini", "call:c2ln"), ToolCallStart(0, "1", "clock")]
    script += [ToolCallDelta(0, '{"zone":"UTC"}'), Finished("stop", Usage(3, 9, 1, 4))]
    provider.behind.script = [script]
    asked = replace(ASK, tools=(Tool("clock"),))
    assert await told(backend, asked) == script
    answer = Message("assistant", (Reasoning("Hm.", Opaque("gemini", "call:c2ln")), ToolCall("1", "clock", "{}")))
    await told(backend, replace(asked, messages=(*ASK.messages, answer)))
    [part] = provider.seen[-1].body["contents"][1]["parts"]
    assert (part["functionCall"]["name"], part["thoughtSignature"]) == ("clock", "c2ln")


async def test_a_whole_answer_may_be_long(transport: Transport) -> None:
    """Twenty log probabilities for each of a thousand tokens are more than a megabyte."""
    said = {"content": {"parts": [{"text": "a" * 2_000_000}]}, "finishReason": "STOP"}
    body = dumps({"candidates": [said]})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with Upstream([head, body]) as upstream:
        backend = Gemini(Options(name="g", base_url=upstream.url), transport)
        first, *_ = await told(backend, replace(ASK, top_logprobs=20))
    assert isinstance(first, TextDelta)
    assert len(first.text) == 2_000_000


async def test_many_texts_are_embedded_in_batches(backend: Gemini, provider: gemini.Gemini) -> None:
    texts = tuple(f"text {index}" for index in range(205))
    found = await backend.embed(EmbeddingRequest(MODEL, texts, 4))
    assert [len(body["requests"]) for body in provider.embedded] == [100, 100, 5]
    assert (len(found.vectors), found.input_tokens) == (205, 410)
    alone = await backend.embed(EmbeddingRequest(MODEL, texts[-1:], 4))
    assert alone.vectors[0] == found.vectors[-1]
    with pytest.raises(UnsupportedFeature):
        await backend.embed(EmbeddingRequest(MODEL, ((1, 2),)))


async def test_log_probabilities_come_with_a_whole_answer(backend: Gemini, provider: gemini.Gemini) -> None:
    [text, _] = await told(backend, replace(ASK, top_logprobs=1))
    assert isinstance(text, TextDelta)
    assert (text.text, len(text.logprobs or ())) == (WORDS, 8)
    assert provider.seen[-1].path.endswith(":generateContent"), "the streaming method has none"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("rate_limited", retry_after=2), RateLimited(2.0)),
        (Fault("rate_limited"), RateLimited()),
        (Fault("overloaded"), Overloaded()),
        (Fault("server_error"), ServerFailed(500)),
        (Fault("context_overflow"), ContextLengthExceeded(600, 512)),
        (Fault("content_filter"), ContentFiltered()),
        (Fault("prefill_refused"), UnsupportedFeature("prefill", "input")),
        (Fault("bad_key"), AuthenticationFailed(401)),
        (Fault("unknown_model"), ModelNotFound(MODEL)),
        (Fault("reset_after_headers"), StreamBroken()),
        (Fault("cut", at=3), StreamBroken()),
        (Fault("half_json"), StreamBroken()),
        (Fault("bad_chunk", at=3), ProtocolViolation("a message that is not JSON")),
        (Fault("error_in_200"), Overloaded()),
        (Fault("error_in_stream", at=3), Overloaded()),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_what_a_fault_becomes(
    backend: Gemini, provider: gemini.Gemini, fault: Fault, expected: BackendError
) -> None:
    provider.faults.append(fault)
    with pytest.raises(type(expected)) as caught:
        await told(backend)
    assert caught.value.args == expected.args
    assert len(provider.seen) == 1, "a backend does not try again"


async def test_a_spent_day_lasts_to_midnight_in_california(backend: Gemini, provider: gemini.Gemini) -> None:
    """Though the answer says to try again in seconds."""
    provider.faults.append(Fault("spent", retry_after=36))
    with pytest.raises(QuotaExhausted) as caught:
        await told(backend)
    assert caught.value.scope is Scope.MODEL
    assert 36 != caught.value.retry_after < 25 * 3600
