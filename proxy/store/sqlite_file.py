"""The file streamlane.db: made for its owner alone, brought to the newest schema, its queries by name."""

import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from msgspec.structs import astuple

from proxy.store.port import Row

Delete: TypeAlias = tuple[str, tuple[str, ...]]
"""The name of a query, and its parameters."""

MIGRATIONS = (("create_responses", "create_responses_of_principal", "create_responses_by_expiry"),)
"""The queries that lead from each version of the schema to the next. Only ever added to."""

# sqlite.org/wal.html, "The WAL-reset bug": two connections that write or checkpoint at the same instant may corrupt
# the file. In 3.7.0 to 3.51.2.
WAL_IS_SAFE = (3, 51, 3)
BUSY = 5.0  # seconds that one process waits for another that writes


class StoreUnusable(Exception):
    """The file cannot be used. Says why, and what to do."""


@cache
def queries() -> Mapping[str, str]:
    """queries.sql, by name."""
    text = files("proxy.store").joinpath("queries.sql").read_text(encoding="utf-8")
    named = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return MappingProxyType(dict(zip(named[::2], map(str.strip, named[1::2]), strict=True)))


def prepare(path: Path) -> str:
    """Make the file, or bring it to the newest schema. Blocks. The journal mode in use. Raises StoreUnusable."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
        with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as database:
            # With WAL readers and the writer do not wait for each other; without it they do, for moments.
            wanted = "wal" if sqlite3.sqlite_version_info >= WAL_IS_SAFE else "truncate"
            mode: str = database.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
            migrate(database, path)
            return mode
    except sqlite3.DatabaseError as error:
        raise StoreUnusable(
            f"{path} cannot be used: {error}. Move the file away, or set [responses] persist = false."
        ) from None
    except OSError as error:
        raise StoreUnusable(
            f"cannot open {path}: {error.strerror}. Give this user the right, or set [responses] persist = false."
        ) from None


def writing(path: Path) -> sqlite3.Connection:
    """A connection to write by, for one thread at a time."""
    database = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA secure_delete = ON")  # what was deleted is overwritten
    return database


def write(
    database: sqlite3.Connection, deletes: Sequence[Delete], rows: Sequence[Row], expired: float | None
) -> list[int]:
    """One group in one transaction: deletes, what has expired at that time, then new rows. Blocks. How many each
    delete found. Raises sqlite3.Error, and then nothing of the group was done.
    """
    sql = queries()
    try:
        database.execute("BEGIN IMMEDIATE")
        found = [database.execute(sql[query], parameters).rowcount for query, parameters in deletes]
        if expired is not None:
            database.execute(sql["delete_expired"], (expired,))
        database.executemany(sql["put_response"], map(astuple, rows))
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise
    return found


def migrate(database: sqlite3.Connection, path: Path) -> None:
    """Whatever version the file has, in one transaction. Raises StoreUnusable when it is newer than this program."""
    database.execute("BEGIN IMMEDIATE")
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StoreUnusable(
            f"{path} was written by a newer Streamlane (schema {version}, this one knows {len(MIGRATIONS)}). "
            "Update Streamlane, or move the file away."
        )
    for migration in MIGRATIONS[version:]:
        for name in migration:
            database.execute(queries()[name])
    database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    database.execute("COMMIT")
