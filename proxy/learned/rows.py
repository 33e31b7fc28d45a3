"""Reads what a router learns from: JSON lines, one prompt a line with how well each of several models did on it."""

import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from backends.json import JsonError, loads

TEXTS = ("id", "key", "group", "bench", "license")
UNPACK: Mapping[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".xz": lzma.open}
_SPACE = re.compile(r"\W+")


class BadRow(ValueError):
    """A line of training data is not what was expected; says which, and why."""

    def __init__(self, number: int, problem: str) -> None:
        super().__init__(f"line {number}: {problem}")


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt with its outcomes. Rows with the same `key` are the same question and stay on one side of a split."""

    prompt: str
    scores: Mapping[str, float]  # model -> 0 (failed) to 1 (right)
    key: str
    id: str = ""
    group: str = ""
    bench: str = ""
    license: str = ""
    weight: float = 1.0
    fold: int | None = None


def read(path: Path) -> list[Row]:
    """The rows of a file: plain, or packed as its name says (.gz, .xz). Raises BadRow, and OSError for the file."""
    with opened(path) as file:
        return list(rows(file))


@contextmanager
def opened(path: Path) -> Iterator[Iterable[bytes]]:
    """The file's lines, unpacked. Raises OSError, also while they are read."""
    try:
        with UNPACK.get(path.suffix, open)(path, "rb") as file:
            yield file
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        raise OSError(f"{path} cannot be unpacked: {error}") from error


def rows(lines: Iterable[bytes | str]) -> Iterator[Row]:
    """The row of each line that is not empty. Raises BadRow at the first that is none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(number, line)


def key_of(prompt: str) -> str:
    """The same for prompts that differ in case, spaces and signs alone."""
    return sha256(_SPACE.sub(" ", prompt.lower()).strip().encode("utf-8", "replace")).hexdigest()[:16]


def _row(number: int, line: bytes | str) -> Row:
    try:
        value = loads(line)
    except JsonError as error:
        raise BadRow(number, f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadRow(number, "expected an object with `prompt` and `scores`")
    prompt = value.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadRow(number, "`prompt` must be a text that is not empty")
    texts = {name: _text(number, value, name) for name in TEXTS if value.get(name) is not None}
    return Row(
        prompt=prompt,
        scores=_scores(number, value.get("scores")),
        weight=_number(number, "weight", value.get("weight", 1.0), 0.0, 1e6),
        fold=_fold(number, value.get("fold")),
        **{"key": key_of(prompt), **texts},
    )


def _text(number: int, value: dict[str, Any], name: str) -> str:
    if not isinstance(value[name], str | int):
        raise BadRow(number, f"`{name}` must be a text")
    return str(value[name])


def _scores(number: int, value: object) -> dict[str, float]:
    if not isinstance(value, dict) or not value:
        raise BadRow(number, '`scores` must name at least one model, as in {"model": 1}')
    return {str(model): _number(number, f"scores.{model}", score, 0.0, 1.0) for model, score in value.items()}


def _number(number: int, name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, bool | int | float) and least <= value <= most:
        return float(value)
    raise BadRow(number, f"`{name}` must be a number from {least:g} to {most:g}")


def _fold(number: int, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise BadRow(number, "`fold` must be a whole number from 0")
