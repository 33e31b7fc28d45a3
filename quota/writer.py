"""The one thread of a process that writes to a SQLite file: calls that wait share one transaction.

    submit ─▸ queue ─▸ lock ─ BEGIN IMMEDIATE ─ begin, each call, end ─ COMMIT ─ unlock ─▸ the waiters' answers

An answer is given when its transaction is on the disk, so the price of a sync is shared by all who wait for it. The
lock (quota/file_lock.py) is held around transactions and checkpoints: SQLite checkpoints inside COMMIT.

An exception rolls all back, and each call then has a transaction of its own: only the guilty one fails. What cannot
begin fails for all of them.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from quota.file_lock import FileLock

State = TypeVar("State")
State_co = TypeVar("State_co", covariant=True)
Answer = TypeVar("Answer")
BATCH = 256  # calls in one transaction at most


class NotWriting(Exception):
    """There is no thread that would do it: it was closed, or stayed behind in the process that forked this one."""


class Work(Protocol[State_co]):
    """What calls work on, and how that reaches the file. All of it runs in the writer's thread, under the lock."""

    def begin(self, database: sqlite3.Connection, calls: Sequence[object]) -> State_co:
        """In a transaction, before its calls: what they are given."""

    def end(self, database: sqlite3.Connection) -> None:
        """In the transaction, after its calls: write what they changed."""

    def committed(self, database: sqlite3.Connection) -> None:
        """It is on the disk; the waiters are told next. Does not raise."""

    def rolled_back(self) -> None:
        """Nothing of it happened: whatever memory keeps of it is wrong. Does not raise."""


class _Job(Generic[State]):
    """One call, who waits for it, and what came of it."""

    __slots__ = ("answer", "call", "error", "waiter")

    def __init__(self, call: Callable[[State], Any], waiter: "asyncio.Future[Any]") -> None:
        self.call = call
        self.waiter = waiter
        self.answer: Any = None
        self.error: Exception | None = None


def nowhere(point: str) -> None:
    """No fault is planted."""


def as_it_is(error: Exception) -> Exception:
    """Errors are told as they come."""
    return error


class Writer(Generic[State]):
    """Belongs to the event loop that starts it. `connect` opens the file to write, in the writer's thread.

    `at` is called at each named point of a transaction (locked, begun, called, written, committed, answered), so that
    a test can stop there. `said` makes the error that a waiter hears.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], sqlite3.Connection],
        lock: FileLock,
        work: Work[State],
        at: Callable[[str], None] = nowhere,
        said: Callable[[Exception], Exception] = as_it_is,
    ) -> None:
        self._connect = connect
        self._lock = lock
        self._work = work
        self._at = at
        self._said = said
        self._queue: SimpleQueue[_Job[State] | None] = SimpleQueue()
        self._database: sqlite3.Connection | None = None
        self._process = 0
        self._begun = False  # the last transaction
        self._closing = False
        self._drained = False  # the thread has seen that it is closing

    def start(self, name: str) -> None:
        """Begin to write; the thread has this name."""
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._process = os.getpid()
        # A daemon: who ends without close is as if it were killed, which the file survives.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[State], Answer]) -> "asyncio.Future[Answer]":
        """Queue a call. Its answer comes when it is on the disk; it is done also if nobody waits for it any more.

        Raises NotWriting.
        """
        if self._closing or self._process != os.getpid():
            raise NotWriting("closed" if self._closing else "this process was forked from the one that writes")
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.put(_Job(call, waiter))
        return waiter

    async def close(self) -> None:
        """Write what waits, then end. The last checkpoint is under the lock, too."""
        if self._process == os.getpid():
            if not self._closing:
                self._closing = True
                self._queue.put(None)
            await self._ended.wait()
            self._thread.join()  # it has nothing left to do

    def _run(self) -> None:
        while not self._drained:
            jobs = self._more(self._queue.get())
            if jobs:
                self._write(jobs)
                self._tell(self._answer, jobs)
                self._at("answered")
        try:
            with self._lock:
                self._disconnect()
        except Exception:  # noqa: BLE001  # nothing is lost: the next one to open the file takes the log over
            self._database = None
        self._lock.close()
        self._tell(self._ended.set)

    def _more(self, first: _Job[State] | None, room: int = BATCH) -> list[_Job[State]]:
        """This job, and those that wait behind it."""
        jobs, job = [], first
        with suppress(Empty):
            while True:
                if job is None:
                    self._drained = True
                    break
                jobs.append(job)
                if len(jobs) >= room:
                    break
                job = self._queue.get_nowait()
        return jobs

    def _write(self, jobs: list[_Job[State]]) -> None:
        """All of them in one transaction, and those that came while the lock was awaited."""
        try:
            with self._lock:
                self._at("locked")
                if len(jobs) < BATCH and not self._drained:
                    with suppress(Empty):
                        jobs += self._more(self._queue.get_nowait(), BATCH - len(jobs))
                try:
                    self._transact(jobs)
                except Exception as error:  # noqa: BLE001  # whatever it is, its waiter hears it
                    if len(jobs) > 1 and self._begun:
                        for job in jobs:
                            self._alone(job)
                        return
                    for job in jobs:  # nobody is guilty of what never began, such as a file that somebody else holds
                        job.error = self._said(error)
        except Exception as error:  # noqa: BLE001  # no lock, no file
            for job in jobs:
                job.error = self._said(error)

    def _alone(self, job: _Job[State]) -> None:
        try:
            self._transact([job])
        except Exception as error:  # noqa: BLE001  # whatever it is, its waiter hears it
            job.error = self._said(error)

    def _transact(self, jobs: Sequence[_Job[State]]) -> None:
        self._begun = False
        database = self._database = self._database or self._connect()
        try:
            database.execute("BEGIN IMMEDIATE")
            self._begun = True
            self._at("begun")
            state = self._work.begin(database, [job.call for job in jobs])
            for job in jobs:
                job.answer = job.call(state)
                self._at("called")
            self._work.end(database)
            self._at("written")
            database.execute("COMMIT")
        except BaseException:
            self._work.rolled_back()
            self._roll_back(database)
            raise
        self._at("committed")
        self._work.committed(database)

    def _roll_back(self, database: sqlite3.Connection) -> None:
        """As before; after a disk that failed in earnest, with a connection of which nothing is known but the file."""
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database:
            with suppress(sqlite3.Error):
                database.close()

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody waits
            self._loop.call_soon_threadsafe(what, *arguments)

    @staticmethod
    def _answer(jobs: Sequence[_Job[State]]) -> None:
        for job in jobs:
            if job.waiter.done():  # who waited has left
                continue
            if job.error is not None:
                job.waiter.set_exception(job.error)
            else:
                job.waiter.set_result(job.answer)
