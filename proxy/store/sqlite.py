"""Responses in memory and, written behind, in a SQLite file: they outlive the process.

    remember → memory, and the group that waits ── one writer: BEGIN, the whole group, COMMIT ──▸ file
    get      ← memory, what waits, the file

The file has a thread that writes (database.py), and a group is one call to it: a busy loop holds no lock.

A crash loses the group that was not committed yet, and no more. Nothing here holds up an answer: what cannot be
written is lost from the file alone, said in the log and counted. Only who deletes waits for the file.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import aiosqlite
import structlog
from msgspec.structs import astuple

from proxy.errors import StoreFailed
from proxy.store.database import Database, Tables
from proxy.store.memory import MemoryStore
from proxy.store.port import Row
from proxy.store.sqlite_file import queries
from quota.file_lock import StillLocked
from quota.sqlite_file import BUSY

log = structlog.get_logger()
EXPECTED = (sqlite3.Error, OSError, StillLocked, OverflowError, ValueError)  # the last two: what SQLite cannot hold
SWEEP = 3600.0  # seconds between two deletions of what is past its time
FLUSH = 10.0  # seconds that the last group gets when the gateway stops

Delete: TypeAlias = tuple[str, tuple[str, ...]]
"""The name of a query, and its parameters."""
Write: TypeAlias = Callable[[Sequence[Delete], Sequence[Row], float | None], Awaitable[list[int]]]
"""Writes one group: deletes, new rows, and the time by which to expire others. How many each delete found."""


class SqliteStore:
    """`memory` answers first. At most `queue_bytes` wait to be written. `now` is in Unix seconds."""

    def __init__(
        self,
        *,
        memory: MemoryStore,
        reader: aiosqlite.Connection,
        writer: Write,
        queue_bytes: int,
        now: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._reader = reader
        self._writer = writer
        self._queue_bytes = queue_bytes
        self._now = now
        self._waiting: dict[str, Row] = {}
        self._writing: dict[str, Row] = {}  # the group that is on its way
        self._deletes: list[tuple[Delete, asyncio.Future[int]]] = []  # and who waits for it
        self._deleted = 0  # how often was deleted
        self._work = asyncio.Event()
        self._closing = False
        self._full = False
        self.unwritten = 0
        self.lost = 0

    def remember(self, row: Row) -> None:
        """Keep it in memory, and have it written."""
        self._memory.remember(row)
        if self.unwritten + row.size > self._queue_bytes:
            self.lost += 1
            if not self._full:
                self._full = True
                log.error("responses_not_written", reason="the disk is too slow: the queue is full")
            return
        self._drop(self._unwritten(row.id))
        self._waiting[row.id] = row
        self.unwritten += row.size
        self._work.set()

    async def get(self, response_id: str, principal: str) -> Row | None:
        """From memory, from what waits, or from the file."""
        row = self._memory.find(response_id, principal)
        row = row or next(iter(self._unwritten(response_id)), None)
        if row is None and response_id.isascii():
            deleted = self._deleted
            row = await self._read(response_id, principal)
            if row is not None and deleted == self._deleted:
                self._memory.remember(row)
        return row if row is not None and row.principal == principal and row.expires > self._now() else None

    async def delete(self, response_id: str, principal: str) -> bool:
        """Whether it was there. Waits for the file."""
        if not response_id.isascii():  # none of ours; SQLite takes no half of a surrogate pair
            return False
        known = await self._memory.delete(response_id, principal)
        known |= self._drop([row for row in self._unwritten(response_id) if row.principal == principal]) > 0
        return await self._gone("delete_response", response_id, principal) > 0 or known

    async def delete_all(self, principal: str) -> int:
        """How many there were, in memory and in the file. Waits for the file."""
        await self._memory.delete_all(principal)
        waited = self._drop([row for row in self._unwritten() if row.principal == principal])
        return await self._gone("delete_responses_of_principal", principal) + waited

    def sweep(self) -> None:
        """Let go of what is past its time in memory; the writer does it in the file."""
        self._memory.sweep()

    @property
    def size(self) -> int:
        """Bytes held in memory, beside those that wait to be written."""
        return self._memory.size

    async def run(self) -> None:
        """The writer: groups grow while one is written. Until `close`, and everything is."""
        sweep_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep_at):
                    await self._work.wait()
            self._work.clear()
            expired = loop.time() >= sweep_at
            if expired:
                sweep_at = loop.time() + SWEEP
            await self._write(expired)
            if self._closing and not self._waiting and not self._deletes:
                return

    def close(self) -> None:
        """Let `run` write what waits, then end."""
        self._closing = True
        self._work.set()

    async def _write(self, expired: bool) -> None:
        """One group, in one transaction. Deletes first: what waits came after them."""
        self._writing, self._waiting = self._waiting, {}
        deletes, self._deletes = self._deletes, []
        rows = list(self._writing.values())
        try:
            found = await self._writer([each for each, _ in deletes], rows, self._now() if expired else None)
        except Exception as error:  # whatever it is, the next group has its turn
            self.lost += len(rows)
            facts = {"reason": str(error), "responses": len(rows), "deletes": len(deletes)}
            if isinstance(error, EXPECTED):
                log.error("responses_not_written", **facts)
            else:
                log.exception("responses_not_written", **facts)
            for _, waiter in deletes:
                if not waiter.done():
                    waiter.set_exception(StoreFailed())
        else:
            self._full = False
            for (_, waiter), count in zip(deletes, found, strict=True):
                if not waiter.done():  # who waited has left
                    waiter.set_result(count)
        finally:
            self._writing = {}
            self.unwritten -= sum(row.size for row in rows)

    async def _read(self, response_id: str, principal: str) -> Row | None:
        try:
            found = await self._reader.execute_fetchall(
                queries()["get_response"], (response_id, principal, self._now())
            )
        except sqlite3.Error as error:
            log.error("response_not_read", reason=str(error))
            return None
        return next((Row(*each) for each in found), None)

    async def _gone(self, query: str, *parameters: str) -> int:
        self._deleted += 1
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._deletes.append(((query, parameters), waiter))
        self._work.set()
        return await waiter

    def _unwritten(self, response_id: str | None = None) -> list[Row]:
        """What waits or is on its way: all of it, or the one of that id."""
        if response_id is None:
            return [*self._waiting.values(), *self._writing.values()]
        row = self._waiting.get(response_id) or self._writing.get(response_id)
        return [row] if row else []

    def _drop(self, rows: list[Row]) -> int:
        """Deleted: not to be read again, and not to be written. How many will not be; the others are deleted then."""
        dropped = 0
        for row in rows:
            self._writing.pop(row.id, None)
            if self._waiting.pop(row.id, None):
                self.unwritten -= row.size
                dropped += 1
        return dropped


@asynccontextmanager
async def opened(
    database: Database, memory: MemoryStore, queue_bytes: int, now: Callable[[], float]
) -> AsyncIterator[SqliteStore]:
    """A store with its file open; leaving writes what waits. Raises StoreUnusable."""
    await database.open()

    def write(deletes: Sequence[Delete], rows: Sequence[Row], expired: float | None) -> Awaitable[list[int]]:
        return database.write(lambda tables: write_group(tables, deletes, rows, expired))

    async with aiosqlite.connect(database.reading, uri=True, timeout=BUSY, isolation_level=None) as reader:
        store = SqliteStore(memory=memory, reader=reader, writer=write, queue_bytes=queue_bytes, now=now)
        task = asyncio.create_task(store.run(), name="responses writer")
        try:
            yield store
        finally:
            store.close()
            try:
                async with asyncio.timeout(FLUSH):
                    await task
            except TimeoutError:
                log.error("responses_not_written", reason="the disk is too slow to stop in time")


def write_group(tables: Tables, deletes: Sequence[Delete], rows: Sequence[Row], expired: float | None) -> list[int]:
    """Deletes, what has expired at that time, then new rows. How many each delete found."""
    found = [tables.delete(query, *parameters) for query, parameters in deletes]
    if expired is not None:
        tables.delete("delete_expired", expired)
    tables.put("put_response", [astuple(row) for row in rows])
    return found
