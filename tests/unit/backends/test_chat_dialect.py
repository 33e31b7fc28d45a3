"""Chat completions: what we send, what answers mean, and what errors mean."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.chat_decode import Decoder
from backends.chat_encode import encode
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
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
)
from backends.events import Event, Finished, FinishReason, ReasoningDelta, RefusalDelta, TextDelta, Usage
from backends.json import dumps
from backends.provider_errors import classify
from backends.request import Request, Sampling, said

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> bytes:
    return dumps({"choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason}], **more})


def events(*messages: bytes, end: bool = False) -> list[Event]:
    decoder = Decoder()
    found = [event for message in messages for event in decoder.feed(message)]
    return found + decoder.end() if end else found


# What we send.


def test_a_plain_request_says_only_what_it_must() -> None:
    assert encode(Request("m", (said("system", "Be brief."), said("user", "Hi")), 16)) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 16,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_was_chosen_is_sent_zero_too() -> None:
    sampling = Sampling(0.0, 0.9, 40, 0.05, 0.1, -0.1, 7)
    body = encode(Request("m", (), 16, ("END", "\n\n"), sampling))
    assert body["stop"] == ["END", "\n\n"]
    assert {name: body[name] for name in body.keys() & {"temperature", "top_p", "top_k", "min_p", "seed"}} == {
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "seed": 7,
    }
    assert (body["presence_penalty"], body["frequency_penalty"]) == (0.1, -0.1)


# What answers mean.


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"role": "assistant"}, []),
        ({"role": "assistant", "content": None}, []),
        ({"role": "assistant", "content": ""}, []),
        ({"role": "assistant", "content": "Hi"}, [TextDelta("Hi")]),
        ({"reasoning_content": "Hm"}, [ReasoningDelta("Hm")]),
        ({"reasoning": "Hm", "reasoning_content": None}, [ReasoningDelta("Hm")]),
        ({"reasoning": "Hm", "reasoning_content": "Hm"}, [ReasoningDelta("Hm")]),
        ({"reasoning_content": "so", "content": "Hi"}, [ReasoningDelta("so"), TextDelta("Hi")]),
        ({"refusal": "No."}, [RefusalDelta("No.")]),
        ({"content": "", "tool_calls": [{"index": 0}]}, []),
        ({}, []),
    ],
)
def test_a_delta(delta: dict[str, Any], expected: list[Event]) -> None:
    assert events(chunk(delta)) == expected


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("tool_calls", "stop"),
     ("function_call", "stop"), ("eos", "stop"), (3, "stop")],
)  # fmt: skip
def test_a_finish_reason(theirs: Any, ours: FinishReason) -> None:
    assert events(chunk({}, theirs), b"[DONE]") == [Finished(ours, None)]


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_server_that_broke_off_has_not_finished(reason: str) -> None:
    decoder = Decoder()
    assert decoder.feed(chunk({"content": "It is "})) == [TextDelta("It is ")]
    with pytest.raises(StreamBroken):
        decoder.feed(chunk({}, reason))
    assert not decoder.finished


@pytest.mark.parametrize(
    "messages",
    [
        [chunk({}, "stop"), dumps({"choices": [], "usage": USAGE}), b"[DONE]"],
        [chunk({}, "stop", usage=USAGE), b"[DONE]"],
        [chunk({"content": ""}, usage={"prompt_tokens": 5, "completion_tokens": 0}), chunk({}, "stop", usage=USAGE)],
        [chunk({}, "stop"), dumps({"usage": USAGE})],
        [chunk({}, "stop", usage=USAGE), chunk({}, usage=None), b"[DONE]"],
        [dumps({"choices": [], "usage": USAGE}), chunk({}, "stop"), b"[DONE]", b"[DONE]", chunk({"content": "late"})],
    ],
)
def test_usage_is_found_wherever_it_comes(messages: list[bytes]) -> None:
    assert events(*messages, end=True) == [Finished("stop", Usage(5, 2))]


def test_nothing_is_finished_before_the_usage_could_come() -> None:
    assert events(chunk({"content": "a"}), chunk({}, "stop")) == [TextDelta("a")]


def test_the_details_of_usage() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 1}}
    assert events(chunk({}, "stop", usage=USAGE | details), b"[DONE]") == [Finished("stop", Usage(5, 2, 4, 1))]


def test_reasoning_that_only_the_total_counts_is_output() -> None:
    """xAI's way: 5 of the prompt, 2 of the completion and 7 of reasoning are 14 in all."""
    details = {"total_tokens": 14, "completion_tokens_details": {"reasoning_tokens": 7}}
    assert events(chunk({}, "stop", usage=USAGE | details), b"[DONE]") == [Finished("stop", Usage(5, 9, 0, 7))]


def test_what_went_into_the_cache_is_told() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}}
    [end] = events(chunk({}, "stop", usage=USAGE | details), b"[DONE]")
    assert end == Finished("stop", Usage(5, 2, 2, written_tokens=3))


@pytest.mark.parametrize("wrong", [-1, "5", 5.0, True, None, [], 10**12, {}])
def test_wrong_usage_is_no_usage(wrong: Any) -> None:
    assert events(chunk({}, "stop", usage=USAGE | {"prompt_tokens": wrong}), b"[DONE]") == [Finished("stop", None)]
    details = {"prompt_tokens_details": {"cached_tokens": wrong}, "completion_tokens_details": wrong}
    assert events(chunk({}, "stop", usage=USAGE | details), b"[DONE]") == [Finished("stop", Usage(5, 2))]


@pytest.mark.parametrize("usage", [[], "x", 3, True])
def test_usage_of_a_wrong_type_is_no_usage(usage: Any) -> None:
    assert events(chunk({}, "stop", usage=usage), b"[DONE]") == [Finished("stop", None)]


def test_done_without_a_reason_is_a_stop() -> None:
    assert events(chunk({"content": "a"}), b"[DONE]") == [TextDelta("a"), Finished("stop")]


def test_an_end_without_a_reason_is_a_broken_stream() -> None:
    with pytest.raises(StreamBroken):
        events(chunk({"content": "a"}), end=True)


def test_an_empty_message_says_nothing() -> None:
    assert events(b"", chunk({}, "stop"), b"", end=True) == [Finished("stop")]


def test_a_whole_completion_is_understood() -> None:
    message = {"role": "assistant", "content": "Hi", "reasoning": "Hm", "refusal": None}
    body = dumps(
        {"object": "chat.completion", "choices": [{"message": message, "finish_reason": "length"}], "usage": USAGE}
    )
    assert events(body, end=True) == [ReasoningDelta("Hm"), TextDelta("Hi"), Finished("length", Usage(5, 2))]


NONSENSE = {
    "half": b"{",
    "words": b"nonsense",
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "a text": b'"text"',
    "no UTF-8": b"\xff",
    "no choices": b'{"choices": 3}',
    "choices by key": b'{"choices": {"0": 1}}',
    "no choice": b'{"choices": [3]}',
    "no delta": b'{"choices": [{"delta": 3}]}',
    "no content": b'{"choices": [{"delta": {"content": 3}}]}',
    "content in parts": b'{"choices": [{"delta": {"content": [1]}}]}',
    "no reasoning": b'{"choices": [{"delta": {"reasoning": {}}}]}',
    "half a surrogate": b'{"choices": [{"delta": {"content": "\\ud83d"}}]}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"x":' * 100_000,
    "deep usage": b'{"usage":' + b"[" * 100_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_a_violation_that_does_not_quote_it(nonsense: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        events(nonsense)
    assert "nonsense" not in str(caught.value)


FIELDS = ["choices", "delta", "message", "content", "usage", "error", "finish_reason", "code", "param", "type"]
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(values.map(dumps), st.binary(max_size=40)), st.sampled_from([None, 200, 400, 404, 418, 429, 500]))
def test_whatever_comes_is_events_or_an_error_of_ours(data: bytes, status: int | None) -> None:
    assert isinstance(classify(status, {"retry-after": data.decode("latin-1")}, data), BackendError)
    with suppress(BackendError):
        assert all(type(event).__module__ == "backends.events" for event in events(data, end=True))


# What errors mean.


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {}, AuthenticationFailed),
        (403, {}, AuthenticationFailed),
        (402, {"message": "Insufficient credits"}, QuotaExhausted),
        (404, {"code": "model_not_found"}, ModelNotFound),
        (404, {"message": "The model `x` does not exist.", "type": "NotFoundError"}, ModelNotFound),
        (404, 'model "x" not found, try pulling it first', ModelNotFound),
        (400, {"code": "model_not_found"}, ModelNotFound),
        (400, {"param": "model"}, ModelNotFound),
        (404, {"message": "Not Found"}, ProtocolViolation),
        (405, {}, ProtocolViolation),
        (201, {}, ProtocolViolation),
        (400, {"message": "no"}, InvalidRequest),
        (422, {"message": "no"}, InvalidRequest),
        (413, {}, ContextLengthExceeded),
        (429, {}, RateLimited),
        (429, {"code": "insufficient_quota"}, QuotaExhausted),
        (500, {}, ServerFailed),
        (502, {}, ServerFailed),
        (501, {"type": "not_supported_error"}, ServerFailed),
        (503, {}, Overloaded),
        (529, {}, Overloaded),
        (503, {"code": 503, "message": "Loading model", "type": "unavailable_error"}, NotReady),
        (500, "llama runner: model failed to load, this may be due to resource limitations", ModelLoadFailed),
        (500, {"code": 500, "message": "could not load model: rpc error"}, ModelLoadFailed),
        (400, {"message": "could not load model"}, InvalidRequest),
        (403, {"type": "model_disabled"}, ModelNotFound),
        (None, {"code": 429}, RateLimited),
        (None, {"code": "rate_limit_exceeded"}, RateLimited),
        (None, {"type": "overloaded_error"}, Overloaded),
        (None, {"code": 500, "type": "server_error"}, ServerFailed),
        (None, {"message": "out of memory"}, ServerFailed),
        (None, {"type": "invalid_request_error"}, InvalidRequest),
        (None, {"code": 400, "type": "BadRequestError"}, InvalidRequest),
        (None, {"code": "model_not_found"}, ModelNotFound),
        (None, {"code": "context_length_exceeded"}, ContextLengthExceeded),
        (None, "something", ServerFailed),
    ],
)
def test_an_error_is_known_by_status_and_content(status: int | None, error: Any, kind: type[BackendError]) -> None:
    assert type(classify(status, {}, dumps({"error": error}), model="x")) is kind
    assert type(classify(status, {}, dumps([{"error": error}]), model="x")) is kind  # as Gemini's endpoint wraps it
    if status is None:
        with pytest.raises(kind):
            events(dumps({"error": error}))


MAXIMUM = "This model's maximum context length is "


@pytest.mark.parametrize(
    ("error", "prompt", "context"),
    [
        ({"type": "exceed_context_size_error", "n_prompt_tokens": 3031, "n_ctx": 2048}, 3031, 2048),
        ({"message": MAXIMUM + "2048 tokens. Your prompt contains at least 2049 input tokens."}, 2049, 2048),
        ({"message": MAXIMUM + "8192 tokens. However, you requested 9000 tokens."}, 9000, 8192),
        ({"message": MAXIMUM + "8192 tokens. However, your messages resulted in 9001 tokens."}, 9001, 8192),
        ({"message": "request (9739 tokens) exceeds the available context size (8192 tokens)"}, 9739, 8192),
        ({"message": "input (9739 tokens) is larger than the max context size (8192 tokens). skipping"}, 9739, 8192),
        ({"code": "context_length_exceeded", "message": "too long"}, None, None),
        ({"type": "exceed_context_size_error", "n_prompt_tokens": "many", "n_ctx": -1}, None, None),
    ],
)  # fmt: skip
def test_a_prompt_that_is_too_long(error: dict[str, Any], prompt: int | None, context: int | None) -> None:
    found = classify(400, {}, dumps({"error": {"code": 400} | error}))
    assert isinstance(found, ContextLengthExceeded)
    assert (found.prompt_tokens, found.context) == (prompt, context)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:30 GMT"}, 30),
        ({"retry-after": "Sat, 21 Nov 2026 08:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "9" * 400}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_back(headers: dict[str, str], seconds: float | None, status: int) -> None:
    found = classify(status, headers, b"", now=1795251600.0)  # 2026-11-21 09:00:00 UTC
    assert isinstance(found, RateLimited | Overloaded)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("temperature", "temperature"),
        ("body.stop", "stop"),
        ("messages[0].content", "messages"),
        ("stream_options", None),
        ("secret", None),
        (None, None),
        (["top_p"], None),
    ],
)
def test_the_field_that_was_refused_in_our_words(theirs: Any, ours: str | None) -> None:
    found = classify(400, {}, dumps({"error": {"message": "no", "param": theirs}}))
    assert isinstance(found, InvalidRequest)
    assert found.param == ours


@pytest.mark.parametrize("status", [None, 400, 401, 404, 413, 418, 429, 500, 503])
def test_the_servers_words_stay_out_of_our_errors(status: int | None) -> None:
    words = dict.fromkeys(("message", "type", "code", "param"), "sk-secret prompt")
    for body in (dumps({"error": words}), dumps({"error": "sk-secret prompt"}), b"sk-secret prompt"):
        found = classify(status, {"retry-after": "sk-secret"}, body, model="m")
        assert "secret" not in str(found) + repr(found)


def test_an_error_ends_a_stream_that_had_begun() -> None:
    decoder = Decoder("m")
    assert decoder.feed(chunk({"content": "a"})) == [TextDelta("a")]
    with pytest.raises(ServerFailed):
        decoder.feed(dumps({"object": "error", "message": "engine died"}))
