"""The file streamlane.db: its schema, and its queries by name."""

from collections.abc import Mapping
from pathlib import Path

from quota.sql import queries as named
from quota.sqlite_file import FileUnusable, SqliteFile

MIGRATIONS = (
    ("create_responses", "create_responses_of_principal", "create_responses_by_expiry"),
    ("create_history", "create_history_by_response", "create_history_of_principal", "create_history_by_time"),
)
"""The queries that lead from each version of the schema to the next. Only ever added to."""


class StoreUnusable(Exception):
    """The file cannot be used. Says why, and what to do."""


def queries() -> Mapping[str, str]:
    """queries.sql, by name."""
    return named("proxy.store")


def file_of(path: Path) -> SqliteFile:
    """The file at `path`. What was deleted from it is overwritten."""
    return SqliteFile(path, queries=queries(), migrations=MIGRATIONS, pragmas={"secure_delete": "ON"})


def prepare(path: Path) -> None:
    """Make the file, or bring it to the newest schema. Blocks. Raises StoreUnusable."""
    try:
        file_of(path).prepare()
    except FileUnusable as error:
        raise StoreUnusable(f"{error} Or set [responses] persist = false and [history] enabled = false.") from None
