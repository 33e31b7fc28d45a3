"""docs/compatibility.md says what each parameter does, and the parser does it."""

import re
from pathlib import Path
from typing import Any

import pytest

from proxy.create import Create
from proxy.errors import Unsupported
from proxy.session import CLIENT_EVENTS
from proxy.wire.responses_params import IGNORED, INCLUDES, KNOWN, LOGPROBS, REFUSED, SUPPORTED
from proxy.wire.responses_request import Body, parse_create

PAGE = (Path(__file__).parents[4] / "docs/compatibility.md").read_text(encoding="utf-8")
STATES = {"supported": SUPPORTED, "no effect": IGNORED, "refused": frozenset(REFUSED)}
SAMPLES: dict[str, Any] = {  # of the knobs whose values are looked at by no one
    "truncation": "auto",
    "context_management": [{"type": "compaction", "compact_threshold": 1000}],
    "stream_options": {"include_obfuscation": True},
    "service_tier": "flex",
    "prompt_cache_options": {"mode": "explicit"},
    "access_programs": {"cyber": "standard"},
    "image": {"context_compression": "auto"},
}
ENVELOPE = {"stream", "stream_id", "type"}  # read by the socket and by HTTP before the create is


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[tuple[list[str], str]]:
    """The names in a row's first column, and its second column."""
    found = re.findall(r"^\| (`[^|]+) \|([^|]*)\|", text, re.MULTILINE)
    return [(re.findall(r"`([^`]+)`", names), state.strip()) for names, state in found]


def parsed(**members: Any) -> Create:
    numbers = iter(range(100))
    return parse_create({"model": "m", "input": "hi", **members}, new_id=lambda prefix: f"{prefix}_{next(numbers)}")


def test_the_page_lists_each_parameter_where_it_belongs() -> None:
    table = section("Responses").split("### ", 1)[0]
    told = {name: state for names, state in rows(table) for name in names}
    assert told == {name: state for state, names in STATES.items() for name in names}


def test_each_parameter_is_in_one_table() -> None:
    assert sum(map(len, STATES.values())) == len(KNOWN)
    assert set(Body.__struct_fields__) == SUPPORTED - ENVELOPE


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_a_knob_has_no_effect(name: str) -> None:
    assert parsed(**{name: SAMPLES.get(name, "x")}) == parsed()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_feature_is_refused_by_name(name: str) -> None:
    with pytest.raises(Unsupported) as refused:
        parsed(**{name: {"id": "x"}})
    assert refused.value.param == name
    assert parsed(**{name: None}) == parsed()


@pytest.mark.parametrize("name", sorted(INCLUDES))
def test_what_may_be_included(name: str) -> None:
    assert (parsed(include=[name]).request != parsed().request) is (name == LOGPROBS)


def test_the_page_lists_each_client_event() -> None:
    told = {name for names, _ in rows(section("Responses").split("### Client events")[1]) for name in names}
    assert told == {*CLIENT_EVENTS, "response.inject", "streamlane:*"}
