"""Looks at the ledger's file without changing it: it works beside a gateway that runs, and without one."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from quota.book import Book
from quota.ledger import Cooldown, Headroom, LedgerUnusable, Operation
from quota.pool import Micros
from quota.sqlite_file import BUSY, trouble
from quota.sqlite_rows import MIGRATIONS, SQL, ledger_file, operations, read

NAME = "quota.db"  # within data_dir


class LedgerFile:
    """One file, open. Blocks. Raises LedgerUnusable."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def headroom(self, now: Micros) -> tuple[Mapping[str, Headroom], Micros]:
        """Every pool, and the ledger's time: `now`, or later where its own is."""
        book = self._book()
        return book.headroom(max(now, book.time)), max(now, book.time)

    def cooldowns(self, now: Micros) -> Mapping[str, Cooldown]:
        """Those that have not ended, by scope."""
        return self._book().cooldowns(now)

    def history(self, since: Micros, limit: int, pool: str | None) -> Sequence[Operation]:
        """The newest operations, newest first."""
        query, which = ("get_newest_operations", ()) if pool is None else ("get_newest_operations_of_pool", (pool,))
        with said(self._path):
            return list(operations(self._database.execute(SQL[query], (since, *which, limit))))

    def operations(self) -> Iterator[Operation]:
        """The whole history, oldest first, as it is read."""
        with said(self._path):
            yield from operations(self._database.execute(SQL["get_operations"]))

    def _book(self) -> Book:
        with said(self._path):
            self._database.execute("BEGIN")
            rows = read(self._database, -1)
            self._database.execute("COMMIT")
        book = Book(lambda _: None)
        book.load(rows)
        return book


@contextmanager
def reading(path: Path) -> Iterator[LedgerFile]:
    """The ledger in that file, which must be there. Raises LedgerUnusable."""
    uri = ledger_file(path, "full").reading
    with said(path):
        database = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
    with closing(database):
        with said(path):
            version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != len(MIGRATIONS):
            other = "newer" if version > len(MIGRATIONS) else "older"
            step = (
                "Update Streamlane." if other == "newer" else "Start the gateway once: it brings the file up to date."
            )
            raise LedgerUnusable(f"{path} is of {other} Streamlane (schema {version}). {step}")
        yield LedgerFile(path, database)


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Raises LedgerUnusable where SQLite cannot go on."""
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerUnusable(trouble(path, error)) from error
