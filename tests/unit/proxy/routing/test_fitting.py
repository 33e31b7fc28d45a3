"""A candidate that is known not to have what a request needs is passed by; what nobody knows is tried."""

from typing import Any

import pytest

from backends.base import Model
from backends.capabilities import CAPABILITIES, WORDS, Capabilities, Capability
from backends.errors import UnsupportedFeature
from backends.fake import FakeBackend
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    JsonFormat,
    Message,
    Prompt,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from proxy.asked import within
from proxy.routing.constraints import fitting
from proxy.runtime import Candidate

HI = (said("user", "Hi."),)
SEEN = (Message("user", (Text("Look."), Image("image/png", "AAAA"))),)
NEEDS: dict[Capability, Any] = {
    "tools": Request("m", HI, tools=(Tool("look"),)),
    "images": Request("m", SEEN),
    "audio": Request("m", (Message("user", (Audio("wav", "AAAA"),)),)),
    "files": Request("m", (Message("user", (File("a.pdf", "application/pdf", "AAAA"),)),)),
    "json_schema": Request("m", HI, format=JsonFormat({"type": "object"})),
    "logprobs": Request("m", HI, top_logprobs=0),
    "completions": Request("m", prompt=Prompt("Once")),
    "embeddings": EmbeddingRequest("m", ("a",)),
}
NONE = Capabilities(**dict.fromkeys(CAPABILITIES, False))
ALL = Capabilities(**dict.fromkeys(CAPABILITIES, True))


def candidate(name: str, able: Capabilities = NONE, extras: frozenset[str] = frozenset()) -> Candidate:
    backend = FakeBackend(name)
    backend.extras = extras
    return Candidate(backend, "m", Model("m", None, able))


@pytest.mark.parametrize("need", NEEDS)
def test_who_cannot_is_passed_by_with_a_reason_and_the_others_keep_their_order(need: Capability) -> None:
    rows = [candidate("unknown", Capabilities()), candidate("blind"), candidate("able", ALL)]
    fit, passed = fitting(rows, NEEDS[need])
    assert [each.backend.name for each in fit] == ["unknown", "able"]
    [shown] = [each.shown() for each in passed]
    assert shown == {"model": "m", "backend": "blind", "reason": f"does not support {WORDS[need][0]}"}


@pytest.mark.parametrize("need", NEEDS)
def test_when_nobody_is_left_the_feature_and_its_field_are_named(need: Capability) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        fitting([candidate("a"), candidate("b")], NEEDS[need])
    assert (refused.value.feature, refused.value.param) == WORDS[need]


def test_only_what_changes_the_answer_is_needed() -> None:
    request = Request("m", HI, tools=(Tool("look"),), tool_choice="none", format=JsonFormat(), reasoning_effort="low")
    assert len(fitting([candidate("a")], request)[0]) == 1


def test_what_was_called_before_needs_tools_and_eyes_again() -> None:
    turns = (
        Message("assistant", (ToolCall("c", "look", "{}"),)),
        Message("user", (ToolResult("c", (Image("image/png", "AAAA"),)),)),
    )
    with pytest.raises(UnsupportedFeature, match="tools"):
        fitting([candidate("a", Capabilities(tools=False))], Request("m", turns))
    with pytest.raises(UnsupportedFeature, match="images"):
        fitting([candidate("a", Capabilities(images=False))], Request("m", turns))


def test_an_extra_that_shapes_the_answer_needs_a_backend_that_has_it() -> None:
    rows = [candidate("plain", ALL), candidate("guided", ALL, frozenset({"guided_regex"}))]
    fit, [passed] = fitting(rows, Request("m", HI, extras={"guided_regex": "[ab]", "priority": 1}))
    assert [each.backend.name for each in fit] == ["guided"]
    assert (passed.candidate.backend.name, passed.param) == ("plain", "guided_regex")
    with pytest.raises(UnsupportedFeature, match="guided_regex"):
        fitting(rows[:1], Request("m", HI, extras={"guided_regex": "[ab]"}))


@pytest.mark.parametrize(("asked", "most", "sent"), [(500, 100, 100), (50, 100, 50), (500, None, 500)])
def test_an_answer_is_no_longer_than_the_model_can_give(asked: int, most: int | None, sent: int) -> None:
    assert within(Request("m", HI, asked), Model("m", max_output=most)).max_output_tokens == sent
