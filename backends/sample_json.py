"""A small JSON value that fits a JSON schema, as far as schemas are simple. Pure."""

from collections.abc import Mapping
from typing import Any

MOST_LEVELS = 16
MOST_ITEMS = 16  # of a list or characters of a string, whatever the schema wants
WORD = "word"


def sample(schema: Mapping[str, Any] | None) -> Any:
    """The required fields alone, and of every choice the first. Where a schema says nothing, an empty object."""
    return value(schema or {}, schema or {}, MOST_LEVELS)


def value(schema: Any, root: Mapping[str, Any], levels: int) -> Any:
    if not isinstance(schema, Mapping) or not levels:
        return {} if schema is True else None
    given = [schema["const"]] if "const" in schema else schema.get("enum")
    if given:
        return given[0]
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return value(choices[0], root, levels - 1)
    if reference := schema.get("$ref"):
        return value(referred(reference, root), root, levels - 1)
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: value(properties.get(name, {}), root, levels - 1) for name in schema.get("required") or ()}
        case "array":
            return [value(schema.get("items", {}), root, levels - 1)] * least(schema, "minItems", 0)
        case plain:
            text = (WORD * MOST_ITEMS)[: least(schema, "minLength", len(WORD))]
            number = schema.get("minimum", 0)
            return {"string": text, "integer": number, "number": number, "boolean": True}.get(plain)


def least(schema: Mapping[str, Any], name: str, otherwise: int) -> int:
    found = schema.get(name, otherwise)
    return min(max(found, otherwise), MOST_ITEMS) if isinstance(found, int) else otherwise


def referred(reference: str, root: Mapping[str, Any]) -> Any:
    """The part of the schema that a reference like "#/$defs/name" means; None where there is none."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
