"""A JSON schema becomes a grammar of bounded length, or is refused."""

from typing import Any

import pytest

from backends.errors import InvalidRequest

pytestmark = pytest.mark.needs("llama-cpp-python")


def grammar(schema: dict[str, Any]) -> str:
    from backends.llama_cpp.grammar import grammar_of  # not everywhere

    return grammar_of({"type": "json_schema", "json_schema": {"schema": schema}})


@pytest.mark.parametrize("name", ["minLength", "maxLength"])
def test_a_string_of_bounded_length(name: str) -> None:
    assert grammar({"type": "string", name: 2000})
    with pytest.raises(InvalidRequest, match="format"):
        grammar({"type": "string", name: 2001})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}, "minItems": 20_000_000},
        {"type": "array", "items": {"type": "string"}, "maxItems": 20_000_000},
        {"type": "string", "pattern": "^a{20000000}$"},
        {"type": "string", "pattern": "^(ab){ 1 , 20_000_000 }$"},
        {"properties": {f"p{n}": {"type": "string", "maxLength": 2000} for n in range(201)}},
        {"type": "array", "items": [{"type": "array", "items": {}, "minItems": 1900} for _ in range(200)]},
        {"type": "no such type"},
    ],
)
def test_what_would_be_a_very_long_grammar_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        grammar(schema)
