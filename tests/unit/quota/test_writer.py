"""The writer's thread: what shares a transaction, who hears of a failure, and what outlives whom."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path

import pytest

from quota.file_lock import FileLock, StillLocked
from quota.writer import BATCH, NotWriting, Writer, nowhere


class Notes:
    """Writes numbers to one table; remembers what a transaction was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.lost = 0
        self.fail_end: list[Exception] = []

    def begin(self, database: sqlite3.Connection, calls: Sequence[object]) -> "Notes":
        self.database = database
        self.held: list[int] = []
        return self

    def add(self, number: int) -> int:
        if number < 0:
            raise ValueError(number)
        self.held.append(number)
        return number * 2

    def end(self, database: sqlite3.Connection) -> None:
        if self.fail_end:
            raise self.fail_end.pop()
        database.executemany("INSERT INTO note VALUES (?)", [(number,) for number in self.held])

    def committed(self, database: sqlite3.Connection) -> None:
        assert not database.in_transaction
        self.sizes.append(len(self.held))

    def rolled_back(self) -> None:
        self.lost += 1


def adding(number: int) -> Callable[[Notes], int]:
    return lambda notes: notes.add(number)


class Gate:
    """A fault point where the thread waits until it is let through."""

    def __init__(self, point: str) -> None:
        self.point = point
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.reached.set()
            assert self.open.wait(60)


def connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE IF NOT EXISTS note (number INTEGER PRIMARY KEY)")
    return database


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [number for (number,) in database.execute("SELECT number FROM note ORDER BY number")]


@asynccontextmanager
async def writing(
    path: Path, notes: Notes, at: Callable[[str], None] = nowhere, patience: float = 60
) -> AsyncIterator[Writer[Notes]]:
    lock = FileLock(path.with_name("lock"), patience)
    writer: Writer[Notes] = Writer(connect=lambda: connect(path), lock=lock, work=notes, at=at)
    writer.start("notes writer")
    try:
        yield writer
    finally:
        await writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


async def test_an_answer_is_given_when_it_is_on_the_disk(path: Path) -> None:
    async with writing(path, Notes()) as writer:
        assert await writer.submit(adding(7)) == 14
        assert numbers(path) == [7]


async def test_what_waits_shares_a_transaction_and_no_transaction_is_endless(path: Path) -> None:
    notes, gate = Notes(), Gate("begun")
    async with writing(path, notes, gate) as writer:
        first = writer.submit(adding(0))
        await asyncio.to_thread(gate.reached.wait, 60)
        others = [writer.submit(adding(number)) for number in range(1, 2 * BATCH + 11)]
        gate.open.set()
        assert await asyncio.gather(first, *others) == [number * 2 for number in range(2 * BATCH + 11)]
    assert notes.sizes == [1, BATCH, BATCH, 10]
    assert numbers(path) == list(range(2 * BATCH + 11))


async def test_only_the_guilty_call_fails(path: Path) -> None:
    notes, gate = Notes(), Gate("begun")
    async with writing(path, notes, gate) as writer:
        first = writer.submit(adding(100))
        await asyncio.to_thread(gate.reached.wait, 60)
        waiting = [writer.submit(adding(number)) for number in (1, 2, -3, 100, 5)]
        gate.open.set()
        assert await first == 200
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert answers[:2] == [2, 4]
        assert isinstance(answers[2], ValueError)
        assert isinstance(answers[3], sqlite3.IntegrityError), "it is there already"
        assert answers[4] == 10
        assert await writer.submit(adding(6)) == 12
    assert numbers(path) == [1, 2, 5, 6, 100]


async def test_after_a_failure_memory_is_told_before_anything_else_happens(path: Path) -> None:
    notes = Notes()
    async with writing(path, notes) as writer:
        notes.fail_end = [sqlite3.OperationalError("disk I/O error")]
        with pytest.raises(sqlite3.OperationalError):
            await writer.submit(adding(1))
        assert notes.lost == 1
        assert await writer.submit(adding(1)) == 2
    assert numbers(path) == [1]


async def test_who_leaves_breaks_nothing(path: Path) -> None:
    gate = Gate("called")
    async with writing(path, Notes(), gate) as writer:
        task = asyncio.ensure_future(writer.submit(adding(1)))
        await asyncio.to_thread(gate.reached.wait, 60)
        task.cancel()
        second = writer.submit(adding(2))
        gate.open.set()
        assert await second == 4
        assert task.cancelled()
    assert numbers(path) == [1, 2], "what a call began is done"


async def test_closing_writes_what_waits_and_then_takes_nothing(path: Path) -> None:
    notes = Notes()
    async with writing(path, notes) as writer:
        waiting = [writer.submit(adding(number)) for number in range(1000)]
        await writer.close()
        assert all(each.done() for each in waiting)
        with pytest.raises(NotWriting, match="closed"):
            writer.submit(adding(1))
        await writer.close()  # again: nothing
    assert numbers(path) == list(range(1000))
    assert not path.with_name("notes.db-wal").exists(), "the last one to close moves the log to the file"


async def test_two_writers_take_turns(path: Path) -> None:
    one, two = Notes(), Notes()
    async with writing(path, one) as first, writing(path, two) as second:
        waiting = [(first, second)[number % 2].submit(adding(number)) for number in range(500)]
        await asyncio.gather(*waiting)
    assert numbers(path) == list(range(500))
    assert one.lost == two.lost == 0, "nobody ever met a locked file"


async def test_a_lock_that_is_not_given_back_is_an_error_and_not_a_hang(path: Path) -> None:
    async with writing(path, Notes(), patience=0.05) as writer:
        await writer.submit(adding(1))
        with FileLock(path.with_name("lock")):
            with pytest.raises(StillLocked, match=r"has held .*lock for 0.05 s"):
                await writer.submit(adding(2))
        assert await writer.submit(adding(3)) == 6
    assert numbers(path) == [1, 3]


async def test_a_file_that_cannot_be_opened_is_told_and_tried_again(path: Path) -> None:
    path.mkdir()
    async with writing(path, Notes()) as writer:
        with pytest.raises(sqlite3.OperationalError):
            await writer.submit(adding(1))
        path.rmdir()
        assert await writer.submit(adding(2)) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # it is what is tested
async def test_in_a_forked_process_it_refuses(path: Path) -> None:
    async with writing(path, Notes()) as writer:
        await writer.submit(adding(1))
        child = os.fork()
        if not child:  # only what cannot hang: another thread may have held any lock
            try:
                writer.submit(adding(2))
            except NotWriting:
                os._exit(0)
            os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await writer.submit(adding(3)) == 6
    assert numbers(path) == [1, 3]


def test_a_program_that_was_started_meanwhile_does_not_keep_the_lock(path: Path) -> None:
    lock = FileLock(path, 60)
    lock.__enter__()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.close()  # as the kernel does when its holder dies
        with FileLock(path, 30):  # once the child runs its own program
            assert child.poll() is None
        child.communicate(b"\n")


def test_who_gives_the_lock_back_comes_last(path: Path) -> None:
    """Three threads that always want it get it in turns: nobody twice while another waits."""
    took: list[int] = []
    ready = threading.Barrier(3)

    def work(name: int) -> None:
        lock = FileLock(path, 60)
        ready.wait(60)
        for _ in range(20):
            with lock:
                took.append(name)
                queued = time.monotonic() + 0.005  # as long as a transaction: the others come to wait meanwhile
                while time.monotonic() < queued:
                    time.sleep(0.001)
        lock.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(took) == 60
    twice = sum(one == other for one, other in pairwise(took))
    assert twice < 15, "a third at random would be twenty, and without a queue nearly all"


async def test_the_points_are_passed_in_order(path: Path) -> None:
    points: list[str] = []
    async with writing(path, Notes(), points.append) as writer:
        await writer.submit(adding(1))
    assert points == ["locked", "begun", "called", "written", "committed", "answered"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_a_lock_that_cannot_be_opened_keeps_no_files_behind(path: Path) -> None:
    path.with_name(f"{path.name}-2").mkdir(parents=True)
    lock = FileLock(path, 60)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(OSError, match="directory"):
            lock.__enter__()
    lock.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
