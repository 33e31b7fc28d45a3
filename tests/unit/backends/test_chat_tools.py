"""Chat completions: tool calls and log probabilities, in the many shapes in which servers send them."""

from typing import Any

import pytest

from backends.chat_decode import Decoder
from backends.errors import ProtocolViolation
from backends.events import Event, Finished, Logprob, TextDelta, ToolCallDelta, ToolCallStart
from backends.json import dumps

STOP = dumps({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})


def piece(index: int | None = None, id_: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    found: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return found | ({} if index is None else {"index": index}) | ({} if id_ is None else {"id": id_})


def told(*pieces: list[Any], end: bytes = STOP, key: str = "delta") -> list[Event]:
    decoder = Decoder("m")
    chunks = [dumps({"choices": [{key: {"tool_calls": each}}]}) for each in pieces]
    return [event for chunk in (*chunks, end, b"[DONE]") for event in decoder.feed(chunk)]


PARIS, ROME = '{"city":"Paris"}', '{"city":"Rome"}'
TWO = [
    ToolCallStart(0, "a", "weather"),
    ToolCallDelta(0, PARIS),
    ToolCallStart(1, "b", "clock"),
    ToolCallDelta(1, ROME),
    Finished("stop"),
]


FIRST, SECOND = piece(0, "a", "weather", PARIS), piece(1, "b", "clock", ROME)
WAYS = {
    "each in one chunk": [[FIRST], [SECOND]],
    "both in one chunk": [[FIRST, SECOND]],
    "the arguments apart": [
        [piece(0, "a", "weather", "")], [piece(0, arguments=PARIS)],
        [piece(1, "b", "clock")], [piece(1, arguments=ROME)],
    ],
    "the id first": [[piece(0, "a")], [piece(0, name="weather")], [piece(0, arguments=PARIS)], [SECOND]],
    "id and name again": [[piece(0, "a", "weather")], [FIRST], [SECOND]],
    "all of index 0": [[FIRST], [piece(0, "b", "clock", ROME)]],
    "odd indices": [[piece(4, "a", "weather", PARIS)], [piece(7, "b", "clock", ROME)]],
    "no index": [[piece(None, "a", "weather", PARIS), piece(None, "b", "clock", ROME)]],
    "objects": [[piece(0, "a", "weather", {"city": "Paris"}), piece(1, "b", "clock", {"city": "Rome"})]],
}  # fmt: skip


@pytest.mark.parametrize("pieces", WAYS.values(), ids=WAYS)
def test_two_calls(pieces: list[Any]) -> None:
    assert told(*pieces) == TWO


def test_a_whole_completion_that_was_not_streamed() -> None:
    assert told([piece(None, "a", "weather", PARIS), piece(None, "b", "clock", ROME)], key="message") == TWO


@pytest.mark.parametrize("index", [0, None])
def test_ids_that_are_missing_are_made(index: int | None) -> None:
    events = told([piece(index, "", "weather", PARIS)], [piece(index, None, "clock", ROME)])
    ids = [event.id for event in events if isinstance(event, ToolCallStart)]
    assert len(set(ids)) == 2
    assert all(ids)
    assert [event.index for event in events[:-1]] == [0, 0, 1, 1]


def test_pieces_of_arguments_stay_pieces() -> None:
    assert told([piece(0, "a", "weather")], [piece(0, arguments='{"ci')], [piece(0, arguments='ty":1}')])[1:3] == [
        ToolCallDelta(0, '{"ci'),
        ToolCallDelta(0, 'ty":1}'),
    ]


def test_a_call_without_arguments_gets_empty_ones() -> None:
    assert told([piece(0, "a", "clock", "")]) == [
        ToolCallStart(0, "a", "clock"),
        ToolCallDelta(0, "{}"),
        Finished("stop"),
    ]


def test_a_call_that_was_cut_off_gets_none() -> None:
    cut = dumps({"choices": [{"delta": {}, "finish_reason": "length"}]})
    assert told([piece(0, "a", "clock", "")], end=cut) == [ToolCallStart(0, "a", "clock"), Finished("length")]


@pytest.mark.parametrize(
    "pieces",
    [
        [[piece(0, "a")]],
        [[piece(0, "a", None, "{}")]],
        [[{"index": "first"}]],
        [[piece(0, "a", "x", ["list"])]],
        ["no"],
    ],
)
def test_calls_that_make_no_sense(pieces: list[Any]) -> None:
    with pytest.raises(ProtocolViolation):
        told(*pieces)


def test_words_and_a_call_in_one_delta() -> None:
    decoder = Decoder()
    delta = {"content": "Wait.", "tool_calls": [piece(0, "a", "clock", "{}")]}
    assert decoder.feed(dumps({"choices": [{"delta": delta}]})) == [
        TextDelta("Wait."),
        ToolCallStart(0, "a", "clock"),
        ToolCallDelta(0, "{}"),
    ]


# Log probabilities.

CHAT = {"content": [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [
    {"token": "Hi", "logprob": -0.5}, {"token": "Yo", "logprob": -1.5}]}]}  # fmt: skip
RAW = {"tokens": ["Hi"], "token_logprobs": [-0.5], "top_logprobs": [{"Yo": -1.5, "Hi": -0.5}], "text_offset": [0]}


@pytest.mark.parametrize("choice", [{"delta": {"content": "Hi"}}, {"text": "Hi"}, {"message": {"content": "Hi"}}])
@pytest.mark.parametrize("logprobs", [CHAT, RAW], ids=["chat", "raw"])
@pytest.mark.parametrize(("asked", "top"), [(0, ()), (1, (("Hi", -0.5),)), (5, (("Hi", -0.5), ("Yo", -1.5)))])
def test_log_probabilities(choice: dict[str, Any], logprobs: Any, asked: int, top: Any) -> None:
    data = dumps({"choices": [choice | {"logprobs": logprobs}]})
    assert Decoder("m", asked).feed(data) == [TextDelta("Hi", (Logprob("Hi", -0.5, top),))]
    assert Decoder("m").feed(data) == [TextDelta("Hi")]


def test_those_of_half_a_character_come_with_its_other_half() -> None:
    decoder = Decoder("m", 0)
    halves = [{"content": [{"token": token, "logprob": -1.0}]} for token in ("\\xc3", "\\xbc")]
    assert decoder.feed(dumps({"choices": [{"delta": {"content": ""}, "logprobs": halves[0]}]})) == []
    assert decoder.feed(dumps({"choices": [{"delta": {"content": "ü"}, "logprobs": halves[1]}]})) == [
        TextDelta("ü", (Logprob("\\xc3", -1.0), Logprob("\\xbc", -1.0)))
    ]


CERTAIN = {"content": [{"token": "Hi", "logprob": None, "top_logprobs": [
    {"token": "Hi", "logprob": None}, {"token": "Yo", "logprob": -1.5}, {"token": "Ho", "logprob": -2}]}]}  # fmt: skip
RAW_CERTAIN = {"tokens": ["Hi"], "token_logprobs": [None], "top_logprobs": [{"Hi": None, "Yo": -1.5, "Ho": -2.5}]}


@pytest.mark.parametrize("logprobs", [CERTAIN, RAW_CERTAIN], ids=["chat", "raw"])
def test_a_null_stands_for_a_token_that_could_hardly_be(logprobs: Any) -> None:
    data = dumps({"choices": [{"text": "Hi", "logprobs": logprobs}]})
    assert Decoder("m", 1).feed(data) == [TextDelta("Hi", (Logprob("Hi", -9999.0, (("Yo", -1.5),)),))]


@pytest.mark.parametrize("logprobs", [[], "many", {"content": "x"}, {"content": [{"token": 1}]}, {"tokens": ["a"]}, {}])
def test_those_that_make_no_sense_are_left_out(logprobs: Any) -> None:
    data = dumps({"choices": [{"delta": {"content": "Hi"}, "logprobs": logprobs}]})
    assert Decoder("m", 1).feed(data) == [TextDelta("Hi")]


# Raw completions.


def test_a_raw_completion() -> None:
    decoder = Decoder("m")
    chunks = [
        dumps({"object": "text_completion", "choices": [{"text": "Hi", "finish_reason": None}]}),
        dumps({"choices": [{"text": "", "finish_reason": "length"}]}),
        b"[DONE]",
    ]
    assert [event for chunk in chunks for event in decoder.feed(chunk)] == [TextDelta("Hi"), Finished("length")]
