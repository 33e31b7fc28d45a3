"""Why a response did not end well, for the APIs that say it by an error. Pure."""

from collections.abc import Mapping
from typing import Any

from proxy.errors import ResponseCancelled
from proxy.wire_errors import UNEXPECTED, WIRE, error_body

TYPES = {row.code: row.type for row in WIRE.values()}


def failure(response: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `error` member; None for a response that ended well, or is only incomplete."""
    if response["status"] == "cancelled":
        return error_body(ResponseCancelled())
    if response["status"] != "failed":
        return None
    said = response["error"]  # its code, its message, and when to try again where that is known
    return {"type": TYPES.get(said["code"], UNEXPECTED.type), **said, "param": None}
