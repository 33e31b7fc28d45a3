"""What servers send, through our decoders: whole, in pieces, cut short, and over a real socket in each framing."""

import pytest

from backends.chat_decode import Decoder
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import Event, Finished, TextDelta, Usage
from backends.http import Transport
from backends.openai_compatible import OpenAICompatible, Options
from backends.provider_errors import classify
from backends.request import Request, said
from backends.sse import SseDecoder
from tests.upstream import CLOSE, LAST, RESET, Step, Trickle, Upstream, chunk
from tests.wire.recorded import LLAMA, LOCALAI, VLLM, recorded
from tests.wire.replay import SIZES, fed, headers_of, played, read, written

STREAMS = {
    f"{LLAMA}/chat_stream": ("The capital of France is Paris.", Finished("stop", Usage(37, 8))),
    f"{VLLM}/chat_stream": ("The capital of France is Paris.", Finished("stop", Usage(37, 8))),
    f"{LOCALAI}/chat_stream": ("The capital of France is Paris.", Finished("stop", Usage(37, 8))),
    f"{VLLM}/chat_stream_logprobs": ("I'm glad to", Finished("length")),
    f"{LLAMA}/chat_stream_tools": ("Paris, the City of Light", Finished("length")),
}
WHOLE = {f"{LLAMA}/chat_plain": Usage(37, 8, cached_tokens=36), f"{VLLM}/chat_plain": Usage(37, 8)}
ERRORS: dict[str, BackendError] = {
    f"{LLAMA}/error_bad_body": InvalidRequest(400),
    f"{LLAMA}/error_context_length": ContextLengthExceeded(3031, 2048),
    f"{LLAMA}/embeddings_unsupported": UnsupportedFeature("embeddings"),
    f"{VLLM}/error_bad_body": InvalidRequest(400, "messages"),
    f"{VLLM}/error_context_length": ContextLengthExceeded(2049, 2048),
    f"{VLLM}/error_unknown_model": ModelNotFound("m"),
    f"{VLLM}/embeddings_unsupported": ProtocolViolation("HTTP 404 for a path of this API"),
    f"{LOCALAI}/error_load_failed": ModelLoadFailed("m"),
    f"{LOCALAI}/error_backend_died": ModelLoadFailed("m"),
    f"{LOCALAI}/error_cooldown": Overloaded(10.0),
    f"{LOCALAI}/error_loading": NotReady(300.0),
    f"{LOCALAI}/error_unknown_model": ModelNotFound("m"),
    f"{LOCALAI}/error_disabled_model": ModelNotFound("m"),
    f"{LOCALAI}/error_context_length": ContextLengthExceeded(3031, 2048),
    f"{LOCALAI}/error_no_key": AuthenticationFailed(401),
    f"{LOCALAI}/error_not_found": ProtocolViolation("HTTP 404 for a path of this API"),
}
MODELS = {
    f"{LLAMA}/models": ("smollm2-135m-instruct-f16.gguf", 2048),
    f"{VLLM}/models": ("smollm2", 2048),
    f"{LOCALAI}/models": ("smollm2", None),
    f"{LOCALAI}/models_capabilities": ("smollm2", 2048),
}
ASK = Request("m", (said("user", "What is the capital of France?"),), 16)


def decoded(body: bytes, size: int = SIZES[-1]) -> list[Event]:
    """The events, without those of the end."""
    return read(body, size, SseDecoder(), Decoder())


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_any_split(name: str) -> None:
    body = recorded(name)[2]
    *content, end = whole = decoded(body)
    words, finished = STREAMS[name]
    assert text(content).startswith(words)
    assert len(content) > 1
    assert end == finished
    for size in SIZES:
        assert decoded(body, size) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_gives_what_came_and_no_end_that_was_not_said(name: str) -> None:
    body = recorded(name)[2]
    whole = decoded(body)
    sse, decoder = SseDecoder(), Decoder()
    found: list[Event] = []
    for i in range(len(body)):  # found is what a cut before byte i gives
        found += fed(decoder, sse.feed(body[i : i + 1]))
        assert found == whole[: len(found)]
    assert found == whole

    reason_at = body.rindex(b'"finish_reason":"')
    for i in (0, 1, reason_at // 2, reason_at):
        read(body[:i], SIZES[-1], SseDecoder(), decoder := Decoder())
        with pytest.raises(StreamBroken):
            decoder.end()


@pytest.mark.parametrize("name", WHOLE)
def test_a_completion_that_was_not_streamed(name: str) -> None:
    decoder = Decoder()
    events = decoder.feed(recorded(name)[2]) + decoder.end()
    assert events == [TextDelta("The capital of France is Paris."), Finished("stop", WHOLE[name])]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified(name: str) -> None:
    status, head, body = recorded(name)
    found, expected = classify(status, headers_of(head), body, model="m"), ERRORS[name]
    assert (type(found), found.args) == (type(expected), expected.args)


# The same through the transport and the backend.


def backend(upstream: Upstream, transport: Transport) -> OpenAICompatible:
    return OpenAICompatible(Options(name="b", base_url=upstream.url), transport)


def framed(name: str) -> dict[str, list[Step]]:
    """The recording as its server framed it, and in the other framings that HTTP/1.1 has."""
    _, head, body = recorded(name)
    messages = [message + b"\n\n" for message in body.split(b"\n\n") if message]
    bare = b"".join(line for line in head.splitlines(keepends=True) if b"chunked" not in line)
    length = b"content-length: %d\r\n\r\n" % len(body)
    return {
        "as it was": [head, *map(chunk, messages), LAST],
        "one chunk": [head + chunk(body) + LAST],
        "chunks that split messages": [head, *(chunk(body[i : i + 99]) for i in range(0, len(body), 99)), LAST],
        "content-length": [bare[:-2] + length + body],
        "until the end": [bare + body, CLOSE],
        "byte by byte": [Trickle(head + b"".join(map(chunk, messages)) + LAST)],
    }


@pytest.mark.parametrize("framing", framed(f"{VLLM}/chat_stream"))
@pytest.mark.parametrize("name", [f"{VLLM}/chat_stream", f"{LLAMA}/chat_stream", f"{LOCALAI}/chat_stream"])
async def test_a_stream_over_a_socket(name: str, framing: str) -> None:
    assert await played(framed(name)[framing], backend, ASK) == decoded(recorded(name)[2])


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("name", [f"{VLLM}/chat_stream", f"{LLAMA}/chat_stream", f"{LOCALAI}/chat_stream"])
async def test_a_stream_cut_on_its_socket_is_broken(name: str, end: Step) -> None:
    head, *messages = framed(name)["as it was"]
    for cut in range(len(messages) - 2):  # before [DONE]
        with pytest.raises(StreamBroken):
            await played([head, *messages[:cut], end], backend, ASK)


@pytest.mark.parametrize("name", WHOLE)
async def test_a_server_that_does_not_stream(name: str) -> None:
    whole = [TextDelta("The capital of France is Paris."), Finished("stop", WHOLE[name])]
    assert await played([written(name)], backend, ASK) == whole


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_over_a_socket(name: str) -> None:
    with pytest.raises(type(ERRORS[name])):
        await played([written(name)], backend, ASK)


@pytest.mark.parametrize("name", MODELS)
async def test_the_models(name: str) -> None:
    _, head, body = recorded(name)
    transport = Transport()
    async with Upstream([head + body]) as upstream:
        [model] = await backend(upstream, transport).models()
        assert (model.id, model.context) == MODELS[name]
        transport.close()
