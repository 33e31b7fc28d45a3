"""What Ollama sends, through our decoder: whole, in pieces, cut short, and over a real socket."""

import pytest
from msgspec.structs import replace

from backends.base import Model
from backends.capabilities import Capabilities
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    ModelLoadFailed,
    ModelNotFound,
    NotReady,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.http import Transport
from backends.ndjson import LineDecoder
from backends.ollama import Ollama, Options
from backends.ollama_decode import Decoder
from backends.ollama_errors import classify
from backends.request import Prompt, Request, said
from tests.upstream import Script, Seen, Upstream
from tests.wire.recorded import recorded
from tests.wire.replay import SIZES, headers_of, is_broken_anywhere, played, read, written

HERE = "ollama-written"
STREAMS: dict[str, list[Event]] = {
    "chat_stream": [
        *map(TextDelta, ["The", " capital", " of", " France", " is", " Paris", "."]),
        Finished("stop", Usage(26, 8)),
    ],
    "chat_stream_thinking": [
        ReasoningDelta("France's"),
        ReasoningDelta(" capital."),
        Signature("ollama", "thinking"),
        TextDelta("It is "),
        TextDelta("Paris."),
        Finished("stop", Usage(26, 11)),
    ],
    "chat_stream_tools": [
        ReasoningDelta("Two cities."),
        Signature("ollama", "thinking"),
        ToolCallStart(0, "id-1", "get_weather"),
        ToolCallDelta(0, '{"city":"Madrid"}'),
        ToolCallStart(1, "call_8s7d", "get_weather"),
        ToolCallDelta(1, '{"city":"Brasília","days":1.5}'),
        ToolCallStart(2, "id-2", "clock"),
        ToolCallDelta(2, "{}"),
        Finished("stop", Usage(26, 38)),
    ],
    "chat_stream_logprobs": [
        TextDelta("The", (Logprob("The", -0.1, (("The", -0.1), ("A", -2.5))),)),
        Finished("length", Usage(26, 1)),
    ],
    "generate_stream": [TextDelta(" Paris"), TextDelta("."), Finished("length", Usage(5, 2))],
}
WHOLE: dict[str, list[Event]] = {
    "chat_plain": [TextDelta("The capital of France is Paris."), Finished("stop", Usage(26, 8))],
    "chat_load": [Finished("stop")],
}
ERRORS: dict[str, BackendError] = {
    "error_unknown_model": ModelNotFound("m"),
    "error_no_tools": UnsupportedFeature("tools", "tools"),
    "error_no_thinking": UnsupportedFeature("reasoning", "reasoning.effort"),
    "error_no_images": UnsupportedFeature("images", "input"),
    "error_context_length": ContextLengthExceeded(2622, 512),
    "error_context_length_older": ContextLengthExceeded(),
    "error_memory": ModelLoadFailed("m"),
    "error_runner": ModelLoadFailed("m"),
    "error_loading": NotReady(),
    "error_busy": Overloaded(),
    "error_spent": QuotaExhausted(),
    "error_too_many": RateLimited(3.0),
    "error_no_key": AuthenticationFailed(401),
    "error_not_found": ProtocolViolation("HTTP 404 for a path of this API"),
}
ASK = Request("m", (said("user", "What is the capital of France?"),), 16, top_logprobs=2)


def reader() -> Decoder:
    return Decoder("m", 2, iter(["id-1", "id-2"]).__next__)


def ollama(upstream: Upstream, transport: Transport) -> Ollama:
    return Ollama(Options(name="o", base_url=upstream.origin), transport)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_any_split(name: str) -> None:
    for size in SIZES:
        assert read(recorded(f"{HERE}/{name}")[2], size, LineDecoder(), reader()) == STREAMS[name]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_gives_what_came_and_no_end_that_was_not_said(name: str) -> None:
    is_broken_anywhere(recorded(f"{HERE}/{name}")[2], LineDecoder(), reader(), STREAMS[name])


@pytest.mark.parametrize("name", ["chat_stream", "chat_stream_thinking", "generate_stream"])
async def test_a_stream_over_a_socket(name: str) -> None:
    ask = ASK if name.startswith("chat") else replace(ASK, messages=(), prompt=Prompt("The capital of France is"))
    assert await played([written(f"{HERE}/{name}")], ollama, ask) == STREAMS[name]
    with pytest.raises(StreamBroken):  # without the end of the last line: it may have been a longer one
        await played([written(f"{HERE}/{name}", -1)], ollama, ask)


@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_that_was_not_streamed(name: str) -> None:
    assert await played([written(f"{HERE}/{name}")], ollama, ASK) == WHOLE[name]


async def test_an_error_inside_the_stream_comes_after_what_was_said_before_it(transport: Transport) -> None:
    async with Upstream([written(f"{HERE}/chat_stream_error")]) as upstream:
        async with ollama(upstream, transport).stream(ASK) as batches:
            assert await anext(batches) == [TextDelta("The")]
            with pytest.raises(ServerFailed):
                await anext(batches)


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_is_classified(name: str) -> None:
    status, head, body = recorded(f"{HERE}/{name}")
    found, expected = classify(status, headers_of(head), body, model="m"), ERRORS[name]
    assert (type(found), found.args) == (type(expected), expected.args)
    with pytest.raises(type(expected)):
        await played([written(f"{HERE}/{name}")], ollama, ASK)


@pytest.mark.parametrize(
    ("shown", "num_ctx", "expected"),
    [
        ("show", None, Model("gemma3:latest", 2048, Capabilities(
            tools=False, images=True, audio=False, files=False, reasoning=False, completions=True, embeddings=False))),
        ("show", 1024, Model("gemma3:latest", 1024, Capabilities(
            tools=False, images=True, audio=False, files=False, reasoning=False, completions=True, embeddings=False))),
        ("show_thinking", None, Model("gemma3:latest", 131072, Capabilities(
            tools=True, images=False, audio=False, files=False, reasoning=True, completions=True, embeddings=False))),
        ("error_not_found", None, Model("gemma3:latest", None, Capabilities(audio=False, files=False))),
    ],
    ids=["pulled", "with num_ctx", "thinking", "older server"],
)  # fmt: skip
async def test_the_models(transport: Transport, shown: str, num_ctx: int | None, expected: Model) -> None:
    transcripts = {"/api/tags": "tags", "/api/show": shown}

    def script(seen: Seen) -> Script:
        return [written(f"{HERE}/{transcripts[seen.path]}")]

    async with Upstream(default=script) as upstream:
        options = Options(name="o", base_url=upstream.origin, num_ctx=num_ctx)
        backend = Ollama(options, transport)
        assert await backend.models() == [expected]
        assert await backend.models() == [expected]
        asked = [(await upstream.seen(number)).path for number in range(3)]
    # What is known of a model stays true as long as it is the same file; what could not be learnt is asked again.
    assert asked[:3] == ["/api/tags", "/api/show", "/api/tags"]
