"""JSON in and out, fast and bounded. The only import of orjson. Pure."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

MAX_DEPTH = 64  # deeper than any real request; OpenAI's JSON-schema limit is 10 levels
MAX_CONTAINERS = 50_000  # each costs microseconds, and while they are read nobody else is served
PIECE = 64 * 1024  # bytes

JsonError = orjson.JSONDecodeError
SHAPE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what a function of `decoder` raises

Shape = TypeVar("Shape", bound=msgspec.Struct)

dumps = orjson.dumps  # bytes: compact UTF-8. Once or more per token, so no wrapper
dumps_text = msgspec.json.Encoder().encode  # the same for a string, in half the time: orjson takes a large buffer
loads_own = orjson.loads  # for what we wrote ourselves, which knows no bounds: no wrapper either


def loads(data: bytes | str, max_depth: int = MAX_DEPTH) -> Any:
    """The value in `data`. Raises JsonError when it is not JSON, or nested deeper than `max_depth`."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    brackets = containers(raw)
    if brackets > MAX_CONTAINERS and containers_outside_strings(raw) > MAX_CONTAINERS:
        raise JsonError(f"more than {MAX_CONTAINERS} lists and objects", "", 0)
    value = orjson.loads(data)
    if brackets > max_depth and deeper_than(value, max_depth):
        raise JsonError(f"nested deeper than {max_depth} levels", "", 0)
    return value


def decoder(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """A function from JSON to `shape`, for what comes with every token: it checks what the shape names, skips the rest,
    and takes a third of the time of `loads` with checks of our own. It raises one of SHAPE_ERRORS."""
    return msgspec.json.Decoder(shape).decode


def object_in(raw: bytes | msgspec.Raw) -> str:
    """The text of the object that is `raw`, a value of a JSON that was read; `{}` for one that is none.

    As it stands there: numbers keep every digit.
    """
    text = bytes(raw).decode("utf-8", "replace")  # msgspec does not look into what it hands on
    return text if text.startswith("{") else "{}"


def containers(data: bytes) -> int:
    """How many lists and objects open in `data`, with brackets in strings counted too."""
    return data.count(b"[") + data.count(b"{")


def containers_outside_strings(data: bytes) -> int:
    """How many lists and objects open in the JSON in `data`. Takes linear time and little memory, whatever it is."""
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote that is left begins or ends a string
    found, inside = 0, 0
    for start in range(0, len(bare), PIECE):
        pieces = bare[start : start + PIECE].split(b'"')
        found += containers(b"".join(pieces[inside::2]))
        inside ^= (len(pieces) - 1) & 1
    return found


def deeper_than(value: object, limit: int) -> bool:
    """Whether lists and objects are nested more than `limit` levels. Walks level by level, so never recurses."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
