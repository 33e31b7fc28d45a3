"""What a backend says, as the events of a response: their order, their members, and OpenAI's types."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from backends.events import (
    Citation,
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
from backends.json import loads
from backends.request import Request, said
from proxy.response_log import LogFull, ResponseLog
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_frames import Frames
from proxy.wire.responses_object import response_object
from proxy.wire.responses_request import parse_create
from tests.unit.proxy.wire.openai_types import check_event

DONE = Finished("stop", Usage(3, 2))
BODY: dict[str, Any] = {
    "model": "m",
    "input": "hi",
    "tools": [
        {"type": "function", "name": "look"},
        {"type": "custom", "name": "write"},
        {"type": "namespace", "name": "crew", "description": "", "tools": [{"type": "function", "name": "look"}]},
    ],
    "max_tool_calls": 1,
}


def composed(log: ResponseLog, **options: Any) -> Composer:
    numbers = count(1)
    create = parse_create(BODY)
    composer = Composer(
        log,
        response_object(create, create.request, "resp_1", 1_800_000_000),
        lambda prefix: f"{prefix}{next(numbers)}",
        custom_tools=create.custom_tools,
        namespaces=create.namespaces,
        **options,
    )
    composer.start()
    return composer


def events_of(log: ResponseLog) -> list[dict[str, Any]]:
    frames = Frames(log, None)
    events = [loads(frames.frame(entry)) for entry in log.read(0)]
    for event in events:
        check_event(event)
    return events


def events(said: Sequence[Event], **options: Any) -> list[dict[str, Any]]:
    log = ResponseLog(1 << 20)
    composed(log, **options).feed(said)
    return events_of(log)


def short(found: list[dict[str, Any]]) -> list[str]:
    """One line an event: its type, the place, and what it says."""
    lines = []
    for event in found:
        text = next((event[key] for key in ("delta", "text", "refusal", "arguments", "input") if key in event), None)
        place = [event[key] for key in ("output_index", "content_index") if key in event]
        line = event["type"].removeprefix("response.")
        item = event.get("item", {}).get("id")
        lines.append(" ".join(map(str, [line, *place, *([item] if item else []), *([text] if text else [])])))
    return lines


BEGIN = ["created", "in_progress"]
MESSAGE = ["output_item.added 0 msg1", "content_part.added 0 0"]


def test_text() -> None:
    found = events([TextDelta("Hel"), TextDelta("lo"), DONE])
    assert short(found) == [
        *BEGIN, *MESSAGE,
        "output_text.delta 0 0 Hello", "output_text.done 0 0 Hello", "content_part.done 0 0",
        "output_item.done 0 msg1", "completed",
    ]  # fmt: skip
    assert found[-1]["response"]["usage"]["total_tokens"] == 5


def test_reasoning_then_refusal() -> None:
    assert short(events([ReasoningDelta("Hm."), RefusalDelta("No."), DONE])) == [
        *BEGIN,
        "output_item.added 0 rs1", "reasoning_text.delta 0 0 Hm.", "reasoning_text.done 0 0 Hm.",
        "output_item.done 0 rs1",
        "output_item.added 1 msg2", "content_part.added 1 0", "refusal.delta 1 0 No.", "refusal.done 1 0 No.",
        "content_part.done 1 0", "output_item.done 1 msg2",
        "completed",
    ]  # fmt: skip


def test_a_signature_ends_the_reasoning_before_it_or_is_an_item_of_its_own() -> None:
    said = [ReasoningDelta("Hm."), Signature("anthropic", "YQ=="), ReasoningDelta("So."), Signature("gemini", "b")]
    found = events([*said, Signature("gemini", "c"), ToolCallStart(0, "c", "look"), DONE])
    assert short(found) == [
        *BEGIN,
        "output_item.added 0 rs1", "reasoning_text.delta 0 0 Hm.", "reasoning_text.done 0 0 Hm.",
        "output_item.done 0 rs1",
        "output_item.added 1 rs2", "reasoning_text.delta 1 0 So.", "reasoning_text.done 1 0 So.",
        "output_item.done 1 rs2",
        "output_item.added 2 rs3", "output_item.done 2 rs3",
        "output_item.added 3 fc4", "function_call_arguments.done 3", "output_item.done 3 fc4",
        "completed",
    ]  # fmt: skip
    sealed = [item.get("encrypted_content") for item in found[-1]["response"]["output"]]
    assert sealed == ["sl1.anthropic.YQ==", "sl1.gemini.b", "sl1.gemini.c", None]


def test_what_a_provider_wants_back_counts_against_the_bound_of_the_log() -> None:
    log = ResponseLog(100_000)
    with pytest.raises(LogFull):
        composed(log).feed([each for _ in range(200) for each in (Signature("openai", "x" * 1000), TextDelta("a"))])


def test_citations_are_annotations_of_the_text_that_is_open() -> None:
    page = Citation(0, 4, "so it is", "https://a.example/", "A page")
    found = events(
        [TextDelta("Rain"), page, ReasoningDelta("Hm."), TextDelta("or sun"), Citation(7, 10, "", "d1"), DONE]
    )
    added = [event for event in found if event["type"] == "response.output_text.annotation.added"]
    first, second = (event["annotation"] for event in added)
    assert first == {
        "type": "url_citation", "url": "https://a.example/", "title": "A page", "start_index": 0, "end_index": 4,
        "sl_text": "so it is",
    }  # fmt: skip
    assert second == {"type": "file_citation", "file_id": "d1", "filename": "d1", "index": 3, "sl_end_index": 6}
    rain, _, sun = found[-1]["response"]["output"]
    assert [rain["content"][0]["annotations"], sun["content"][0]["annotations"]] == [[first], [second]]


def test_a_tool_call_after_text() -> None:
    found = events(
        [TextDelta("I look."), ToolCallStart(0, "c", "look"), ToolCallDelta(0, '{"a"'), ToolCallDelta(0, ":1}"), DONE]
    )
    assert short(found) == [
        *BEGIN, *MESSAGE,
        "output_text.delta 0 0 I look.", "output_text.done 0 0 I look.", "content_part.done 0 0",
        "output_item.done 0 msg1",
        "output_item.added 1 fc2", 'function_call_arguments.delta 1 {"a":1}', 'function_call_arguments.done 1 {"a":1}',
        "output_item.done 1 fc2",
        "completed",
    ]  # fmt: skip
    assert found[-1]["response"]["output"][1] == {
        "id": "fc2", "type": "function_call", "call_id": "c", "name": "look", "arguments": '{"a":1}',
        "status": "completed",
    }  # fmt: skip


def test_calls_that_are_written_in_turns_keep_their_arguments() -> None:
    said: list[Event] = [ToolCallStart(0, "a", "look"), ToolCallStart(1, "b", "write")]
    for zero, one in zip('{"x":"first"}', '{"input":"#2"', strict=False):
        said += [ToolCallDelta(0, zero), ToolCallDelta(1, one)]
    found = events([*said, TextDelta("So."), ToolCallDelta(1, "}"), ToolCallDelta(0, " "), DONE])
    first, second, text = found[-1]["response"]["output"]
    assert (first["arguments"], second["input"]) == ('{"x":"first"} ', "#2")
    assert text["content"][0]["text"] == "So."
    for item, member in ((first, "arguments"), (second, "input")):
        assert "".join(e["delta"] for e in found if e.get("item_id") == item["id"] and "delta" in e) == item[member]
    done = {e["output_index"]: e["item"] for e in found if e["type"] == "response.output_item.done"}
    assert [done[index] for index in range(3)] == found[-1]["response"]["output"]


def test_a_custom_tool_is_given_text() -> None:
    said = [ToolCallStart(0, "c", "write"), *(ToolCallDelta(0, piece) for piece in ('{"input": "a\\', "nb", '"}'))]
    assert short(events([*said, DONE])) == [
        *BEGIN,
        "output_item.added 0 ctc1", "custom_tool_call_input.delta 0 a\nb", "custom_tool_call_input.done 0 a\nb",
        "output_item.done 0 ctc1",
        "completed",
    ]  # fmt: skip


def test_log_probabilities_are_in_each_delta_and_in_the_whole() -> None:
    first, second = Logprob("He", -0.1, (("He", -0.1), ("Ho", -2.0))), Logprob("y", -0.2)
    found = events([TextDelta("He", (first,)), TextDelta("y", (second,)), TextDelta("!"), DONE])
    deltas = [e for e in found if e["type"] == "response.output_text.delta"]
    assert [(e["delta"], [each["token"] for each in e["logprobs"]]) for e in deltas] == [
        ("He", ["He"]), ("y", ["y"]), ("!", []),
    ]  # fmt: skip
    part = found[-1]["response"]["output"][0]["content"][0]
    assert part["text"] == "Hey!"
    assert part["logprobs"] == [each for e in deltas for each in e["logprobs"]]
    assert part["logprobs"][0]["top_logprobs"][1] == {"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}


def test_log_probabilities_count_against_the_bound_of_the_log() -> None:
    log = ResponseLog(20_000)
    composer = composed(log)
    likely = TextDelta("a", (Logprob("a", -0.1, (("b", -1.0),) * 9),))
    with pytest.raises(LogFull):
        composer.feed([likely] * 100)
    composer.stop("max_output_tokens")
    assert events_of(log)[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


@pytest.mark.parametrize(
    "said",
    [
        [each for _ in range(1000) for each in (TextDelta("a"), ReasoningDelta("b"))],
        [ToolCallStart(n, f"c{n}", "look") for n in range(1000)],
    ],
)
def test_what_is_opened_again_and_again_counts_against_the_bound_of_the_log(said: list[Any]) -> None:
    log = ResponseLog(100_000)
    composer = composed(log)
    with pytest.raises(LogFull):
        composer.feed(said)
    composer.stop("max_output_tokens")
    found = events_of(log)
    assert found[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert log.weight < 400_000
    added, done = (sum(e["type"] == f"response.output_item.{word}" for e in found) for word in ("added", "done"))
    assert added == done == len(found[-1]["response"]["output"])


def test_a_call_of_a_tool_in_a_namespace_names_both() -> None:
    found = events([ToolCallStart(0, "c0", "crew__look"), ToolCallStart(1, "c1", "look"), DONE])
    called = [(item["name"], item.get("namespace")) for item in found[-1]["response"]["output"]]
    assert called == [("look", "crew"), ("look", None)]


def test_the_bound_on_hosted_tools_leaves_calls_of_functions_alone() -> None:
    said = [each for n in range(3) for each in (ToolCallStart(n, f"c{n}", "look"), ToolCallDelta(n, "{}"))]
    found = events([*said, DONE])
    assert found[-1]["response"]["max_tool_calls"] == 1
    assert [item["call_id"] for item in found[-1]["response"]["output"]] == ["c0", "c1", "c2"]


def test_tokens_that_nobody_counted_are_estimated_and_marked() -> None:
    request = Request("m", (said("user", "x" * 40),))
    counted = [ReasoningDelta("Hm"), ReasoningDelta("."), TextDelta("Yes")]
    usage = events([*counted, Finished("stop")], request=request)[-1]["response"]["usage"]
    assert usage == {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 13, "sl_estimated": True,
    }  # fmt: skip


@pytest.mark.parametrize("end", ["cancelled", "failed"])
def test_an_answer_that_was_cut_keeps_what_was_said(end: str) -> None:
    log = ResponseLog(1 << 20)
    composer = composed(log, request=Request("m", (said("user", "four"),)))
    composer.feed([TextDelta("Half"), ToolCallStart(0, "c", "look"), ToolCallDelta(0, '{"a":')])
    for _ in range(2):  # the second says nothing: an answer ends once
        composer.stop("cancelled", "cancelled") if end == "cancelled" else composer.fail("backend_failed", "It broke.")
    composer.feed([TextDelta("late"), DONE])
    found = events_of(log)
    response = found[-1]["response"]
    assert [e["type"] for e in found if e["type"].split(".")[1] in ("completed", "incomplete", "failed")] == [
        "response.incomplete" if end == "cancelled" else "response.failed"
    ]
    assert [(item["type"], item["status"]) for item in response["output"]] == [
        ("message", "completed"), ("function_call", "incomplete"),
    ]  # fmt: skip
    assert response["usage"]["sl_estimated"]
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (1, 2)


def test_a_failure_before_the_first_word_estimates_nothing() -> None:
    log = ResponseLog(1 << 20)
    composed(log, request=Request("m", (said("user", "four"),))).fail("backend_failed", "It broke.")
    assert events_of(log)[-1]["response"]["usage"] is None


def test_without_generating_there_is_no_item() -> None:
    log = ResponseLog(1 << 20)
    composed(log).say_nothing()
    found = events_of(log)
    assert short(found) == [*BEGIN, "completed"]
    assert found[-1]["response"]["output"] == []
    assert found[-1]["response"]["usage"]["total_tokens"] == 0


def test_what_has_no_utf8_is_replaced() -> None:
    likely = TextDelta("\ud83d", (Logprob("\ud83d", -1.0),))
    found = events([likely, ToolCallStart(0, "c\udc00", "look"), ToolCallDelta(0, "\ud83d"), DONE])
    assert [item.get("arguments") for item in found[-1]["response"]["output"]] == [None, "?"]
