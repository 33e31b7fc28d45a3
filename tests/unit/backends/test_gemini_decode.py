"""Gemini: what an answer says, however it is cut and whatever stands in it that is new to us."""

from contextlib import suppress
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BackendError, ContentFiltered, ContextLengthExceeded, ProtocolViolation, StreamBroken
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
from backends.gemini_citations import citations
from backends.gemini_decode import Decoder
from backends.json import dumps
from backends.sse import SseDecoder
from tests.providers.gemini_words import Messages, sse


def message(*parts: Any, reason: str | None = None, **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": [*parts], "role": "model"}, "index": 0}
    return dumps({"candidates": [candidate | ({} if reason is None else {"finishReason": reason}) | more]})


def events(*messages: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for each in messages for event in decoder.feed(each)] + decoder.end()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("OTHER", "stop"),
        ("NEW_IN_2027", "stop"),
    ],
)
def test_the_finish_reason(theirs: str, ours: str) -> None:
    assert events(message({"text": "a"}, reason=theirs)) == [TextDelta("a"), Finished(ours)]


def test_every_reason_of_the_sdk_has_an_outcome() -> None:
    for reason in types.FinishReason:
        decoder = Decoder()
        decoder.feed(message(reason=reason.value))
        with suppress(BackendError):
            [end] = decoder.end()
            assert isinstance(end, Finished)


def test_the_last_usage_counts_and_thoughts_are_output() -> None:
    counts = [{"promptTokenCount": 5, "totalTokenCount": 5}]
    counts += [
        {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4}
    ]
    messages = [dumps({"candidates": [{"finishReason": "STOP"}], "usageMetadata": each}) for each in counts]
    assert events(*messages) == [Finished("stop", Usage(9, 5, 4, 3))]
    alone = dumps({"usageMetadata": counts[1] | {"toolUsePromptTokenCount": 1}})
    assert events(*messages, alone) == [Finished("stop", Usage(10, 5, 4, 3))]
    assert events(dumps({"candidates": [{"finishReason": "STOP"}], "usageMetadata": "?"})) == [Finished("stop")]


def test_nothing_is_empty_and_a_role_alone_says_nothing() -> None:
    assert events(message({"text": ""}), message(), message({"text": "", "thought": True}, reason="STOP")) == [
        Finished("stop")
    ]


def test_a_call_without_arguments_and_without_an_id() -> None:
    found = events(
        message({"functionCall": {"name": "clock", "args": None}}, {"functionCall": {"name": "now"}}, reason="STOP")
    )
    [first, _, second, _, _] = found
    assert (first.id != second.id, first.index, second.index) == (True, 0, 1)
    assert [event.arguments for event in found if isinstance(event, ToolCallDelta)] == ["{}", "{}"]
    with pytest.raises(ProtocolViolation, match="without a name"):
        events(message({"functionCall": {"args": {}}}))


def test_a_signature_stands_before_its_call_and_behind_its_text() -> None:
    called = {"functionCall": {"name": "clock", "id": "1"}, "thoughtSignature": "Y2FsbA=="}
    thought = {"text": "Hm.", "thought": True, "thoughtSignature": "dGhv"}
    said = {"text": "a", "thoughtSignature": "dHh0"}
    assert events(message(thought, said, called, reason="STOP")) == [
        ReasoningDelta("Hm."),
        Signature("gemini", "dGhv"),
        TextDelta("a"),
        Signature("gemini", "text:dHh0"),
        Signature("gemini", "call:Y2FsbA=="),
        ToolCallStart(0, "1", "clock"),
        ToolCallDelta(0, "{}"),
        Finished("stop"),
    ]


def test_citations_come_while_their_text_is_open_so_before_the_signature_that_closes_it() -> None:
    cited = {"citationMetadata": {"citationSources": [{"endIndex": 3, "uri": "u"}]}}
    last = dumps({"candidates": [{"content": {"parts": [{"text": "", "thoughtSignature": "c2ln"}]}, **cited}]})
    assert events(message({"text": "abc"}), last, message(reason="STOP")) == [
        TextDelta("abc"),
        Citation(0, 3, "abc", "u"),
        Signature("gemini", "text:c2ln"),
        Finished("stop"),
    ]


def test_a_source_of_everything_does_not_hold_the_loop() -> None:
    support = {"segment": {"startIndex": 1, "endIndex": 3, "text": "bc"}, "groundingChunkIndices": [0] * 100}
    grounded = {"groundingChunks": [{"web": {"uri": "d"}}], "groundingSupports": [support] * 10_000}
    looked: list[int] = []

    class Answer(str):
        def encode(self, *_: Any) -> Any:
            return Counted(str(self), "utf-8")

    class Counted(bytes):
        def __getitem__(self, key: Any) -> Any:
            looked.append(1)
            return super().__getitem__(key)

    assert citations(Answer("abc"), [], grounded) == [Citation(1, 3, "bc", "d")]
    assert len(looked) < 5_000


def test_a_blocked_prompt_and_an_error_inside_the_stream() -> None:
    with pytest.raises(ContentFiltered):
        events(dumps({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert events(dumps({"promptFeedback": {"safetyRatings": []}}), message(reason="STOP")) == [Finished("stop")]
    words = "The input token count (20) exceeds the maximum number of tokens allowed (10)."
    error = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": words}}
    for value in (error, [error]):
        with pytest.raises(ContextLengthExceeded) as caught:
            events(dumps(value))
        assert caught.value.args == (20, 10)


@pytest.mark.parametrize("data", [b"{not json", b"[]", b'"a"', b'{"candidates":1}', b'{"candidates":[{"content":[]}]}'])
def test_rubbish_breaks_the_protocol(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder().feed(data)


def test_no_finish_reason_is_a_broken_stream() -> None:
    decoder = Decoder()
    decoder.feed(message({"text": "a"}, reason="FINISH_REASON_UNSPECIFIED"))
    with pytest.raises(StreamBroken):
        decoder.end()


def test_citations_that_make_no_sense_are_left_out() -> None:
    cited = {"citations": [{"startIndex": 4, "endIndex": 2, "uri": "u"}, {"endIndex": 3}, {"endIndex": 99, "uri": "u"}]}
    assert citations("abc", [cited, {"citations": "?"}, 5], {"groundingSupports": 1}) == []
    twice = {"citationSources": [{"endIndex": 3, "uri": "u"}]}
    assert citations("abc", [twice, twice], None) == [Citation(0, 3, "abc", "u")]
    support = {"segment": {"startIndex": 0, "endIndex": 2, "text": "bc"}, "groundingChunkIndices": [0, 7]}
    grounded = {"groundingChunks": [{"retrievedContext": {"uri": "d"}}], "groundingSupports": [support]}
    assert citations("äbc", [], grounded) == [Citation(1, 3, "bc", "d")]


# Properties.

pieces = st.text(min_size=1, max_size=12)
tales = st.lists(
    st.builds(TextDelta, pieces)
    | st.builds(ReasoningDelta, pieces)
    | st.builds(Signature, st.just("gemini"), st.sampled_from(["text:c2ln", "c2ln"])),
    max_size=6,
)


@given(tales, st.booleans(), st.data())
def test_what_a_server_writes_is_what_we_read_in_any_split(tale: list[Event], calls: bool, data: st.DataObject) -> None:
    tale = [event for event in tale if getattr(event, "text", "a").isprintable()]
    if calls:
        tale += [Signature("gemini", "call:Y2FsbA=="), ToolCallStart(0, "1", "f"), ToolCallDelta(0, '{"a":1}')]
    tale.append(Finished("stop", Usage(9, 5, 4, 3)))
    writer = Messages("m")
    body = b"".join(writer.event(event) for event in tale[:-1]) + writer.finish(tale[-1])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    framing, decoder = SseDecoder(), Decoder()
    found: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        for each in framing.feed(body[start:end]):
            found += decoder.feed(each)
    assert found + decoder.end() == tale


FIELDS = "candidates content parts text thought thoughtSignature functionCall name args id finishReason usageMetadata"
NAMES = [*FIELDS.split(" "), "error", "promptFeedback", "citationMetadata", "groundingMetadata", "logprobsResult"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(anything, max_size=4))
def test_nothing_but_our_own_errors_comes_out(values: list[Any]) -> None:
    decoder = Decoder("m", 2)
    with suppress(BackendError):
        for value in values:
            for event in decoder.feed(dumps(value)):
                assert getattr(event, "text", "a")
        decoder.end()


def test_unknown_parts_and_fields_are_ignored() -> None:
    parts = [
        {"executableCode": {"code": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": "aa"}},
        {"text": "a", "new": [1]},
    ]
    framed = SseDecoder().feed(
        sse({"candidates": [{"content": {"parts": parts, "new": 1}, "finishReason": "STOP"}], "new": {}})
    )
    assert events(*framed) == [TextDelta("a"), Finished("stop")]
