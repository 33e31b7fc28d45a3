"""The members of a JSON schema in words, as the pages of the reference show them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.json import dumps

SAFE = 2**53


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object. `kind` may hold names of other schemas, in `[]`."""

    name: str
    kind: str
    required: bool
    about: str


SHARED = ("sl_seq", "sequence_number", "stream_id")  # members that most events have; the pages say so once


def members(schema: Mapping[str, Any]) -> Iterator[Member]:
    """Those of an object, in its order; those that have no effect are left out, and so is the `type` of an event."""
    needed = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        if each.get("description") != "Accepted without effect." and not (name == "type" and "enum" in each):
            yield Member(name, kind_of(each), name in needed, str(each.get("description", "")))


def ignored(schema: Mapping[str, Any]) -> list[str]:
    """Members that are accepted without effect."""
    properties = schema.get("properties", {})
    return [name for name, each in properties.items() if each.get("description") == "Accepted without effect."]


def kind_of(schema: Mapping[str, Any]) -> str:
    """What may stand there."""
    if "$ref" in schema:
        return f"[{schema['$ref'].rpartition('/')[2]}]"
    if "enum" in schema:
        return " | ".join(said(each) for each in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(kind_of(each) for each in schema["anyOf"]))
    match schema.get("type"):
        case "array":
            inside = kind_of(schema.get("items", {}))
            return f"list of {f'({inside})' if ' | ' in inside else inside}"
        case "object" if "properties" in schema:
            inside = ", ".join(f"{name}: {kind_of(each)}" for name, each in schema["properties"].items())
            return f"{{{inside}}}"
        case "object" if isinstance(schema.get("additionalProperties"), dict) and schema["additionalProperties"]:
            return f"object of {kind_of(schema['additionalProperties'])}"
        case str(kind):
            return f"{kind}{bounds(schema)}"
        case _:
            return "anything"


def bounds(schema: Mapping[str, Any]) -> str:
    """The range of a number, or the length of a text. What a machine's integers can hold is no bound to read."""
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        low, high = (
            None if each is None or abs(each) > SAFE else each for each in (schema.get(least), schema.get(most))
        )
        if low is not None and high is not None:
            return f" ({low:,} to {high:,}{unit})"
        if low is not None:
            return f" (from {low:,}{unit})"
        if high is not None:
            return f" (to {high:,}{unit})"
    return ""


def said(value: object) -> str:
    """A constant as JSON has it."""
    return dumps(value).decode()
