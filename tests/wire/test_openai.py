"""What OpenAI and Azure OpenAI send, through our decoders: whole, in pieces, cut short."""

from collections.abc import Callable

import pytest

from backends import chat_decode, responses_decode
from backends.azure_openai import AzureOpenAI
from backends.azure_openai import Options as AzureOptions
from backends.chat_errors import classify
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
)
from backends.events import Event, Finished, Signature, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.http import Transport
from backends.sse import SseDecoder
from backends.streamed import Decoder
from tests.upstream import Upstream
from tests.wire.recorded import recorded
from tests.wire.replay import SIZES, headers_of, read

OPENAI, AZURE = "openai-written", "azure-openai-written"
PARIS = "The capital of France is Paris."
SEALED = Signature("openai", '{"id":"rs_68","encrypted_content":"gAAAAABoXyZ_whole=="}')
THOUGHT = Usage(37, 72, 12, 64)
CHAT, RESPONSES = chat_decode.Decoder, responses_decode.Decoder
STREAMS: dict[str, tuple[Callable[[], Decoder], str, Finished]] = {
    f"{OPENAI}/chat_stream": (CHAT, PARIS, Finished("stop", Usage(37, 8))),
    f"{OPENAI}/responses_stream": (RESPONSES, PARIS, Finished("stop", THOUGHT)),
    f"{OPENAI}/responses_stream_tools": (RESPONSES, "", Finished("stop", THOUGHT)),
    f"{OPENAI}/responses_stream_cut": (RESPONSES, "The capital of France", Finished("length", THOUGHT)),
    f"{AZURE}/chat_stream": (CHAT, PARIS, Finished("stop", Usage(37, 8))),
    f"{AZURE}/chat_stream_async_filter": (CHAT, "The capital of France", Finished("content_filter", Usage(37, 8))),
}
ERRORS: dict[str, BackendError] = {
    f"{OPENAI}/error_key": AuthenticationFailed(401),
    f"{OPENAI}/error_rate_limit": RateLimited(19.876),
    f"{OPENAI}/error_quota": QuotaExhausted(),
    f"{OPENAI}/error_model": ModelNotFound("m"),
    f"{OPENAI}/error_context_length": ContextLengthExceeded(130011, 128000),
    f"{OPENAI}/error_context_length_responses": ContextLengthExceeded(),
    f"{OPENAI}/error_invalid_prompt": ContentFiltered(),
    f"{OPENAI}/error_temperature": InvalidRequest(400, "temperature"),
    f"{OPENAI}/error_max_tokens": InvalidRequest(400, "max_output_tokens"),
    f"{OPENAI}/error_overloaded": Overloaded(),
    f"{OPENAI}/error_server": ServerFailed(500),
    f"{AZURE}/error_content_filter": ContentFiltered(),
    f"{AZURE}/error_deployment": ModelNotFound("m"),
    f"{AZURE}/error_path": ProtocolViolation("HTTP 404 for a path of this API"),
    f"{AZURE}/error_rate_limit": RateLimited(6.0),
    f"{AZURE}/error_key": AuthenticationFailed(401),
}


def decoded(name: str, body: bytes, size: int = SIZES[-1]) -> list[Event]:
    """The events, those of the end among them."""
    decoder = STREAMS[name][0]()
    return read(body, size, SseDecoder(), decoder) + decoder.end()


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_any_split(name: str) -> None:
    body = recorded(name)[2]
    *content, end = whole = decoded(name, body)
    assert "".join(event.text for event in content if isinstance(event, TextDelta)) == STREAMS[name][1]
    assert end == STREAMS[name][2]
    for size in SIZES:
        assert decoded(name, body, size) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_before_its_end_was_said_is_broken(name: str) -> None:
    body = recorded(name)[2]
    ends = [
        body.rfind(words) for words in (b'"finish_reason":"', b"event: response.incomplete", b"event: response.comp")
    ]
    for cut in range(0, max(ends), 41):
        with pytest.raises(StreamBroken):
            decoded(name, body[:cut])


def test_what_was_thought_is_kept_sealed_as_it_was_in_the_end() -> None:
    assert decoded(name := f"{OPENAI}/responses_stream", recorded(name)[2])[0] == SEALED
    sealed, start, *deltas, _ = decoded(name := f"{OPENAI}/responses_stream_tools", recorded(name)[2])
    assert (sealed, start) == (SEALED, ToolCallStart(0, "call_68", "weather"))
    assert "".join(delta.arguments for delta in deltas if isinstance(delta, ToolCallDelta)) == '{"city":"Paris"}'


def test_a_stream_that_fails() -> None:
    *begun, failed, _ = SseDecoder().feed(recorded(f"{OPENAI}/responses_stream_failed")[2])
    decoder = RESPONSES("m")
    assert [decoder.feed(message) for message in begun] == [[], []]
    with pytest.raises(RateLimited):
        decoder.feed(failed)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified(name: str) -> None:
    status, head, body = recorded(name)
    found, expected = classify(status, headers_of(head), body, model="m"), ERRORS[name]
    assert (type(found), found.args) == (type(expected), expected.args)


async def test_the_models_of_azure() -> None:
    _, head, body = recorded(f"{AZURE}/models")
    transport = Transport()
    async with Upstream([head + body]) as upstream:
        backend = AzureOpenAI(AzureOptions(name="b", base_url=upstream.origin), transport)
        assert [model.id for model in await backend.models()] == ["curie"]
        transport.close()
