"""JSON goes in and comes out unchanged, and never deeper than allowed."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.json import MAX_DEPTH, JsonError, containers_outside_strings, deeper_than, dumps, loads

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
NOT_JSON = [
    "",
    " ",
    "{",
    "nul",
    "{'a': 1}",
    "[1,]",
    '{"a": NaN}',
    "Infinity",
    '"\ud800"',
    b"\xff\xfe",
    b'"\xc3"',
    "1 2",
]


def depth(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


@given(VALUES)
def test_what_goes_out_comes_back(value: object) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(value).decode()) == value
    assert json.loads(dumps(value)) == value  # and any other reader agrees


@given(VALUES, st.integers(1, 6))
def test_the_limit_is_the_depth(value: object, limit: int) -> None:
    assert deeper_than(value, limit) == (depth(value) > limit)


@given(VALUES, st.integers(1, 6))
def test_deeper_values_are_refused_and_no_others(value: object, limit: int) -> None:
    if depth(value) > limit:
        with pytest.raises(JsonError, match=f"deeper than {limit} levels"):
            loads(dumps(value), limit)
    else:
        assert loads(dumps(value), limit) == value


@pytest.mark.parametrize("nest", ['{"a":', "["])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1_000, 100_000])
def test_a_bomb_is_an_error_and_not_a_crash(nest: str, levels: int) -> None:
    bomb = nest * levels + "1" + ("}" if ":" in nest else "]") * levels
    with pytest.raises(JsonError):
        loads(bomb)
    with pytest.raises(JsonError):
        loads(bomb.encode())


def test_brackets_inside_strings_do_not_count() -> None:
    assert loads('["' + "[{" * 1000 + '"]') == ["[{" * 1000]


@pytest.mark.parametrize("text", NOT_JSON)
def test_what_is_not_json_is_an_error(text: str | bytes) -> None:
    with pytest.raises(JsonError):
        loads(text)


def test_more_lists_and_objects_than_anybody_needs_are_refused_unless_they_are_text() -> None:
    with pytest.raises(JsonError, match="more than 50000"):
        loads("[" + "[]," * 60_000 + "0]")
    assert loads('["' + "[]" * 60_000 + '"]')


BRACKETED = st.recursive(
    st.text(alphabet='[]{}"\\,a'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='[{"\\'), inner, max_size=4),
)


def number_of_containers(value: object) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + sum(map(number_of_containers, value.values() if isinstance(value, dict) else value))


@given(BRACKETED, st.integers(1, 9))
def test_lists_and_objects_are_counted_and_never_those_in_text(value: object, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backends.json.PIECE", piece)
        assert containers_outside_strings(dumps(value)) == number_of_containers(value)


@pytest.mark.parametrize(
    "end", [b'"' + b'\\"' * 200_000, b"\\" * 200_000, b'"' * 200_000], ids=["escaped", "slashes", "quotes"]
)
def test_a_string_without_an_end_costs_no_more_than_its_length(end: bytes) -> None:
    before = time.process_time()
    with pytest.raises(JsonError):
        loads(b"[" * 50_001 + end)
    assert time.process_time() - before < 2  # it is 10 ms; what grows with the square takes minutes
