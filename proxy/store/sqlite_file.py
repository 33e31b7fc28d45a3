"""The file streamlane.db: its schema, its queries by name, and how a group of changes is written."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import astuple

from proxy.store.port import Row
from quota.sql import queries as named
from quota.sqlite_file import FileUnusable, SqliteFile

Delete: TypeAlias = tuple[str, tuple[str, ...]]
"""The name of a query, and its parameters."""

MIGRATIONS = (("create_responses", "create_responses_of_principal", "create_responses_by_expiry"),)
"""The queries that lead from each version of the schema to the next. Only ever added to."""


class StoreUnusable(Exception):
    """The file cannot be used. Says why, and what to do."""


def queries() -> Mapping[str, str]:
    """queries.sql, by name."""
    return named("proxy.store")


def responses_file(path: Path) -> SqliteFile:
    """The file at `path`. What was deleted from it is overwritten."""
    return SqliteFile(path, queries=queries(), migrations=MIGRATIONS, pragmas={"secure_delete": "ON"})


def prepare(path: Path) -> None:
    """Make the file, or bring it to the newest schema. Blocks. Raises StoreUnusable."""
    try:
        responses_file(path).prepare()
    except FileUnusable as error:
        raise StoreUnusable(f"{error} Or set [responses] persist = false.") from None


class Responses:
    """What a group is written to: the open file, where nothing deleted stays behind in the log."""

    def __init__(self) -> None:
        self._deleted = False

    def begin(self, database: sqlite3.Connection, calls: Sequence[object]) -> "Responses":
        """A group begins."""
        self._database = database
        self._deleted = False
        return self

    def write(self, deletes: Sequence[Delete], rows: Sequence[Row], expired: float | None) -> list[int]:
        """Deletes, what has expired at that time, then new rows. How many each delete found."""
        sql, run = queries(), self._database.execute
        found = [run(sql[query], parameters).rowcount for query, parameters in deletes]
        gone = run(sql["delete_expired"], (expired,)).rowcount if expired is not None else 0
        self._deleted |= any(found) or gone > 0
        self._database.executemany(sql["put_response"], map(astuple, rows))
        return found

    def end(self, database: sqlite3.Connection) -> None:
        """All is written already."""

    def committed(self, database: sqlite3.Connection) -> None:
        """The log still has what was deleted, until it is moved to the file and emptied."""
        if self._deleted:
            with suppress(sqlite3.Error):  # a reader is in the way: the next one does it
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rolled_back(self) -> None:
        """Nothing is kept in memory."""
