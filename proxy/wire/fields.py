"""Reads a request's members: their names, types and bounds, with an error that names the one that is wrong. Pure."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import msgspec

from proxy.errors import BadParameter, Unsupported

T = TypeVar("T")


def convert(value: object, kind: type[T], path: str = "") -> T:
    """`value` as `kind`. Raises BadParameter with the field's path, in one short sentence."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = (path + where.rstrip("`")).lstrip(".") or path or "body"
        raise BadParameter(f"Invalid value for '{field}': {what[0].lower()}{what[1:200]}.", field) from None


def check_names(body: object, known: Collection[str]) -> Mapping[str, Any]:
    """`body`, an object that has no member beside `known`, and names a model. Raises BadParameter."""
    if not isinstance(body, dict):
        raise BadParameter("The body must be a JSON object.")
    for key in body:
        if key not in known:
            near = get_close_matches(str(key)[:100], known, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise BadParameter(f"Unknown parameter: '{str(key)[:100]}'.{hint}", str(key)[:100])
    if not body.get("model"):
        raise BadParameter("'model' is missing. GET /v1/models lists what there is.", "model")
    return body


def refuse(body: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Raises Unsupported for a member of `refused`, a feature by member, unless its value asks for nothing."""
    for key, feature in refused.items():
        if body.get(key):
            raise Unsupported(feature, key)


def kind_of(part: object, path: str) -> str:
    """The `type` of a part or block. Raises BadParameter when there is none."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise BadParameter(f"'{path}.type' is missing.", f"{path}.type")
    return kind


def stop_strings(stop: str | list[str] | None, field: str) -> tuple[str, ...]:
    """One stop string or several; an empty one would stop before the first token."""
    strings = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in strings:
        raise BadParameter(f"'{field}' must not hold an empty string.", field)
    return strings
