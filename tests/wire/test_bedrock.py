"""What Bedrock sends, through our framing and decoder: whole, in pieces, cut short, and each error as what it means."""

import pytest

from backends.bedrock_decode import Decoder
from backends.bedrock_errors import classify
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    NotReady,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.event_stream import EventStreamDecoder
from backends.events import (
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from tests.wire.recorded import RECORDINGS, recorded
from tests.wire.replay import SIZES, fed, headers_of, is_broken_between, read

FOLDER = "bedrock-written"
STREAMS: dict[str, list[Event]] = {
    "stream": [
        *map(TextDelta, ("The", " capital", " of France is", " Paris", ".")),
        Finished("stop", Usage(37, 15, cached_tokens=8, written_tokens=4)),
    ],
    "stream_reasoning": [
        ReasoningDelta("Let me"),
        ReasoningDelta(" think"),
        Signature("bedrock", "EqQBCgIYAhIM1gbc"),
        Signature("bedrock", "redacted.aGlkZGVu"),
        TextDelta("12,231"),
        Finished("stop", Usage(30, 60)),
    ],
    "stream_tools": [
        TextDelta("Let me look."),
        ToolCallStart(0, "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", "top_song"),
        ToolCallDelta(0, '{"sign":'),
        ToolCallDelta(0, ' "WZPZ"}'),
        ToolCallStart(1, "tooluse_2", "clock"),
        ToolCallDelta(1, "{}"),
        Finished("stop", Usage(413, 58)),
    ],
    "stream_guardrail": [TextDelta("Sorry, I cannot."), Finished("content_filter", Usage(9, 4))],
}
BROKEN: dict[str, BackendError] = {
    "stream_error": ServerFailed(),
    "stream_throttled": RateLimited(),
    "stream_unnamed_error": ServerFailed(),
}
ERRORS: dict[str, BackendError] = {
    "error_throttled": RateLimited(),
    "error_day_spent": QuotaExhausted(None, Scope.MODEL),
    "error_quota": QuotaExhausted(),
    "error_unavailable": Overloaded(),
    "error_not_ready": NotReady(5.0),
    "error_model": ServerFailed(424),
    "error_model_timeout": ServerFailed(408),
    "error_internal": ServerFailed(500),
    "error_token": AuthenticationFailed(401),
    "error_signature": AuthenticationFailed(401),
    "error_api_key": AuthenticationFailed(401),
    "error_rights": AuthenticationFailed(403),
    "error_no_access": ModelNotFound("m"),
    "error_unknown_model": ModelNotFound("m"),
    "error_no_such_resource": ModelNotFound("m"),
    "error_needs_profile": ModelNotFound("m"),
    "error_too_long": ContextLengthExceeded(208310, 200000),
    "error_input_too_long": ContextLengthExceeded(),
    "error_prefill": UnsupportedFeature("prefill", "input"),
    "error_tools": UnsupportedFeature("tools", "tools"),
    "error_images": UnsupportedFeature("images", "input"),
    "error_filtered": ContentFiltered(),
    "error_invalid": InvalidRequest(400),
}


def test_every_recording_is_tested() -> None:
    there = {path.stem for path in (RECORDINGS / FOLDER).glob("*.http")}
    assert there == {*STREAMS, *BROKEN, *ERRORS}


def body(name: str) -> bytes:
    return recorded(f"{FOLDER}/{name}")[2]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", SIZES)
def test_an_answer_in_any_split(name: str, size: int) -> None:
    decoder = Decoder()
    assert read(body(name), size, EventStreamDecoder(), decoder) == STREAMS[name]
    assert decoder.end() == []


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_cut_has_no_end_that_was_not_said(name: str) -> None:
    messages = EventStreamDecoder().feed(body(name))
    is_broken_between(messages[:-2], Decoder, STREAMS[name])  # before the one that gives the reason
    decoder = Decoder()
    *content, end = fed(decoder, messages[:-1]) + decoder.end()
    assert content == STREAMS[name][:-1]
    assert (end.reason, end.usage) == (STREAMS[name][-1].reason, None), "without the metadata"


@pytest.mark.parametrize("name", BROKEN)
def test_an_exception_inside_the_stream(name: str) -> None:
    *before, last = EventStreamDecoder().feed(body(name))
    decoder, expected = Decoder("m"), BROKEN[name]
    assert {type(event) for event in fed(decoder, before)} <= {TextDelta}
    with pytest.raises(type(expected)) as caught:
        decoder.feed(last)
    assert caught.value.args == expected.args


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified(name: str) -> None:
    status, head, data = recorded(f"{FOLDER}/{name}")
    found, expected = classify(status, headers_of(head), data, model="m"), ERRORS[name]
    assert (type(found), found.args, found.retry_after) == (type(expected), expected.args, expected.retry_after)
    assert found.scope is expected.scope
