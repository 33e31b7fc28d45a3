"""A JSON value of a request as a Struct, or one short sentence that names the field. Pure."""

import re
from typing import Any, TypeVar

import msgspec
import msgspec.inspect

from proxy.errors import BadParameter
from proxy.type_words import plain

T = TypeVar("T")
FAULT = re.compile(r"(?P<what>.*?)( - at (?P<key>`key` in )?`\$(?P<where>.*)`)?", re.DOTALL)  # msgspec's words
INDEX = re.compile(r"\[\d+\]")
MISSING = re.compile(r"Object missing required field `(.*)`")


def convert(value: object, kind: type[T], path: str) -> T:
    """`value` as `kind`. Raises BadParameter with the field's path. Types are strict: "1" is no number."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise bad(str(error), path, kind) from None


def bad(fault: str, path: str, kind: Any) -> BadParameter:
    """What msgspec found at `path`, which should have been a `kind`, in our words."""
    found = FAULT.fullmatch(fault)
    assert found is not None  # it matches any text
    what, where = found["what"], (found["where"] or "").replace("[...]", "")  # a member that the client named
    field = (path + where).lstrip(".")
    if (missing := MISSING.fullmatch(what)) is not None:
        name = f"{field}.{missing[1]}".lstrip(".")
        return BadParameter(f"'{name}' is missing.", name)
    subject = "Invalid key in" if found["key"] else "Invalid value for"
    known = ""
    if what.startswith(("Invalid enum value", "Object contains unknown field")):
        known = allowed(msgspec.inspect.type_info(kind), [step for step in INDEX.sub("", where).split(".") if step])
    return BadParameter(f"{subject} '{field}': {plain(what)[:200]}.{known}", field)


def allowed(kind: msgspec.inspect.Type, steps: list[str]) -> str:
    """The values or fields that there are at the end of these steps, as a sentence; "" where that is not one list."""
    if isinstance(kind, msgspec.inspect.UnionType):
        found = {allowed(each, steps) for each in kind.types} - {""}
        return found.pop() if len(found) == 1 else ""
    if isinstance(kind, msgspec.inspect.Metadata):
        return allowed(kind.type, steps)
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        return allowed(kind.item_type, steps)
    if isinstance(kind, msgspec.inspect.StructType):
        fields = {each.encode_name: each.type for each in kind.fields}
        if steps:
            return allowed(fields[steps[0]], steps[1:]) if steps[0] in fields else ""
        return f" Its fields: {', '.join(fields)}."
    if isinstance(kind, msgspec.inspect.LiteralType) and not steps:
        return f" Expected one of: {', '.join(map(str, kind.values))}."
    return ""


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
