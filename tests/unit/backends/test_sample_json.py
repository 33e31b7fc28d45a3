"""JSON that fits a schema: what the fake backend answers where JSON is asked for."""

from typing import Any

import pytest

from backends.sample_json import sample


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "word"}),
        ({"type": "object", "required": ["a"]}, {"a": {}}),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array"}, []),
        ({"type": "string", "minLength": 6}, "wordwo"),
        ({"type": "string", "minLength": 10**9}, "wordwordwordword"),
        ({"type": "number", "minimum": 2.5}, 2.5),
        ({"type": ["boolean", "null"]}, True),
        ({"type": "null"}, None),
        ({"enum": ["red", "blue"]}, "red"),
        ({"const": None}, None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}, True),
        ({"$ref": "#/nowhere"}, None),
        ({"$ref": "#"}, None),
    ],
)
def test_the_smallest_that_fits(schema: Any, expected: Any) -> None:
    assert sample(schema) == expected
