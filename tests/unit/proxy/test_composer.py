"""Whatever a backend says, the events of a response are well formed and end exactly once."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from proxy.response_log import LogFull, Mark, ResponseLog
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_frames import Frames

TEXT = st.text(min_size=1, max_size=5)
INDEX = st.integers(0, 3)
EVENTS = st.one_of(
    st.builds(TextDelta, TEXT),
    st.builds(lambda text: TextDelta(text, (Logprob(text, -1.0),)), TEXT),
    st.builds(ReasoningDelta, TEXT),
    st.builds(RefusalDelta, TEXT),
    st.builds(ToolCallStart, INDEX, st.just("c"), st.sampled_from(["look", "write"])),
    st.builds(Signature, st.just("gemini"), TEXT),
    st.builds(Citation, INDEX, INDEX, TEXT, TEXT),
    st.builds(ToolCallDelta, INDEX, TEXT | st.sampled_from(['{"input":"', '"}', "\\u"])),
)
ENDS: dict[str, Callable[[Composer], object]] = {
    "completed": lambda composer: composer.feed([Finished("stop", Usage(1, 2))]),
    "incomplete": lambda composer: composer.feed([Finished("length")]),
    "cancelled": lambda composer: composer.stop("cancelled", status="cancelled"),
    "failed": lambda composer: composer.fail("backend_failed", "It failed."),
}
WHOLE = ("text", "refusal", "arguments", "input")  # the member of a part, or of a call, that holds what deltas said


@pytest.mark.parametrize("end", ENDS)
@given(batches=st.lists(st.lists(EVENTS, max_size=4), max_size=6), after=st.sampled_from(sorted(ENDS)))
def test_events_are_well_formed_whatever_is_said_and_however_it_ends(
    end: str, batches: list[list[Event]], after: str
) -> None:
    numbers = count()
    log = ResponseLog(1 << 20)
    composer = Composer(
        log,
        {"id": "resp_1", "model": "m"},
        lambda prefix: f"{prefix}_{next(numbers)}",
        custom_tools=frozenset({"write"}),
    )
    composer.start()
    for batch in batches:
        composer.feed(batch)
    ENDS[end](composer)
    ENDS[after](composer)
    composer.feed([event for batch in batches for event in batch])
    frames = Frames(log, "lane")
    events = [loads(frames.frame(entry)) for entry in log.read(0)]

    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert all(event["stream_id"] == "lane" for event in events)
    terminal = [event for event in events if event["type"].split(".")[1] in ("completed", "incomplete", "failed")]
    assert terminal == [events[-1]]
    response = events[-1]["response"]
    assert response["status"] == end

    for kind in ("output_item", "content_part"):
        counts = Counter(event["type"] for event in events)
        assert counts[f"response.{kind}.added"] == counts[f"response.{kind}.done"]
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert response["output"] == [done[index] for index in range(len(done))]
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == list(range(len(done)))

    for item in response["output"]:
        for index, part in enumerate(item.get("content", [item])):
            [text] = [part[member] for member in WHOLE if member in part]
            deltas = "".join(
                event["delta"]
                for event in events
                if event.get("item_id") == item["id"] and event.get("content_index", 0) == index and "delta" in event
            )
            assert deltas == text
    heard = "".join(
        event["delta"]
        for event in events
        if event["type"].split(".")[1] in ("output_text", "refusal") and "delta" in event
    )
    assert heard == "".join(e.text for batch in batches for e in batch if isinstance(e, TextDelta | RefusalDelta))
    if end == "completed" and not any(batches):
        assert [item["type"] for item in response["output"]] == ["message"], "an empty answer is still a message"
    if batches and response["output"]:
        assert response["usage"] is not None


def test_a_count_of_no_tokens_beside_text_is_an_estimate_and_says_so() -> None:
    def usage(*events: Event) -> Any:
        log = ResponseLog(1_000_000)
        composer = Composer(log, {"id": "resp_1"}, lambda kind: kind)
        composer.feed(events)
        *_, (_, _, end) = log.read(0)
        assert isinstance(end, Mark)
        shown: Any = end.fields["response"]
        return shown["usage"]

    counted = usage(ReasoningDelta("Hm"), TextDelta("a"), TextDelta("b"), Finished("stop", Usage(7, 0, 3)))
    assert (counted["input_tokens"], counted["output_tokens"], counted["total_tokens"]) == (7, 3, 10)
    assert counted["output_tokens_details"]["reasoning_tokens"] == 1
    assert counted["sl_estimated"] is True
    assert "sl_estimated" not in usage(TextDelta("a"), Finished("stop", Usage(7, 1)))
    assert "sl_estimated" not in usage(Finished("stop", Usage(7, 0)))


@pytest.mark.parametrize(
    "event",
    [
        Citation(0, 1, "a" * 4096, "u"),
        TextDelta("a", (Logprob("a" * 4096, -1.0),)),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_stands_beside_a_text_counts_as_the_text_does(event: Event) -> None:
    log = ResponseLog(1 << 20)
    composer = Composer(log, {"id": "resp_1", "model": "m"}, lambda prefix: f"{prefix}_1")
    with pytest.raises(LogFull):
        composer.feed([TextDelta("a"), event] * 300)


def test_the_ids_of_calls_count_too() -> None:
    composer = Composer(ResponseLog(1 << 20), {"id": "resp_1", "model": "m"}, lambda prefix: f"{prefix}_1")
    with pytest.raises(LogFull):
        composer.feed([ToolCallStart(index, "c" * 65_536, "f") for index in range(20)])
