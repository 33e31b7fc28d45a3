"""The grammar that holds an answer to a JSON format, in llama.cpp's own notation."""

from typing import Any

from llama_cpp.llama_grammar import JSON_GBNF, json_schema_to_gbnf

from backends.errors import InvalidRequest
from backends.json import dumps
from backends.llama_cpp.schema_limits import COUNTS, LENGTHS, check_schemas

MOST = 4 * 1024 * 1024  # characters, which take llama.cpp 0.1 s


def grammar_of(response_format: dict[str, Any]) -> str:
    """The grammar for a chat completion's `response_format`. Raises InvalidRequest for a schema that has none."""
    if response_format["type"] == "json_object":
        return str(JSON_GBNF)
    schema = response_format["json_schema"]["schema"]
    check_schemas([schema], "text.format", COUNTS | LENGTHS)
    try:
        grammar = str(json_schema_to_gbnf(dumps(schema).decode()))
    except (AssertionError, AttributeError, KeyError, MemoryError, RecursionError, TypeError, ValueError):
        raise InvalidRequest(400, "text.format") from None
    if len(grammar) > MOST:
        raise InvalidRequest(400, "text.format")
    return grammar
