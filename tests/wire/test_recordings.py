"""What servers send, through our decoders: whole, in pieces, cut short, and over a real socket in each framing."""

import pytest

from backends.base import Batches
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
from tests.upstream import CLOSE, LAST, RESET, Script, Step, Trickle, Upstream, chunk
from tests.wire.recorded import LLAMA, LOCALAI, VLLM, recorded

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


def decoded(*reads: bytes) -> list[Event]:
    """The events, without those of the end."""
    sse, decoder = SseDecoder(), Decoder()
    return [event for read in reads for message in sse.feed(read) for event in decoder.feed(message)]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_any_split(name: str) -> None:
    *content, end = whole = decoded(recorded(name)[2])
    words, finished = STREAMS[name]
    assert text(content).startswith(words)
    assert len(content) > 1
    assert end == finished
    body = recorded(name)[2]
    for size in (1, 2, 7, 100, 1000):
        assert decoded(*(body[i : i + size] for i in range(0, len(body), size))) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_gives_what_came_and_no_end_that_was_not_said(name: str) -> None:
    body = recorded(name)[2]
    whole = decoded(body)
    sse, decoder = SseDecoder(), Decoder()
    found: list[Event] = []
    for i in range(len(body)):  # found is what a cut before byte i gives
        for message in sse.feed(body[i : i + 1]):
            found += decoder.feed(message)
        assert found == whole[: len(found)]
    assert found == whole

    reason_at = body.rindex(b'"finish_reason":"')
    for i in (0, 1, reason_at // 2, reason_at):
        sse, decoder = SseDecoder(), Decoder()
        for message in sse.feed(body[:i]):
            decoder.feed(message)
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
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    found, expected = classify(status, headers, body, model="m"), ERRORS[name]
    assert (type(found), found.args) == (type(expected), expected.args)


# The same through the transport and the backend.


def backend(upstream: Upstream, transport: Transport) -> OpenAICompatible:
    return OpenAICompatible(Options(name="b", base_url=upstream.url), transport)


async def drained(batches: Batches) -> list[Event]:
    return [event async for batch in batches for event in batch]


async def played(script: Script) -> list[Event]:
    transport = Transport()
    async with Upstream(script) as upstream:
        async with backend(upstream, transport).stream(ASK) as batches:
            events = await drained(batches)
        transport.close()
    return events


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
    assert await played(framed(name)[framing]) == decoded(recorded(name)[2])


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("name", [f"{VLLM}/chat_stream", f"{LLAMA}/chat_stream", f"{LOCALAI}/chat_stream"])
async def test_a_stream_cut_on_its_socket_is_broken(name: str, end: Step) -> None:
    head, *messages = framed(name)["as it was"]
    for cut in range(len(messages) - 2):  # before [DONE]
        with pytest.raises(StreamBroken):
            await played([head, *messages[:cut], end])


@pytest.mark.parametrize("name", WHOLE)
async def test_a_server_that_does_not_stream(name: str) -> None:
    _, head, body = recorded(name)
    assert await played([head + body]) == [TextDelta("The capital of France is Paris."), Finished("stop", WHOLE[name])]


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_over_a_socket(name: str) -> None:
    _, head, body = recorded(name)
    with pytest.raises(type(ERRORS[name])):
        await played([head + body])


@pytest.mark.parametrize("name", MODELS)
async def test_the_models(name: str) -> None:
    _, head, body = recorded(name)
    transport = Transport()
    async with Upstream([head + body]) as upstream:
        [model] = await backend(upstream, transport).models()
        assert (model.id, model.context) == MODELS[name]
        transport.close()
