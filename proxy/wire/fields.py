"""The top level of a request: the names that it may have, and what more than one API has there. Pure."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from proxy.errors import BadParameter, Unsupported


def check_names(body: object, known: Collection[str]) -> Mapping[str, Any]:
    """`body`, an object that has no member beside `known`, and names a model. Raises BadParameter."""
    fields = check_known(body, known)
    if not fields.get("model"):
        raise BadParameter("'model' is missing. GET /v1/models lists what there is.", "model")
    return fields


def check_known(body: object, known: Collection[str]) -> Mapping[str, Any]:
    """`body`, an object that has no member beside `known`. Raises BadParameter."""
    if not isinstance(body, dict):
        raise BadParameter("The body must be a JSON object.")
    for key in body:
        if key not in known:
            near = get_close_matches(str(key)[:100], known, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise BadParameter(f"Unknown parameter: '{str(key)[:100]}'.{hint}", str(key)[:100])
    return body


def refuse(body: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Raises Unsupported for a member of `refused`, a feature by member, unless its value asks for nothing."""
    for key, feature in refused.items():
        if body.get(key):
            raise Unsupported(feature, key)


def stop_strings(stop: str | list[str] | None, field: str) -> tuple[str, ...]:
    """One stop string or several; an empty one would stop before the first token."""
    strings = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in strings:
        raise BadParameter(f"'{field}' must not hold an empty string.", field)
    return strings
