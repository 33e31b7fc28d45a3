"""A JSON value of a request as a Struct, or one short sentence that names the field. Pure."""

import re
from typing import Any, TypeVar

import msgspec

from proxy.errors import BadParameter
from proxy.type_words import plain

T = TypeVar("T")
FAULT = re.compile(r"(?P<what>.*?)( - at (?P<key>`key` in )?`\$(?P<where>.*)`)?", re.DOTALL)  # msgspec's words
MISSING = re.compile(r"Object missing required field `(.*)`")


def convert(value: object, kind: type[T], path: str) -> T:
    """`value` as `kind`. Raises BadParameter with the field's path. Types are strict: "1" is no number."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise bad(str(error), path) from None


def bad(fault: str, path: str) -> BadParameter:
    """What msgspec found at `path`, in our words."""
    found = FAULT.fullmatch(fault)
    assert found is not None  # it matches any text
    what, where = found["what"], (found["where"] or "").replace("[...]", "")  # a member that the client named
    field = (path + where).lstrip(".")
    if (missing := MISSING.fullmatch(what)) is not None:
        name = f"{field}.{missing[1]}".lstrip(".")
        return BadParameter(f"'{name}' is missing.", name)
    subject = "Invalid key in" if found["key"] else "Invalid value for"
    return BadParameter(f"{subject} '{field}': {plain(what)[:200]}.", field)


def kind_of(item: object, path: str, default: str | None = None) -> str:
    """The `type` of an item, a part or a tool; `default` where it says none. Raises BadParameter."""
    if not isinstance(item, dict):
        raise BadParameter(f"Invalid value for '{path}': expected an object.", path)
    kind: Any = item.get("type")
    if kind is None and default is not None:
        return default
    if not isinstance(kind, str):
        raise BadParameter(f"'{path}.type' is missing, or no string.", f"{path}.type")
    return kind[:50]
