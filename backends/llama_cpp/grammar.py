"""The grammar that holds an answer to a JSON format, in llama.cpp's own notation."""

from typing import Any

from llama_cpp.llama_grammar import JSON_GBNF, json_schema_to_gbnf

from backends.errors import InvalidRequest
from backends.json import dumps


def grammar_of(response_format: dict[str, Any]) -> str:
    """The grammar for a chat completion's `response_format`. Raises InvalidRequest for a schema that has none."""
    if response_format["type"] == "json_object":
        return str(JSON_GBNF)
    schema = dumps(response_format["json_schema"]["schema"]).decode()
    try:
        return str(json_schema_to_gbnf(schema))
    except (AssertionError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
        raise InvalidRequest(400, "text.format") from None
