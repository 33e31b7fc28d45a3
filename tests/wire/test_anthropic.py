"""What Anthropic sends, through our decoder: whole, in pieces, cut short, and each error as what it means."""

import pytest

from backends.anthropic_decode import Decoder
from backends.anthropic_errors import classify
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
from backends.sse import SseDecoder
from tests.wire.recorded import RECORDINGS, recorded
from tests.wire.replay import SIZES, fed, headers_of, is_broken_between, read

FOLDER = "anthropic-written"
NOW = 1_795_258_800.0  # 2026-11-21 11:00 UTC
TO_DECEMBER = 9 * 86_400 + 13 * 3600
THOUGHT = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"
HIDDEN = "redacted.EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpP"
SHANNON = "Claude Shannon was born on April 30, 1916, in Petoskey, Michigan"
WIKIPEDIA = ("https://en.wikipedia.org/wiki/Claude_Shannon", "Claude Shannon - Wikipedia")
STREAMS: dict[str, list[Event]] = {  # deltas of one kind that follow each other are one here
    "stream": [
        TextDelta("The capital of France is Paris."),
        Finished("stop", Usage(37, 15, cached_tokens=8, written_tokens=4)),
    ],
    "stream_tools": [
        TextDelta("Okay, let me look."),
        ToolCallStart(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
        ToolCallDelta(0, '{"location": "San Francisco, CA"}'),
        ToolCallStart(1, "toolu_02", "clock"),
        ToolCallDelta(1, "{}"),
        Finished("stop", Usage(472, 89)),
    ],
    "stream_thinking": [
        ReasoningDelta("Let me solve this\n\n1. First break it down"),
        Signature("anthropic", THOUGHT),
        Signature("anthropic", HIDDEN),
        TextDelta("27 * 453 = 12,231"),
        Finished("stop", Usage(30, 60, reasoning_tokens=40)),
    ],
    "stream_thinking_omitted": [
        Signature("anthropic", "EosnCkYICxIMMb3LzNrMu"),
        TextDelta("The answer is 12,231."),
        Finished("stop", Usage(30, 60)),
    ],
    "stream_search": [
        TextDelta("I'll check. He was born on April 30, 1916"),
        Citation(12, 41, SHANNON, *WIKIPEDIA),
        Finished("stop", Usage(10682, 510)),
    ],
    "stream_refusal": [Finished("content_filter", Usage(25, 1))],
    "message": [
        ReasoningDelta("Hm."),
        Signature("anthropic", "EuYBCkQYAiJA"),
        TextDelta("Let me look."),
        ToolCallStart(0, "toolu_01", "get_weather"),
        ToolCallDelta(0, '{"location": "Paris"}'),
        Finished("stop", Usage(2100, 503, cached_tokens=5)),
    ],
}
ERRORS: dict[str, BackendError] = {
    "error_rate_limit": RateLimited(17.0),
    "error_month_spent": QuotaExhausted(TO_DECEMBER),
    "error_limit_spent": QuotaExhausted(TO_DECEMBER),
    "error_no_credit": QuotaExhausted(),
    "error_billing": QuotaExhausted(),
    "error_overloaded": Overloaded(),
    "error_server": ServerFailed(500),
    "error_key": AuthenticationFailed(401),
    "error_permission": AuthenticationFailed(403),
    "error_model": ModelNotFound("m"),
    "error_path": ProtocolViolation("HTTP 404 for a path of this API"),
    "error_too_long": ContextLengthExceeded(208310, 200000),
    "error_too_long_with_answer": ContextLengthExceeded(188240, 200000),
    "error_too_large": ContextLengthExceeded(),
    "error_filtered": ContentFiltered(),
    "error_prefill": UnsupportedFeature("prefill", "input"),
    "error_thinking": UnsupportedFeature("this effort", "reasoning.effort"),
    "error_field": InvalidRequest(400, "max_output_tokens"),
    "error_temperature": InvalidRequest(400, "temperature"),
}


def test_every_recording_is_tested() -> None:
    there = {path.stem for path in (RECORDINGS / FOLDER).glob("*.http")}
    assert there == {*STREAMS, *ERRORS, "stream_error"}


def body(name: str) -> bytes:
    return recorded(f"{FOLDER}/{name}")[2]


def decoded(name: str, size: int) -> list[Event]:
    """The events of a body that comes in pieces of `size` bytes."""
    if name == "message":
        return (decoder := Decoder()).feed(body(name)) + decoder.end()
    return read(body(name), size, SseDecoder(), Decoder())


def joined(events: list[Event]) -> list[Event]:
    """With deltas that follow each other as one."""
    found: list[Event] = []
    for event in events:
        match found[-1] if found else None, event:
            case TextDelta(before), TextDelta(text):
                found[-1] = TextDelta(before + text)
            case ReasoningDelta(before), ReasoningDelta(text):
                found[-1] = ReasoningDelta(before + text)
            case ToolCallDelta(index, before), ToolCallDelta(_, arguments):
                found[-1] = ToolCallDelta(index, before + arguments)
            case _:
                found.append(event)
    return found


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_in_any_split(name: str) -> None:
    *others, whole = (decoded(name, size) for size in SIZES)
    assert joined(whole) == STREAMS[name]
    assert others == [whole] * len(others)


@pytest.mark.parametrize("name", sorted(STREAMS.keys() - {"message"}))
def test_a_stream_that_is_cut_has_no_end_that_was_not_said(name: str) -> None:
    whole = decoded(name, 1_000_000)
    messages = SseDecoder().feed(body(name))
    is_broken_between(messages[:-2], Decoder, whole)  # before the event that gives the reason
    decoder = Decoder()
    assert fed(decoder, messages[:-1]) + decoder.end() == whole, "without message_stop"


def test_an_error_inside_the_stream() -> None:
    *before, last = SseDecoder().feed(body("stream_error"))
    decoder = Decoder()
    assert fed(decoder, before) == [TextDelta("Hello")]
    with pytest.raises(Overloaded):
        decoder.feed(last)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified(name: str) -> None:
    status, head, data = recorded(f"{FOLDER}/{name}")
    found, expected = classify(status, headers_of(head), data, model="m", now=NOW), ERRORS[name]
    assert (type(found), found.args, found.retry_after) == (type(expected), expected.args, expected.retry_after)
