"""The Responses API as we read it: events in any split, what is not there, and what its errors mean."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import dumps
from backends.responses_decode import Decoder
from backends.sse import SseDecoder
from tests.providers.openai import framed
from tests.providers.responses_words import Composed

SEALED = '{"id":"rs_0","encrypted_content":"gAAAAAB"}'
STORY: list[Event] = [
    ReasoningDelta("Let me "),
    ReasoningDelta("see."),
    Signature("openai", SEALED),
    TextDelta("Yes, "),
    TextDelta("gladly.", (Logprob("gladly.", -0.5, (("gladly.", -0.5),)),)),
    RefusalDelta("Not that."),
    ToolCallStart(0, "call_a", "weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallStart(1, "call_b", "clock"),
    ToolCallDelta(0, '"Paris"}'),
    ToolCallDelta(1, "{}"),
]
END = Finished("stop", Usage(9, 7, 3, 5))
ASKED = {"model": "o4-mini", "include": ["reasoning.encrypted_content"]}


def spoken(events: list[Event], end: Finished = END) -> bytes:
    composed = Composed(ASKED)
    said = [*composed.begin(), *(each for event in events for each in composed.event(event)), *composed.finish(end)]
    return framed(said)


def heard(*reads: bytes, top_logprobs: int | None = 1) -> list[Event]:
    sse, decoder = SseDecoder(), Decoder("m", top_logprobs)
    return [event for read in reads for message in sse.feed(read) for event in decoder.feed(message)] + decoder.end()


def read(*events: dict[str, Any]) -> list[Event]:
    decoder = Decoder("m")
    return [event for each in events for event in decoder.feed(dumps(each))]


def test_every_kind_of_event_is_heard_as_it_was_meant() -> None:
    assert heard(spoken(STORY)) == [*STORY, END]
    assert heard(spoken([TextDelta("Well")], Finished("length", Usage(1, 1))))[-1] == Finished("length", Usage(1, 1))
    filtered = Finished("content_filter", Usage(1, 1))
    assert heard(spoken([TextDelta("Well")], filtered))[-1] == filtered


@given(st.lists(st.integers(0, 20_000), max_size=8))
def test_a_stream_in_any_split(cuts: list[int]) -> None:
    body = spoken(STORY)
    ends = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    assert heard(*(body[a:b] for a, b in pairwise(ends))) == [*STORY, END]


def test_a_stream_cut_anywhere_is_broken() -> None:
    body = spoken(STORY)
    for cut in range(0, body.rindex(b"event: response.completed"), 97):
        with pytest.raises(StreamBroken):
            heard(body[:cut])


def test_log_probabilities_that_nobody_asked_for_are_left_out() -> None:
    assert TextDelta("gladly.") in heard(spoken(STORY), top_logprobs=None)


def test_summaries_are_paragraphs() -> None:
    part, delta = "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta"
    found = read(
        {"type": part, "summary_index": 0},
        {"type": delta, "delta": "One."},
        {"type": part, "summary_index": 1},
        {"type": delta, "delta": "Two."},
    )
    assert "".join(event.text for event in found) == "One.\n\nTwo."


def test_a_call_without_deltas_is_whole_when_it_is_done() -> None:
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather"}
    done = {"type": "response.output_item.done", "output_index": 0}
    end = {"type": "response.completed", "response": {}}
    assert read(done | {"item": item | {"arguments": '{"a":1}'}}, end) == [
        ToolCallStart(0, "call_1", "weather"),
        ToolCallDelta(0, '{"a":1}'),
        Finished("stop"),
    ]
    assert read(done | {"item": item | {"arguments": ""}}, end)[1:] == [ToolCallDelta(0, "{}"), Finished("stop")]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.something.new", "delta": {"a": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "ws_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1"}},
        {"type": "response.output_text.delta", "delta": "", "logprobs": []},
        {"type": "response.output_text.done", "text": "all"},
        {"type": "response.in_progress", "response": "what"},
        {"no": "type"},
    ],
)
def test_what_says_nothing_to_us_is_passed_over(event: dict[str, Any]) -> None:
    assert read(event) == []


@pytest.mark.parametrize(
    "data",
    [
        b"{not json",
        b"[]",
        b'{"type":7}',
        b'{"type":"response.output_text.delta","delta":7}',
        b'{"type":"response.completed"}',
        b'{"type":"response.output_item.added","item":{"type":"function_call"},"output_index":0}',
        b'{"type":"response.function_call_arguments.delta","delta":"{","output_index":3}',
    ],
)
def test_rubbish_is_a_protocol_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder("m").feed(data)


def error(code: str | None, message: str = "secret words", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **more}


CONTEXT = "This model's maximum context length is 512 tokens. However, your messages resulted in 600 tokens."


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"type": "response.failed", "response": {"error": error("server_error")}}, ServerFailed()),
        ({"type": "response.failed", "response": {"error": error("rate_limit_exceeded")}}, RateLimited()),
        ({"type": "response.failed", "response": {"error": error("invalid_prompt")}}, ContentFiltered()),
        ({"type": "response.failed", "response": {"error": error("bio_policy")}}, ContentFiltered()),
        ({"type": "response.failed", "response": {"error": error("image_too_large")}}, InvalidRequest(400, "input")),
        ({"type": "response.failed", "response": {}}, ServerFailed()),
        ({"type": "error", **error("insufficient_quota")}, QuotaExhausted()),
        ({"type": "error", **error("context_length_exceeded", CONTEXT)}, ContextLengthExceeded(600, 512)),
        ({"type": "error", "status": 404, "error": error("model_not_found")}, ModelNotFound("m")),
        ({"type": "error", "status": 401, "error": error("invalid_api_key")}, AuthenticationFailed(401)),
        ({"type": "error", "status": 400, "error": error(None, param="tools[0].name")}, InvalidRequest(400, "tools")),
        ({"type": "error", "status": 503, "error": error(None)}, Overloaded()),
        (
            {"type": "error", "status": 429, "error": error(None, headers={"Retry-After": "2"})},
            RateLimited(2.0),
        ),
        ({"type": "error", "status": 400, "error": error("websocket_stream_limit_reached")}, Overloaded()),
        ({"type": "error", "status": 400, "error": error("websocket_connection_limit_reached")}, StreamBroken()),
    ],
)
def test_an_error_is_classified_by_what_it_says(event: dict[str, Any], expected: BackendError) -> None:
    with pytest.raises(BackendError) as caught:
        read({"type": "response.output_text.delta", "delta": "a"}, event)
    assert (type(caught.value), caught.value.args) == (type(expected), expected.args)
    assert "secret" not in str(caught.value)
