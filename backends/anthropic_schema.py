"""JSON schemas as Anthropic's structured outputs take them. Pure."""

from collections.abc import Mapping
from typing import Any

from backends.errors import UnsupportedFeature
from backends.json import dumps

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
LIMITS = (
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength maxItems uniqueItems contains "
    "minContains maxContains minProperties maxProperties"
)
LEFT_OUT = frozenset(LIMITS.split())
FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
NAMED = ("properties", "$defs", "definitions")  # schemas by name
LISTED = ("anyOf", "allOf", "oneOf")


def fitting(schema: Mapping[str, Any], param: str) -> dict[str, Any]:
    """`schema` with its objects closed, and with the limits that it must not hold told in the descriptions instead.

    Raises UnsupportedFeature, naming `param`, for an object that is open by its own words.
    """
    fit: dict[str, Any] = {}
    told: list[str] = []
    for key, value in schema.items():
        if key in LEFT_OUT or (key == "minItems" and value not in (0, 1)) or (key == "format" and value not in FORMATS):
            told.append(f"{key}: {dumps(value).decode()}")
        elif key in NAMED and isinstance(value, Mapping):
            fit[key] = {name: each(inner, param) for name, inner in value.items()}
        elif key in LISTED and isinstance(value, list):
            fit["anyOf" if key == "oneOf" else key] = [each(inner, param) for inner in value]
        elif key == "items":
            fit[key] = each(value, param)
        elif key == "additionalProperties" and value is not False:
            raise UnsupportedFeature("a JSON schema whose objects have additional properties", param)
        else:
            fit[key] = value
    if schema.get("type") == "object" or "properties" in schema:
        fit["additionalProperties"] = False
    if told:
        described = schema.get("description")
        fit["description"] = "\n\n".join([*([described] if described else []), f"{{{', '.join(told)}}}"])
    return fit


def each(schema: object, param: str) -> object:
    """A schema inside one; `true` and `false` are schemas too."""
    return fitting(schema, param) if isinstance(schema, Mapping) else schema
