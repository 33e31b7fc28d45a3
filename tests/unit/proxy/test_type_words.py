"""What a person reads when a value has the wrong type: no name of Python's."""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from proxy.type_words import name_of, plain


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        ("x", int, "expected a whole number, got text"),
        (1.5, int, "expected a whole number, got a number"),
        (3, Annotated[float, Meta(le=2)], "expected a number <= 2"),
        (3, Annotated[float, Meta(le=2.5)], "expected a number <= 2.5"),
        (1, bool, "expected true or false, got a whole number"),
        (1, str | None, "expected text or null, got a whole number"),
        (1, list[str], "expected a list, got a whole number"),
        ([], dict[str, str], "expected an object, got a list"),
        ("a", Annotated[str, Meta(min_length=2)], "expected at least 2 characters"),
        ("abc", Annotated[str, Meta(max_length=1)], "expected at most 1 character"),
        ([], Annotated[list[str], Meta(min_length=1)], "expected at least 1 item"),
        ({"a": 1}, Annotated[dict[str, int], Meta(max_length=0)], "expected at most 0 members"),
    ],
)
def test_a_fault_in_plain_words(value: Any, kind: Any, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as fault:
        msgspec.convert(value, kind)
    assert plain(str(fault.value)) == said


def test_what_is_no_matter_of_types_stays_as_it_is() -> None:
    assert plain("Invalid enum value 'int'") == "invalid enum value 'int'"
    assert plain("Object contains unknown field `int`") == "object contains unknown field `int`"


def test_names_of_values() -> None:
    named = {"text": "x", "a whole number": 1, "a number": 1.5, "true or false": True, "a list": [], "null": None}
    assert all(name_of(value) == name for name, value in named.items())
    assert (name_of({}), name_of({}, "a table")) == ("an object", "a table")
