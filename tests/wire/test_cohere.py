"""What Cohere sends, through our decoder: whole, in pieces, cut short, and over a real socket."""

import pytest

from backends.base import Model
from backends.capabilities import Capabilities
from backends.cohere import Cohere, Options
from backends.cohere_decode import Decoder
from backends.cohere_errors import classify
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import (
    Citation,
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.http import Transport
from backends.request import Request, said
from backends.sse import SseDecoder
from tests.upstream import Upstream
from tests.wire.recorded import recorded
from tests.wire.replay import SIZES, headers_of, is_broken_anywhere, played, read, written

HERE = "cohere-written"
PARIS = "The capital of France is Paris."
STREAMS: dict[str, list[Event]] = {
    "chat_stream": [
        *map(TextDelta, ["The", " capital", " of", " France", " is", " Paris", "."]),
        Finished("stop", Usage(70, 8)),
    ],
    "chat_stream_reasoning": [
        ReasoningDelta("France's"),
        ReasoningDelta(" capital."),
        Signature("cohere", "thinking"),
        TextDelta("It is "),
        TextDelta("Paris."),
        Citation(6, 11, "Paris", "doc_1", "Capitals"),
        Finished("stop", Usage(80, 11, cached_tokens=16)),
    ],
    "chat_stream_tools": [
        ReasoningDelta("I will"),
        ReasoningDelta(" search."),
        ReasoningDelta(" "),
        Signature("cohere", "plan"),
        ToolCallStart(0, "get_weather_nsz5zm3w56q3", "get_weather"),
        ToolCallDelta(0, '{"'),
        ToolCallDelta(0, 'location":"Madrid"}'),
        ToolCallStart(1, "get_weather_g734bxy8k1q5", "get_weather"),
        ToolCallDelta(1, '{"location":"Brasilia"}'),
        Finished("stop", Usage(87, 38)),
    ],
}
WHOLE: dict[str, list[Event]] = {
    "chat_plain": [TextDelta(PARIS), Finished("stop", Usage(70, 8))],
    "chat_plain_tools": [
        ReasoningDelta("I will search."),
        Signature("cohere", "plan"),
        ToolCallStart(0, "get_weather_1", "get_weather"),
        ToolCallDelta(0, '{"location":"Madrid"}'),
        ToolCallStart(1, "get_weather_2", "get_weather"),
        ToolCallDelta(1, "{}"),
        Finished("stop", Usage(87, 38)),
    ],
}
ERRORS: dict[str, BackendError] = {
    "error_per_minute": RateLimited(),
    "error_per_month": QuotaExhausted(),
    "error_paid": QuotaExhausted(),
    "error_context_length": ContextLengthExceeded(4292, 4081),
    "error_size": ContextLengthExceeded(),
    "error_max_tokens": InvalidRequest(400, "max_output_tokens"),
    "error_temperature": InvalidRequest(400, "temperature"),
    "error_no_key": AuthenticationFailed(401),
    "error_unknown_model": ModelNotFound("m"),
    "error_not_found": ProtocolViolation("HTTP 404 for a path of this API"),
    "error_other_api": UnsupportedFeature("embeddings"),
    "error_deny_listed": ContentFiltered(),
    "error_server": ServerFailed(500),
}
ASK = Request("m", (said("user", "What is the capital of France?"),), 16)


def cohere(upstream: Upstream, transport: Transport) -> Cohere:
    return Cohere(Options(name="c", base_url=upstream.origin), transport)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_any_split(name: str) -> None:
    for size in SIZES:
        assert read(recorded(f"{HERE}/{name}")[2], size, SseDecoder(), Decoder()) == STREAMS[name]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_gives_what_came_and_no_end_that_was_not_said(name: str) -> None:
    is_broken_anywhere(recorded(f"{HERE}/{name}")[2], SseDecoder(), Decoder(), STREAMS[name])


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_over_a_socket(name: str) -> None:
    assert await played([written(f"{HERE}/{name}")], cohere, ASK) == STREAMS[name]
    cut = recorded(f"{HERE}/{name}")[2].index(b"event: message-end")
    with pytest.raises(StreamBroken):
        await played([written(f"{HERE}/{name}", cut)], cohere, ASK)


@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_that_was_not_streamed(name: str) -> None:
    assert await played([written(f"{HERE}/{name}")], cohere, ASK) == WHOLE[name]


async def test_an_error_inside_the_stream() -> None:
    with pytest.raises(ServerFailed) as raised:
        await played([written(f"{HERE}/chat_stream_error")], cohere, ASK)
    assert "failed to generate" not in str(raised.value)


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_is_classified(name: str) -> None:
    status, head, body = recorded(f"{HERE}/{name}")
    found, expected = classify(status, headers_of(head), body, model="m"), ERRORS[name]
    assert (type(found), found.args) == (type(expected), expected.args)
    with pytest.raises(type(expected)):
        await played([written(f"{HERE}/{name}")], cohere, ASK)


async def test_the_models(transport: Transport) -> None:
    no = {"audio": False, "files": False, "logprobs": False, "completions": False, "embeddings": False}
    async with Upstream([written(f"{HERE}/models")]) as upstream:
        backend = cohere(upstream, transport)
        found = await backend.models()
    assert found == [
        Model("command-a-03-2025", 288000, Capabilities(tools=True, json_schema=True, **no)),
        Model("command-a-reasoning-08-2025", 288768, Capabilities(tools=True, json_schema=True, reasoning=True, **no)),
        Model("c4ai-aya-vision-32b", 16000, Capabilities(images=True, **no)),
        Model("embed-v4.0", 128000, Capabilities(**{**no, "embeddings": True})),
    ]
    # The list names who thinks, so the others are not asked to.
    asked = {model: Request(model, (), 16, reasoning_effort="low") for model in (found[0].id, found[1].id)}
    assert [("thinking" in backend.body(request)) for request in asked.values()] == [False, True]
