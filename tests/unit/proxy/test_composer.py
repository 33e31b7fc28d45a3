"""Whatever a backend says, the events of a response are well formed and end exactly once."""

from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.events import Content, Finished, ReasoningDelta, RefusalDelta, TextDelta, Usage
from backends.json import loads
from proxy.response_log import ResponseLog
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_frames import Frames

CONTENT = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([TextDelta, ReasoningDelta, RefusalDelta]),
    st.text(min_size=1, max_size=5),
)
ENDS: dict[str, Callable[[Composer], object]] = {
    "completed": lambda composer: composer.feed([Finished("stop", Usage(1, 2))]),
    "incomplete": lambda composer: composer.feed([Finished("length")]),
    "cancelled": lambda composer: composer.stop("cancelled", status="cancelled"),
    "failed": lambda composer: composer.fail("backend_failed", "It failed."),
}


@pytest.mark.parametrize("end", ENDS)
@given(batches=st.lists(st.lists(CONTENT, max_size=4), max_size=6))
def test_events_are_well_formed_whatever_is_said_and_however_it_ends(end: str, batches: list[list[Content]]) -> None:
    numbers = count()
    log = ResponseLog(1 << 20)
    composer = Composer(log, {"id": "resp_1", "model": "m"}, lambda prefix: f"{prefix}_{next(numbers)}")
    composer.start()
    for batch in batches:
        composer.feed(batch)
    ENDS[end](composer)
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
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert response["output"] == done
    assert [event["output_index"] for event in events if event["type"] == "response.output_item.added"] == list(
        range(len(done))
    )

    whole = "".join(
        part.get("text", part.get("refusal")) for item in done for part in item["content"] if item["type"] == "message"
    )
    assert whole == "".join(each.text for batch in batches for each in batch if not isinstance(each, ReasoningDelta))
    deltas = "".join(event["delta"] for event in events if event["type"].endswith(".delta"))
    assert deltas == "".join(each.text for batch in batches for each in batch)
    assert all(part for item in done for part in item["content"])
    if end == "completed" and not any(batches):
        assert [item["type"] for item in done] == ["message"], "an empty answer is still a message"
