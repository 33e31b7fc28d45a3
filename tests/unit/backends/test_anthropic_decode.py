"""Anthropic's Messages: what answers say, whatever else is in them, and what it costs to read one."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import chat_decode
from backends.anthropic_decode import Decoder
from backends.anthropic_errors import classify
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    InvalidRequest,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
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
from backends.json import dumps
from backends.sse import SseDecoder
from tests.providers.anthropic import Events, Whole

TOKENS = 2000
SPIN = 7  # measurements, of which the best counts


def event(kind: str, **more: Any) -> bytes:
    return dumps({"type": kind, **more})


def begin(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, **more: Any) -> bytes:
    return event("content_block_delta", index=index, delta=more)


def stop(index: int) -> bytes:
    return event("content_block_stop", index=index)


def ended(reason: str = "end_turn", **usage: int) -> list[bytes]:
    return [event("message_delta", delta={"stop_reason": reason}, usage=usage), event("message_stop")]


def events(*messages: bytes) -> list[Event]:
    decoder = Decoder("m")
    return [each for message in messages for each in decoder.feed(message)]


# What is not in the recordings.


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("a new reason", "stop"),
    ],
)
def test_why_it_ended(theirs: str, ours: str) -> None:
    assert events(*ended(theirs)) == [Finished(ours)]


def test_counts_of_the_end_replace_those_of_the_start() -> None:
    start = event("message_start", message={"usage": {"input_tokens": 5, "output_tokens": 1}})
    assert events(start, *ended(output_tokens=7)) == [Finished("stop", Usage(5, 7))]
    assert events(start, *ended(input_tokens=9, cache_read_input_tokens=3, output_tokens=7)) == [
        Finished("stop", Usage(12, 7, cached_tokens=3))
    ]
    assert events(start, *ended(output_tokens=-1)) == [Finished("stop", Usage(5, 1))]


def test_arguments_that_come_all_at_once() -> None:
    call = begin(0, type="tool_use", id="a", name="weather", input={"city": "Paris"})
    assert events(call, stop(0)) == [ToolCallStart(0, "a", "weather"), ToolCallDelta(0, '{"city":"Paris"}')]


def test_a_call_without_a_name_is_none() -> None:
    with pytest.raises(ProtocolViolation):
        events(begin(0, type="tool_use", id="a"))


def test_a_citation_is_for_its_block() -> None:
    cited = {"cited_text": "b", "document_index": 0, "document_title": "D", "type": "char_location"}
    found = events(
        begin(0, type="text", text="ab"),
        stop(0),
        begin(1, type="text", text=""),
        delta(1, type="citations_delta", citation=cited),
        delta(1, type="text_delta", text="cde"),
        stop(1),
    )
    assert found == [TextDelta("ab"), TextDelta("cde"), Citation(2, 5, "b", "document 0", "D")]


@pytest.mark.parametrize(
    "unknown",
    [
        event("ping"),
        event("a_new_event", delta="text", message=1),
        delta(0, type="a_new_delta", text=["a"], signature=4),
        delta(9, type="input_json_delta", partial_json='{"of": "a tool of the server"}'),
        begin(0, type="a_new_block", text={"a": 1}, id=7),
        begin(0, type="server_tool_use", id="s", name="web_search", input={}),
        event("message_start", message={"usage": None, "content": "?"}),
        event("content_block_delta"),
    ],
)
def test_what_is_new_to_us_says_nothing(unknown: bytes) -> None:
    assert events(unknown, *ended()) == [Finished("stop")]


@pytest.mark.parametrize(
    "broken", [b"{not json", b"[]", delta(0, type="text_delta", text=5), event("message_delta", delta=[])]
)
def test_what_breaks_the_protocol(broken: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        events(broken)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", Overloaded()),
        ("rate_limit_error", RateLimited()),
        ("authentication_error", AuthenticationFailed(401)),
        ("billing_error", QuotaExhausted()),
        ("api_error", ServerFailed()),
        ("a_new_error", ServerFailed()),
        ("invalid_request_error", InvalidRequest(400)),
    ],
)
def test_an_error_inside_the_stream(kind: str, expected: BackendError) -> None:
    with pytest.raises(type(expected)) as caught:
        events(event("error", error={"type": kind, "message": "sk-secret"}))
    assert caught.value.args == expected.args
    assert "secret" not in f"{caught.value!s}{caught.value!r}"


def test_where_others_host_it() -> None:
    """Vertex wraps errors in a list; Bedrock leaves the message bare."""
    vertex = dumps([{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}])
    assert isinstance(classify(429, {}, vertex), RateLimited)
    bedrock = dumps({"message": "prompt is too long: 9 tokens > 8 maximum"})
    assert classify(400, {}, bedrock).args == ContextLengthExceeded(9, 8).args


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 2**40) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "error", "message", "text"]), inner)
    ),
    max_leaves=6,
)


@given(st.one_of(json_values.map(dumps), st.binary(max_size=40)), st.sampled_from([None, 200, 400, 404, 413, 429, 500]))
def test_whatever_a_server_says_is_an_error_of_ours(body: bytes, status: int | None) -> None:
    assert isinstance(classify(status, {}, body), BackendError)


# Any answer, as the fake writes it, in any split.

contents = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=5).map(TextDelta),
        st.text(min_size=1, max_size=5).map(ReasoningDelta),
        st.sampled_from(["c2ln", "redacted.aGlk"]).map(lambda data: Signature("anthropic", data)),
    ),
    max_size=8,
)
arguments = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3)


@given(contents, st.lists(arguments, max_size=3), st.integers(1, 60))
def test_an_answer_in_any_split(said: list[Event], calls: list[list[str]], size: int) -> None:
    for index, pieces in enumerate(calls):
        said = [*said, ToolCallStart(index, f"call_{index}", "weather"), *(ToolCallDelta(index, p) for p in pieces)]
    said = [*said, Finished("stop", Usage(9, 4, 2, 1, written_tokens=3))]
    writer = Events("m", 9)
    body = writer.begin() + b"".join(map(writer.event, said[:-1])) + writer.finish(said[-1]) + writer.done()
    sse, decoder = SseDecoder(), Decoder()
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    assert [each for piece in pieces for message in sse.feed(piece) for each in decoder.feed(message)] == said
    assert decoder.end() == []


def test_a_message_that_is_not_streamed_says_the_same() -> None:
    said = [
        ReasoningDelta("Hm."),
        Signature("anthropic", "c2ln"),
        TextDelta("So."),
        Citation(0, 3, "so", "https://example.com/", "Example"),
        ToolCallStart(0, "a", "weather"),
        ToolCallDelta(0, '{"city":"Paris"}'),
    ]
    writer = Whole("m")
    assert b"".join(map(writer.event, said)) == b""
    assert events(writer.finish(Finished("length", Usage(9, 4)))) == [*said, Finished("length", Usage(9, 4))]


def test_an_end_that_was_not_said() -> None:
    decoder = Decoder()
    decoder.feed(delta(0, type="text_delta", text="a"))
    with pytest.raises(StreamBroken):
        decoder.end()


# What it costs.


def best(decode: Any, messages: list[bytes]) -> float:
    """Seconds of CPU for all `messages`, at best."""
    found = []
    for _ in range(SPIN):
        feed = decode().feed
        start = time.process_time()
        for message in messages:
            feed(message)
        found.append(time.process_time() - start)
    return min(found)


def test_a_token_costs_no_more_than_one_and_a_half_of_chat_completions() -> None:
    """The messages as the providers send them; the ratio, because load disturbs both."""
    theirs = [delta(0, type="text_delta", text=f" word{i}") for i in range(TOKENS)]
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chat = [
        dumps(common | {"choices": [{"index": 0, "delta": {"content": f" word{i}"}, "finish_reason": None}]})
        for i in range(TOKENS)
    ]
    assert any(best(Decoder, theirs) <= 1.5 * best(chat_decode.Decoder, chat) for _ in range(3))
