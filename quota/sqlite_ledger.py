"""The ledger in a SQLite file that several processes share: quota.db.

    reserve, settle, … ─▸ writer ─▸ Book ─▸ tables ─▸ COMMIT ─▸ the answer        headroom ◂─ view ◂─ the file

The rules are those of quota/book.py; here is what they need of a process: a writer, leases that are renewed while it
lives, and a janitor that charges what dead owners hold.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TypeVar

import aiosqlite
import structlog
from msgspec import DecodeError

from quota.audit import balances, differences
from quota.clock import Clock
from quota.file_lock import StillLocked
from quota.ledger import (
    Attempt,
    Cooldown,
    Denied,
    Granted,
    Headroom,
    LedgerUnusable,
    Observation,
    Operation,
    Settled,
)
from quota.ledger_view import LedgerView
from quota.owner import Owner
from quota.pool import DAY, HOUR, SECOND, Micros, Pool
from quota.rows import Bucket, Rows
from quota.sqlite_file import BUSY, FileUnusable, SqliteFile, Synchronous, trouble
from quota.sqlite_rows import SQL, asked, ledger_file, open_ones, operations, pool_row, told
from quota.sqlite_work import LedgerWork, Reserve
from quota.writer import NotWriting, Writer, nowhere

log = structlog.get_logger()
Answer = TypeVar("Answer")
TTL: Micros = 60 * SECOND  # a lease; at least twice the longest time for which a live process may not run
JANITOR = 5.0  # seconds between two looks for dead owners and lapsed leases
FIRST_NIGHT = 600.0  # seconds until the first pruning: soon, for who restarts every day
NIGHT = 86_400.0  # and between two
AHEAD: Micros = HOUR  # of the clock, that the time in the file may be without a word
UNREADABLE = (sqlite3.Error, DecodeError)


class SqliteLedger:
    """A Ledger (quota/ledger.py). Made by `opened`."""

    def __init__(
        self,
        *,
        file: SqliteFile,
        reader: aiosqlite.Connection,
        now: Callable[[], Micros],
        owner: Owner,
        ttl: Micros,
        at: Callable[[str], None],
        on_lapsed: Callable[[int], None],
    ) -> None:
        self._file = file
        self._reader = reader
        self._reading = asyncio.Lock()  # a transaction to read in: one at a time
        self._now = now
        self._ttl = ttl
        self._on_lapsed = on_lapsed
        self._loop = asyncio.get_running_loop()
        self._view = LedgerView(self._read)
        self._work = LedgerWork(owner=owner, ttl=ttl, now=now, publish=self._publish)
        self._writer: Writer[LedgerWork] = Writer(
            connect=file.writing, lock=file.lock(), work=self._work, at=at, said=self._said
        )
        self._failing = ""
        self._owed: dict[Attempt, Callable[[LedgerWork], object]] = {}  # ends of attempts that are not on the disk yet

    async def define(self, pools: Sequence[Pool]) -> None:
        await self._submit(lambda work: work.book.define(work.now, pools))

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        return await self._submit(Reserve(attempt, amounts, tag))

    def settle(
        self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None
    ) -> Awaitable[Settled | None]:
        answered_at = None if answered is None else self.now() - int(answered * SECOND)
        return self._end(attempt, lambda work: work.settle(attempt, used, answered_at))

    def release(self, attempt: Attempt, why: str) -> Awaitable[bool]:
        return self._end(attempt, lambda work: work.release(attempt, why))

    def observe(self, observation: Observation) -> Awaitable[None]:
        return self._queue(lambda work: work.book.observe(work.now, observation))

    def cool(self, cooldown: Cooldown) -> Awaitable[None]:
        return self._queue(lambda work: work.book.cool(work.now, cooldown))

    def warm(self, scope: str) -> Awaitable[None]:
        return self._queue(lambda work: work.book.warm(work.now, scope))

    def headroom(self) -> Mapping[str, Headroom]:
        return self._view.headroom(self.now())

    def cooldowns(self) -> Mapping[str, Cooldown]:
        return self._view.cooldowns(self.now())

    def now(self) -> Micros:
        return max(self._now(), self._view.time)

    async def adjust(self, pool: str, used: int, why: str) -> None:
        await self._submit(lambda work: work.book.adjust(work.now, pool, used, why))

    async def recover(self) -> int:
        return await self._submit(LedgerWork.recover)

    async def history(self, since: Micros = 0, limit: int = 1000, pool: str | None = None) -> Sequence[Operation]:
        query, which = ("get_newest_operations", ()) if pool is None else ("get_newest_operations_of_pool", (pool,))
        try:
            async with self._reading:  # in a transaction that began before, the newest would be missing
                lines = await self._reader.execute_fetchall(SQL[query], (since, *which, limit))
            return list(operations(map(tuple, lines)))
        except UNREADABLE as error:
            raise self._said(error) from error

    async def reconcile(self) -> Sequence[str]:
        return await asyncio.to_thread(self._reconciled)

    async def prune(self, before: Micros) -> int:
        pruned, before = 0, min(before, self.now())
        while gone := await self._submit(lambda work: work.prune(before)):
            pruned += gone
        return pruned

    async def open(self) -> None:
        """Begin to write, and charge what the dead left behind."""
        self._writer.start("ledger writer")
        await self._reader.execute("PRAGMA wal_autocheckpoint = 0")
        self._on_lapsed(await self.recover())
        await self._view.refresh()
        ahead = self._view.time - self._now()
        if ahead > AHEAD:
            log.error(
                "ledger_ahead",
                seconds=ahead // SECOND,
                reason=f"{self._file.path} was written by a clock that far ahead of this one, and no window opens",
                hint="Set the clock right. If it is right, move the file away.",
            )

    async def close(self) -> None:
        """Write what is queued, then end. The last connection moves the log to the file, and must have the lock."""
        self._repeat()
        await self._reader.close()
        await self._writer.close()

    async def run(self, history: Micros) -> None:
        """What goes on beside the calls. Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in (self._view.run(), self._renew(), self._clean(), self._prune(history)):
                group.create_task(each)

    async def _renew(self) -> None:
        """Renew the leases of this process. Until cancelled."""
        while True:
            await asyncio.sleep(self._ttl / SECOND / 3)
            await _quietly(self._queue(LedgerWork.renew))

    async def _clean(self) -> None:
        """Write what could not be written, and charge what dead owners and lapsed leases hold. Until cancelled."""
        while True:
            await asyncio.sleep(JANITOR)
            self._repeat()
            charged = await _quietly(self._queue(LedgerWork.recover))
            if charged:
                self._on_lapsed(charged)
                log.warning("ledger_recovered", reservations=charged, reason="their owners ended or did not renew them")

    async def _prune(self, history: Micros) -> None:
        """Every night: forget what is older than `history`, and recompute every balance. Until cancelled."""
        wait = FIRST_NIGHT
        while True:
            await asyncio.sleep(wait)
            wait = NIGHT
            try:
                await self.prune(self.now() - history)
                for difference in await self.reconcile():
                    log.error("ledger_differs", difference=difference)
            except Exception as error:  # noqa: BLE001  # the next night may be better
                log.error("ledger_not_pruned", reason=str(error))

    def _submit(self, call: Callable[[LedgerWork], Answer]) -> "asyncio.Future[Answer]":
        try:
            return self._writer.submit(call)
        except NotWriting as error:
            refused: asyncio.Future[Answer] = self._loop.create_future()
            refused.set_exception(LedgerUnusable(f"{self._file.path}: {error}."))
            return refused

    def _end(self, attempt: Attempt, call: Callable[[LedgerWork], Answer]) -> "asyncio.Future[Answer]":
        """For what must not be lost: what could not be written is queued again. Said twice, it has one effect."""

        def ended(queued: "asyncio.Future[Answer]") -> None:
            if queued.cancelled() or isinstance(queued.exception(), LedgerUnusable):  # who has left does not hear more
                self._owed[attempt] = call

        queued = self._queue(call)
        queued.add_done_callback(ended)
        return queued

    def _repeat(self) -> None:
        """Queue what is owed again."""
        owed, self._owed = self._owed, {}
        for attempt, call in owed.items():
            self._end(attempt, call)

    def _queue(self, call: Callable[[LedgerWork], Answer]) -> "asyncio.Future[Answer]":
        """For what nobody may await: a failure is said here, once until it works again."""
        queued = self._submit(call)
        queued.add_done_callback(self._noted)
        return queued

    def _noted(self, queued: "asyncio.Future[Answer]") -> None:
        error = None if queued.cancelled() else queued.exception()
        reason = str(error or "")
        if reason and reason != self._failing:
            log.error("ledger_not_written", reason=reason)
        self._failing = reason

    def _said(self, error: Exception) -> Exception:
        """The error that callers hear."""
        if isinstance(error, FileUnusable):
            return LedgerUnusable(f"{self._file.path}: {error}")
        if isinstance(error, (*UNREADABLE, OSError, StillLocked)):
            return LedgerUnusable(trouble(self._file.path, error))
        return error

    def _publish(self, news: Sequence[Rows]) -> None:
        """Called in the writer's thread, before it answers: who was answered sees it."""
        self._loop.call_soon_threadsafe(self._view.show, news)

    async def _read(self, since: int) -> Rows:
        try:
            async with self._reading:
                await self._reader.execute("BEGIN")
                try:
                    return told([map(tuple, await self._reader.execute_fetchall(*each)) for each in asked(since)])
                finally:
                    await self._reader.execute("ROLLBACK")
        except UNREADABLE as error:
            raise self._said(error) from error

    def _reconciled(self) -> Sequence[str]:
        try:
            with closing(sqlite3.connect(self._file.reading, uri=True, timeout=BUSY, isolation_level=None)) as database:
                database.execute("BEGIN")
                return differences(
                    balances(operations(database.execute(SQL["get_operations"]))),
                    [pool_row(line) for line in database.execute(SQL["get_pools"], (-1,))],
                    [Bucket(*line) for line in database.execute(SQL["get_all_buckets"])],
                    open_ones(database),
                    database.execute(SQL["get_pruned"]).fetchone()[0],
                )
        except UNREADABLE as error:
            raise self._said(error) from error


async def _quietly(queued: Awaitable[Answer]) -> Answer | None:
    """Its answer; None when it failed, which is said already. Whatever it was, the next time may be better."""
    try:
        return await queued
    except Exception:  # noqa: BLE001  # without this, one failure would end the renewal of all leases
        return None


def needs_our_lock(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether this SQLite may break a file that others write to at the same instant without the lock that we take.

    sqlite.org/wal.html, "The WAL-reset bug": in 3.7.0 to 3.51.2.
    """
    return (3, 7, 0) <= version < (3, 51, 3)


@asynccontextmanager
async def opened(
    path: Path,
    *,
    synchronous: Synchronous = "full",
    ttl: Micros = TTL,
    history: Micros = 35 * DAY,
    now: Callable[[], Micros] | None = None,
    at: Callable[[str], None] = nowhere,
    on_lapsed: Callable[[int], None] = lambda _: None,
) -> AsyncIterator[SqliteLedger]:
    """The ledger in that file, made if it is not there; leaving writes what is queued. Raises LedgerUnusable.

    `history` is how long operations are kept, `now` the time. `on_lapsed` hears how many reservations were charged in
    full because their owners were gone. `at` is for tests: see quota/writer.py.
    """
    file = ledger_file(path, synchronous)
    try:
        await asyncio.to_thread(file.prepare)
    except FileUnusable as error:
        raise LedgerUnusable(str(error)) from error
    reader = await aiosqlite.connect(file.reading, uri=True, timeout=BUSY, isolation_level=None)
    ledger = SqliteLedger(
        file=file, reader=reader, now=now or Clock().now, owner=Owner.here(), ttl=ttl, at=at, on_lapsed=on_lapsed
    )
    try:
        await ledger.open()
        task = asyncio.create_task(ledger.run(history), name="ledger")
        try:
            yield ledger
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    finally:
        await ledger.close()
