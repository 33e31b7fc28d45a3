"""The named queries of a .sql file, by name, and how one is run for many rows at once."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

ROWS = 64  # in one statement: with up to 15 columns, fewer values than any SQLite takes


@cache
def queries(package: str) -> Mapping[str, str]:
    """Those of the package's queries.sql: each begins with a line `-- name: NAME` and ends with the next one."""
    text = files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    named = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return MappingProxyType(dict(zip(named[::2], map(str.strip, named[1::2]), strict=True)))


def run(database: sqlite3.Connection, query: str, lines: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Run `query`, which has one VALUES (?, …), for all lines in few statements. What it finds.

    executemany gives the interpreter's lock away and waits for it again at each row: with a busy event loop that is
    most of a transaction's time.
    """
    found: list[tuple[Any, ...]] = []
    done = 0
    while done < len(lines):
        rows = min(ROWS, 1 << (len(lines) - done).bit_length() - 1)  # few different statements, so that all are kept
        values = [value for line in lines[done : done + rows] for value in line]
        found += database.execute(_of_rows(query, rows), values)
        done += rows
    return found


@lru_cache(maxsize=256)
def _of_rows(query: str, rows: int) -> str:
    before, row, after = re.split(r"(?<=VALUES )(\([?, ]+\))", query)
    return before + ", ".join([row] * rows) + after
