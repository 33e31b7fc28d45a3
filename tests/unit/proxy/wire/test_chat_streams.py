"""Whatever a model says and however its log is read, a stream says the same as the whole answer, and ends once."""

from itertools import count
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from backends.events import (
    Citation,
    Event,
    Finished,
    FinishReason,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import loads
from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.chat_chunks import ChatStream, chat_completion
from proxy.wire.completions_chunks import CompletionStream, completion
from proxy.wire.messages_events import MessageStream, message
from proxy.wire.responses_composer import Composer

Json = dict[str, Any]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
TOKEN = st.builds(Logprob, TEXT, st.floats(-9, 0), st.tuples(st.tuples(TEXT, st.floats(-9, 0))))
SAID = st.one_of(
    st.builds(TextDelta, TEXT),
    st.builds(TextDelta, TEXT, st.tuples(TOKEN)),
    st.builds(ReasoningDelta, TEXT),
    st.builds(RefusalDelta, TEXT),
    st.builds(ToolCallStart, st.integers(0, 3), st.sampled_from(["call_a", "call_b"]), st.sampled_from(["f", "note"])),
    st.builds(ToolCallDelta, st.integers(0, 3), st.sampled_from(['{"input":', '"x"', "}", "{}", "1"])),
    st.builds(Signature, st.sampled_from(["anthropic", "gemini"]), TEXT),
    st.builds(Citation, st.integers(0, 4), st.integers(4, 9), TEXT, st.sampled_from(["https://a.example/", "doc"])),
)
ANTHROPIC_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
FINISHED = st.builds(Finished, st.sampled_from(["stop", "length", "content_filter"]), st.just(Usage(7, 3, 2, 1)))
ANSWERS = st.tuples(st.lists(SAID, max_size=12), FINISHED).map(lambda both: [*both[0], both[1]])
CUTS = st.frozensets(st.integers(0, 12))


def spoken(
    events: list[Event], cuts: frozenset[int] = frozenset(), custom_tools: frozenset[str] = frozenset()
) -> tuple[ResponseLog, list[list[Entry]]]:
    """The log of a response in which the model says `events`, and what a reader gets that comes after those of `cuts`
    and at the end.
    """
    numbers = count()
    log = ResponseLog(1 << 20)
    members = {"id": "resp_1", "model": "m", "created_at": 5}
    composer = Composer(log, members, lambda prefix: f"{prefix}_{next(numbers)}", custom_tools=custom_tools)
    composer.start()
    pieces, position = [], 0
    for number, event in enumerate(events):
        composer.feed([event])
        if number in cuts or number == len(events) - 1:
            pieces.append(log.read(position))
            position = log.head
    return log, pieces


def log_of(events: list[Event]) -> ResponseLog:
    """The log alone."""
    return spoken(events)[0]


def response_of(log: ResponseLog) -> Json:
    """The response as its terminal event has it."""
    last = log.read(log.head - 1)[0][2]
    assert isinstance(last, Mark)
    response: Json = last.fields["response"]  # type: ignore[assignment]
    return response


def sent(raw: bytes) -> list[Any]:
    """The data of server-sent messages."""
    lines = [line for line in raw.decode().split("\n") if line.startswith("data: ")]
    return [line if line == "data: [DONE]" else loads(line.removeprefix("data: ")) for line in lines]


def chat_message(chunks: list[Json]) -> Json:
    """The message that the deltas of one choice make, by OpenAI's rules."""
    made: Json = {"content": None, "refusal": None, "reasoning_content": None, "tool_calls": {}, "logprobs": []}
    made |= {"reasoning_details": [], "annotations": []}
    for chunk in chunks:
        delta = chunk["delta"]
        for name in ("content", "refusal", "reasoning_content"):
            if delta.get(name):
                made[name] = (made[name] or "") + delta[name]
        for name in ("reasoning_details", "annotations"):
            made[name] += delta.get(name, ())
        for each in delta.get("tool_calls", ()):
            call = made["tool_calls"].setdefault(each["index"], {"text": ""})
            body = each.get("function") or each["custom"]
            call["text"] += body.get("arguments", body.get("input"))
            for member in ("id", "type"):
                call.setdefault(member, each.get(member))
            call.setdefault("name", body.get("name"))
        if chunk["logprobs"]:
            made["logprobs"] += chunk["logprobs"]["content"]
    return made


@given(events=ANSWERS, cuts=CUTS)
def test_chunks_make_the_whole_chat_completion(events: list[Event], cuts: frozenset[int]) -> None:
    log, pieces = spoken(events, cuts, frozenset({"note"}))
    stream = ChatStream(response_of(log), [log], include_usage=True)
    chunks = sent(b"".join([stream.frames(0, piece) for piece in pieces]) + stream.end())
    whole = chat_completion([response_of(log)])
    [choice] = whole["choices"]

    assert chunks.pop() == "data: [DONE]"
    assert chunks[-1]["choices"] == []
    assert chunks.pop()["usage"] == whole["usage"]
    assert {chunk["id"] for chunk in chunks} == {whole["id"]}
    said = [chunk["choices"][0] for chunk in chunks]
    assert said[0]["delta"]["role"] == "assistant"
    assert [each["finish_reason"] for each in said] == [None] * (len(said) - 1) + [choice["finish_reason"]]

    made, message_ = chat_message(said), choice["message"]
    for name in ("content", "refusal", "reasoning_content"):
        assert made[name] == (message_.get(name) or None)
    for name in ("reasoning_details", "annotations"):
        assert made[name] == message_.get(name, [])
    calls = [
        (call["id"], call["type"], body["name"], body.get("arguments", body.get("input")))
        for call in message_.get("tool_calls", ())
        for body in [call.get("function") or call["custom"]]
    ]
    assert [(one["id"], one["type"], one["name"], one["text"]) for one in made["tool_calls"].values()] == calls
    assert list(made["tool_calls"]) == list(range(len(calls)))
    assert made["logprobs"] == (choice["logprobs"] or {"content": []})["content"]


@given(events=ANSWERS, cuts=CUTS)
def test_chunks_make_the_whole_completion(events: list[Event], cuts: frozenset[int]) -> None:
    log, pieces = spoken(events, cuts)
    stream = CompletionStream(response_of(log), [log], include_usage=False)
    chunks = sent(b"".join([stream.frames(0, piece) for piece in pieces]) + stream.end())
    [choice] = completion([response_of(log)])["choices"]
    assert chunks.pop() == "data: [DONE]"
    said = [chunk["choices"][0] for chunk in chunks]
    assert "".join(each["text"] for each in said) == choice["text"]
    assert [each["finish_reason"] for each in said] == [None] * (len(said) - 1) + [choice["finish_reason"]]
    tokens = [token for each in said if each["logprobs"] for token in each["logprobs"]["tokens"]]
    assert tokens == (choice["logprobs"] or {"tokens": []})["tokens"]


@given(events=ANSWERS, cuts=CUTS)
def test_events_make_the_whole_message_block_by_block(events: list[Event], cuts: frozenset[int]) -> None:
    log, pieces = spoken(events, cuts)
    stream = MessageStream(response_of(log), log, "req_1")
    said = sent(b"".join([stream.frames(0, piece) for piece in pieces]) + stream.end())
    whole = message(response_of(log))

    assert (said[0]["type"], said[-2]["type"], said[-1]["type"]) == ("message_start", "message_delta", "message_stop")
    assert said[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert said[-2]["usage"] == whole["usage"]
    blocks: list[Json] = []
    texts: list[str] = []
    more: list[Json] = []  # what a block has besides its text
    is_open = False
    for each in said[1:-2]:
        if each["type"] == "content_block_start":
            assert not is_open, "a block starts when the one before it has stopped"
            assert each["index"] == len(blocks)
            blocks.append(each["content_block"])
            texts.append("")
            more.append({"citations": [], "signature": ""})
            is_open = True
        else:
            assert is_open
            assert each["index"] == len(blocks) - 1
            is_open = each["type"] != "content_block_stop"
            match each.get("delta", {"type": "stop"}):
                case {"type": "citations_delta", "citation": cited}:
                    more[-1]["citations"].append(cited)
                case {"type": "signature_delta", "signature": signature}:
                    more[-1]["signature"] += signature
                case delta:
                    texts[-1] += "".join(value for key, value in delta.items() if key != "type")
    assert not is_open
    assert [block["type"] for block in blocks] == [block["type"] for block in whole["content"]]
    for block, text, besides, expected in zip(blocks, texts, more, whole["content"], strict=True):
        assert besides["citations"] == expected.get("citations", [])
        assert besides["signature"] == expected.get("signature", "")
        if block["type"] == "tool_use":
            assert (block["id"], block["name"]) == (expected["id"], expected["name"])
        elif block["type"] == "redacted_thinking":
            assert block == expected
        else:
            assert text == expected[block["type"]]


@given(events=ANSWERS)
def test_all_that_is_said_has_the_types_of_the_sdks(events: list[Event]) -> None:
    log, [entries] = spoken(events)
    response = response_of(log)
    ChatCompletion.model_validate(chat_completion([response]), strict=True)
    Completion.model_validate(completion([response]), strict=True)
    Message.model_validate(message(response), strict=True)
    chat = ChatStream(response, [log], include_usage=True)
    for chunk in sent(chat.frames(0, entries) + chat.end())[:-1]:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    for event in sent(MessageStream(response, log, "req_1").frames(0, entries)):
        ANTHROPIC_EVENT.validate_python(event, strict=True)


def test_calls_that_are_written_in_turns_become_blocks_in_order() -> None:
    log = log_of(
        [
            ToolCallStart(0, "call_a", "f"),
            ToolCallDelta(0, '{"a":'),
            ToolCallStart(1, "call_b", "g"),
            ToolCallDelta(1, "{}"),
            ToolCallDelta(0, "1}"),
            Finished("stop"),
        ]
    )
    stream = MessageStream(response_of(log), log, "req_1")
    said = [(each["type"], each.get("index")) for each in sent(stream.frames(0, log.read(0)))]
    assert [number for kind, number in said if kind.startswith("content_block")] == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("reason", "calls", "chat", "anthropic"),
    [
        ("stop", False, "stop", "end_turn"),
        ("stop", True, "tool_calls", "tool_use"),
        ("length", True, "length", "max_tokens"),
        ("content_filter", False, "content_filter", "refusal"),
    ],
)
def test_each_api_has_its_word_for_the_end(reason: FinishReason, calls: bool, chat: str, anthropic: str) -> None:
    call: list[Event] = [ToolCallStart(0, "call_a", "f")] if calls else []
    response = response_of(log_of([TextDelta("hm"), *call, Finished(reason)]))
    assert chat_completion([response])["choices"][0]["finish_reason"] == chat
    assert message(response)["stop_reason"] == anthropic


def test_a_failure_in_the_middle_is_the_last_word_of_every_stream() -> None:
    log = ResponseLog(1 << 20)
    composer = Composer(log, {"id": "resp_1", "model": "m", "created_at": 5}, lambda prefix: f"{prefix}_1")
    composer.start()
    composer.feed([TextDelta("half an ans")])
    composer.fail("backend_stream_broken", "It broke.")
    response, entries = response_of(log), log.read(0)
    for stream in (
        ChatStream(response, [log, log], include_usage=True),
        CompletionStream(response, [log, log], include_usage=True),
    ):
        said = sent(stream.frames(0, entries) + stream.frames(1, entries) + stream.end())
        assert [chunk for chunk in said if "error" in chunk] == [said[-1]]
        assert said[-1]["error"]["code"] == "backend_stream_broken"
        assert said[-1]["error"]["type"] == "server_error"
    anthropic = MessageStream(response, log, "req_1")
    said = sent(anthropic.frames(0, entries) + anthropic.end())
    error = {"type": "error", "error": {"type": "api_error", "message": "It broke."}, "request_id": "req_1"}
    assert said[-1] == error
    assert [each["type"] for each in said].count("message_stop") == 0


def test_a_cancelled_answer_is_no_whole_one() -> None:
    log = ResponseLog(1 << 20)
    composer = Composer(log, {"id": "resp_1", "model": "m", "created_at": 5}, lambda prefix: f"{prefix}_1")
    composer.start()
    composer.stop("cancelled", status="cancelled")
    stream = ChatStream(response_of(log), [log], include_usage=False)
    said = sent(stream.frames(0, log.read(0)) + stream.end())
    assert said[-1]["error"]["code"] == "response_cancelled"


def test_usage_of_several_choices_is_summed_and_a_guess_is_marked() -> None:
    known, guessed = (response_of(log_of([TextDelta("a"), Finished("stop", usage)])) for usage in (Usage(7, 3), None))
    assert chat_completion([known, known])["usage"]["total_tokens"] == 20
    assert "sl_estimated" not in chat_completion([known])["usage"]
    assert chat_completion([known, guessed])["usage"]["sl_estimated"] is True
    assert message(guessed)["usage"]["sl_estimated"] is True
