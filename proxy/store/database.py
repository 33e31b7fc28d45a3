"""The file streamlane.db and the one thread that writes to it: made when it is first used, closed by its owner."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from proxy.store.sqlite_file import file_of, prepare, queries
from quota.sql import run
from quota.writer import Writer

Answer = TypeVar("Answer")


class Tables:
    """What a call works on, in the writer's thread and inside a transaction: the queries, by name."""

    def __init__(self) -> None:
        self._deleted = False

    def begin(self, database: sqlite3.Connection, calls: Sequence[object]) -> "Tables":
        """A group begins."""
        self._database = database
        self._deleted = False
        return self

    def run(self, query: str, *values: object) -> int:
        """How many rows it changed."""
        return self._database.execute(queries()[query], values).rowcount

    def delete(self, query: str, *values: object) -> int:
        """How many rows are gone; nothing of them stays behind in the log."""
        gone = self.run(query, *values)
        self._deleted |= gone > 0
        return gone

    def put(self, query: str, rows: Sequence[Sequence[object]]) -> None:
        """New rows; the query has one VALUES (?, …)."""
        run(self._database, queries()[query], rows)

    def find(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The rows that it finds."""
        return self._database.execute(queries()[query], values).fetchall()

    def end(self, database: sqlite3.Connection) -> None:
        """All is written already."""

    def committed(self, database: sqlite3.Connection) -> None:
        """The log still has what was deleted, until it is moved to the file and emptied."""
        if self._deleted:
            with suppress(sqlite3.Error):  # a reader is in the way: the next one does it
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def rolled_back(self) -> None:
        """Nothing is kept in memory."""


class Database:
    """Shared by all who keep something in that file. Until one of them does, there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = file_of(path)
        self._opening = asyncio.Lock()
        self._writer: Writer[Tables] | None = None

    @property
    def reading(self) -> str:
        """The URI of a connection to read by."""
        return self._file.reading

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self._writer is not None or self.path.exists()

    async def open(self) -> Writer[Tables]:
        """Make the file or bring it to the newest schema, once. Raises StoreUnusable."""
        async with self._opening:
            if self._writer is None:
                await asyncio.to_thread(prepare, self.path)
                self._writer = Writer(connect=self._file.writing, lock=self._file.lock(), work=Tables())
                self._writer.start("streamlane.db writer")
            return self._writer

    async def write(self, call: Callable[[Tables], Answer]) -> Answer:
        """Have `call` done in a transaction; its answer, once that is on the disk. Raises whatever it raises."""
        return await (self._writer or await self.open()).submit(call)

    async def close(self) -> None:
        """Write what waits, then end."""
        if self._writer is not None:
            await self._writer.close()


@asynccontextmanager
async def database(path: Path) -> AsyncIterator[Database]:
    """The file at `path`, which is absolute. Who uses it must have ended before this is left."""
    shared = Database(path)
    try:
        yield shared
    finally:
        await shared.close()
