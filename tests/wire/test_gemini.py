"""What Gemini sends, through our decoder: whole, in pieces, cut short, and each error as what it means."""

from itertools import count

import pytest

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
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.events import (
    Citation,
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
from backends.gemini import Gemini, Options
from backends.gemini_decode import Decoder
from backends.gemini_errors import classify
from backends.http import Transport
from backends.sse import SseDecoder
from tests.upstream import Upstream
from tests.wire.recorded import RECORDINGS, recorded
from tests.wire.replay import SIZES, headers_of, is_broken_between, read

FOLDER = "gemini-written"
NOW = 1_795_258_800.0  # 2026-11-21 11:00 UTC, 3 o'clock in California
TO_MIDNIGHT = 21 * 3600.0
SIGNED = "EjQKMgEMOdbH2qYw9yXn5fSmTz0vJ3"
SEARCHED = "https://vertexaisearch.cloud.google.com/grounding-api-redirect/"
STREAMS: dict[str, list[Event]] = {
    "stream": [
        TextDelta("The capital"),
        TextDelta(" of France is Par"),
        TextDelta("is."),
        Finished("stop", Usage(8, 8)),
    ],
    "stream_thinking": [
        ReasoningDelta("**Adding the numbers**\n\nI need the sum"),
        ReasoningDelta(" of 2 and 2."),
        TextDelta("It is "),
        TextDelta("4."),
        Signature("gemini", f"text:{SIGNED}"),
        Finished("stop", Usage(12, 35, cached_tokens=4, reasoning_tokens=31)),
    ],
    "stream_tools": [
        ReasoningDelta("**Looking it up**"),
        Signature("gemini", f"call:{SIGNED}"),
        ToolCallStart(0, "8f2b1a3c", "get_weather"),
        ToolCallDelta(0, '{"location": "Paris, FR", "days": 2}'),
        ToolCallStart(1, "5d0c77e1", "get_weather"),
        ToolCallDelta(1, '{"location": "Orl\\u00e9ans"}'),
        Finished("stop", Usage(60, 39, reasoning_tokens=9)),
    ],
    "stream_tools_2_5": [
        TextDelta("I will look."),
        ToolCallStart(0, "made_0", "clock"),
        ToolCallDelta(0, "{}"),
        Finished("stop", Usage(20, 9)),
    ],
    "stream_length": [TextDelta("One two"), Finished("length", Usage(5, 3))],
    "stream_safety": [TextDelta("Well,"), Finished("content_filter", Usage(5, 2))],
    "stream_recitation": [
        TextDelta("Call me Ishmael."),
        Citation(0, 16, "Call me Ishmael.", "https://www.gutenberg.org/ebooks/2701"),
        Finished("content_filter", Usage(5, 6)),
    ],
    "stream_grounded": [  # their places count bytes, ours characters
        TextDelta("Größe zählt: Spain won"),
        TextDelta(" Euro 2024."),
        Citation(13, 33, "Spain won Euro 2024.", f"{SEARCHED}AUZIYQ", "aljazeera.com"),
        Citation(13, 33, "Spain won Euro 2024.", f"{SEARCHED}AUZIYR", "uefa.com"),
        Finished("stop", Usage(9, 11)),
    ],
    "message": [
        ReasoningDelta("Hm."),
        TextDelta("1+1 equals 2."),
        Signature("gemini", f"text:{SIGNED}"),
        Finished("stop", Usage(15, 18, reasoning_tokens=12)),
    ],
    "message_logprobs": [
        TextDelta(
            "Hi there",
            (Logprob("Hi", -0.1, (("Hi", -0.1), ("Hello", -2.5))), Logprob(" there", -0.3, ((" there", -0.3),))),
        ),
        Finished("stop", Usage(3, 2)),
    ],
}
ENDS: dict[str, type[BackendError]] = {
    "stream_blocked": ContentFiltered,
    "stream_malformed_call": ServerFailed,
    "stream_error": Overloaded,
}
ERRORS: dict[str, BackendError] = {
    "error_minute": RateLimited(36.43),
    "error_day": QuotaExhausted(TO_MIDNIGHT, Scope.MODEL),
    "error_not_free": QuotaExhausted(None, Scope.MODEL),
    "error_prepaid": QuotaExhausted(None, Scope.ACCOUNT),
    "error_exhausted": RateLimited(),
    "error_vertex_429": RateLimited(),
    "error_overloaded": Overloaded(),
    "error_internal": ServerFailed(500),
    "error_deadline": ServerFailed(504),
    "error_key": AuthenticationFailed(401),
    "error_no_key": AuthenticationFailed(403),
    "error_token": AuthenticationFailed(401),
    "error_country": AuthenticationFailed(403),
    "error_model": ModelNotFound("m"),
    "error_vertex_model": ModelNotFound("m"),
    "error_path": ProtocolViolation("HTTP 404 for a path of this API"),
    "error_too_long": ContextLengthExceeded(3475108, 1048576),
    "error_vertex_too_long": ContextLengthExceeded(33000, 32767),
    "error_prefill": UnsupportedFeature("prefill", "input"),
    "error_logprobs": UnsupportedFeature("log probabilities", "top_logprobs"),
    "error_json_and_tools": UnsupportedFeature("a JSON schema together with tools", "text.format"),
    "error_field": InvalidRequest(400, "top_k"),
    "error_type": InvalidRequest(400, "temperature"),
    "error_signature": InvalidRequest(400, "input"),
}


def test_every_recording_is_tested() -> None:
    there = {path.stem for path in (RECORDINGS / FOLDER).glob("*.http")}
    assert there == {*STREAMS, *ENDS, *ERRORS, "models"}


def body(name: str) -> bytes:
    return recorded(f"{FOLDER}/{name}")[2]


def new() -> Decoder:
    ids = count()
    return Decoder("m", 2, lambda: f"made_{next(ids)}")


def decoded(name: str, size: int) -> list[Event]:
    """The events of a body that comes in pieces of `size` bytes."""
    decoder = new()
    if name.startswith("message"):
        return decoder.feed(body(name)) + decoder.end()
    return read(body(name), size, SseDecoder(), decoder) + decoder.end()


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_in_any_split(name: str) -> None:
    for size in SIZES:
        assert decoded(name, size) == STREAMS[name]


@pytest.mark.parametrize("name", [name for name in STREAMS if name.startswith("stream")])
def test_a_stream_that_is_cut_is_broken(name: str) -> None:
    """There is no last message: only the finish reason tells."""
    is_broken_between(SseDecoder().feed(body(name)), new, STREAMS[name])


@pytest.mark.parametrize("name", ENDS)
def test_an_answer_that_ends_in_an_error(name: str) -> None:
    with pytest.raises(ENDS[name]):
        decoded(name, 100)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified(name: str) -> None:
    status, head, data = recorded(f"{FOLDER}/{name}")
    found, expected = classify(status, headers_of(head), data, model="m", now=NOW), ERRORS[name]
    assert (type(found), found.args, found.scope) == (type(expected), expected.args, expected.scope)


async def test_the_models() -> None:
    _, head, data = recorded(f"{FOLDER}/models")
    transport = Transport()
    bare = head.replace(b"Transfer-Encoding: chunked\r\n", b"Content-Length: %d\r\n" % len(data))
    async with Upstream([bare + data]) as upstream:
        flash, embedding = await Gemini(Options(name="b", base_url=upstream.url), transport).models()
        transport.close()
    assert (flash.id, flash.context, flash.max_output) == ("gemini-3.5-flash", 1048576, 65536)
    assert flash.capabilities.known() == {"reasoning": True, "completions": False, "embeddings": False}
    assert embedding.id == "gemini-embedding-001"
    assert embedding.capabilities.embeddings is True
