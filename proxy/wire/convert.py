"""A JSON value of a request as a Struct, or one short sentence that names the field. Pure."""

from typing import Any, TypeVar

import msgspec

from proxy.errors import BadParameter

T = TypeVar("T")


def convert(value: object, kind: type[T], path: str) -> T:
    """`value` as `kind`. Raises BadParameter with the field's path. Types are strict: "1" is no number."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = (path + where.rstrip("`")).lstrip(".") or path or "input"
        raise BadParameter(f"Invalid value for '{field}': {what[0].lower()}{what[1:200]}.", field) from None


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
