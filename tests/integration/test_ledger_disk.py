"""A ledger whose disk fails, is full, or belongs to somebody else: a clear sentence, no grant that is not on the disk.

Every write and sync of the ledger's files fails once, and for good, in a process of its own (tests/failing_writes.py).
Once the disk is whole the ledger is, too, and what could not be written is.
"""

import asyncio
import re
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from quota.clock import elapsed
from quota.ledger import Attempt, Granted, LedgerUnusable
from quota.pool import SECOND
from quota.sqlite_file import SqliteFile
from quota.sqlite_ledger import opened
from quota.sqlite_rows import MIGRATIONS, SQL
from tests.failing_writes import Disk
from tests.quota_nursery import Start, nursery
from tests.quota_worker import budget

pytestmark = [pytest.mark.needs("cc"), pytest.mark.skipif(sys.platform != "linux", reason="The shim is for Linux.")]
FULL = r"the disk is full\. Make room; nothing that was answered is lost\."
FAILS = r"the disk fails, or has no room for this user \(SQLITE_IOERR_\w+\)\. Look at the system's log\."


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "quota.db"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
async def start(disk: Disk) -> AsyncIterator[Start]:
    async with nursery("tests.quota_disk_worker", disk.environ) as starting:
        yield starting


@pytest.mark.parametrize(("error", "lasting"), [("EIO", False), ("ENOSPC", True)])
async def test_any_write_may_fail(start: Start, file: Path, error: str, lasting: bool) -> None:
    said = await (await start("sweep", file, error=error, lasting=lasting)).line()
    assert said is not None, "see its stderr"
    assert said["writes"] > 10
    check_sentences(said["told"], file, error)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("error", "lasting"), [("EIO", False), ("ENOSPC", True)])
async def test_any_write_may_fail_from_the_first_one_of_a_new_file(
    start: Start, tmp_path: Path, error: str, lasting: bool, step: int
) -> None:
    said = await (await start("opening", tmp_path, error=error, lasting=lasting, step=step)).line()
    assert said is not None, "see its stderr"
    assert said["writes"] > 10
    check_sentences(said["told"], "FILE", error)


def check_sentences(told: dict[str, int], file: object, error: str) -> None:
    """What people read names the file, what is wrong, and what to do."""
    assert told
    for sentence in told:
        assert re.fullmatch(f"{file}: ({FAILS}|{FULL})", sentence), sentence
    assert any(re.search(FULL, sentence) for sentence in told) == (error == "ENOSPC")


@pytest.mark.parametrize(("synchronous", "least", "most"), [("full", 20, 100), ("normal", 0, 3)])
async def test_every_answer_waits_for_its_sync(
    start: Start, file: Path, synchronous: str, least: int, most: int
) -> None:
    assert least <= await (await start("synced", file, synchronous=synchronous)).line() <= most


async def test_files_may_not_grow(start: Start, file: Path) -> None:
    """ulimit -f, or a user's share of the disk."""
    worker = await start("limited", file)
    assert re.fullmatch(f"{file}: ({FAILS}|{FULL})", await worker.line())
    assert await worker.line() == "works"


async def test_a_database_that_may_not_grow(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRAGMA max_page_count, until it is lifted."""
    connections: list[sqlite3.Connection] = []

    class Small(SqliteFile):
        def writing(self) -> sqlite3.Connection:
            connections.append(super().writing())
            return connections[-1]

    most = 60

    def at(point: str) -> None:  # in the writer's thread
        if point == "locked" and connections:
            connections[-1].execute(f"PRAGMA max_page_count = {most}")

    monkeypatch.setattr(
        "quota.sqlite_ledger.ledger_file", lambda path, _: Small(path, queries=SQL, migrations=MIGRATIONS)
    )
    monkeypatch.setattr("quota.sqlite_ledger.JANITOR", 0.02)
    async with opened(file, at=at) as ledger:
        await ledger.define([budget("requests", 10**6)])
        granted: list[Attempt] = []

        async def fill() -> None:
            for number in range(10_000):
                attempt = Attempt("x" * 200, number)
                await ledger.reserve(attempt, {"requests": 1})
                granted.append(attempt)

        with pytest.raises(LedgerUnusable, match=FULL):
            await fill()
        assert granted
        assert ledger.headroom()["requests"].reserved == len(granted)
        ending = [ledger.settle(attempt, {}) for attempt in granted]
        heard = await asyncio.gather(*ending, return_exceptions=True)
        assert any(isinstance(each, LedgerUnusable) for each in heard)
        most = 10_000
        async with asyncio.timeout(60):
            while ledger.headroom()["requests"].reserved:
                await asyncio.sleep(0.005)
        assert ledger.headroom()["requests"].used == len(granted)
        assert isinstance(await ledger.reserve(Attempt("after"), {"requests": 1}), Granted)
        assert await ledger.reconcile() == []


async def test_an_end_that_can_never_be_written_holds_nothing_for_ever(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is renewed no more, although its process lives: it lapses."""
    monkeypatch.setattr("quota.sqlite_ledger.JANITOR", 0.02)
    ahead = 0
    async with opened(file, ttl=3 * SECOND, now=lambda: elapsed() + ahead) as ledger:
        await ledger.define([budget("requests", 100)])
        await ledger.reserve(Attempt("cursed"), {"requests": 10})
        await ledger.reserve(Attempt("sound"), {"requests": 1})
        with closing(sqlite3.connect(file)) as database:
            database.execute(
                "CREATE TRIGGER curse BEFORE UPDATE ON reservation WHEN new.state = 'settled' "
                "AND new.request_id = 'cursed' BEGIN SELECT RAISE(ABORT, 'cursed'); END"
            )
        with pytest.raises(LedgerUnusable, match="cursed"):
            await ledger.settle(Attempt("cursed"), {"requests": 1})
        ahead = 4 * SECOND
        async with asyncio.timeout(30):
            while ledger.headroom()["requests"].used < 10:
                await asyncio.sleep(0.005)
        assert ledger.headroom()["requests"].reserved == 1, "what can be ended is still its own"
        assert await ledger.settle(Attempt("sound"), {}) is not None
        assert await ledger.reconcile() == []


async def test_who_may_only_read_it(start: Start) -> None:
    with tempfile.TemporaryDirectory() as folder:  # other users cannot enter pytest's own
        Path(folder).chmod(0o755)
        file = Path(folder) / "quota.db"
        async with opened(file):
            pass
        file.chmod(0o444)
        said = await (await start("as_a_stranger", file)).line()
    assert said == f"{file}: Permission denied. Give this user the right to the file and its folder."


async def test_a_shell_that_holds_the_file_delays_all_alike(
    start: Start, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota.sqlite_file.BUSY", 0.5)
    async with opened(file) as ledger:
        await ledger.define([budget("requests", 100)])
        await ledger.reserve(Attempt("held"), {"requests": 1})
        shell = await start("in_a_shell", file)
        assert await shell.line() == "held"
        began = asyncio.get_running_loop().time()
        asked = [ledger.reserve(Attempt(f"request-{number}"), {"requests": 1}) for number in range(40)]
        heard = await asyncio.gather(*asked, return_exceptions=True)
        took = asyncio.get_running_loop().time() - began
        assert {str(each) for each in heard} == {
            f"{file}: another program holds the file. Close shells and tools that have it open."
        }
        assert took < 10, "once or twice the patience with it, and not forty times"
        await shell.go()
        assert await shell.line() == "given back"
        assert isinstance(await ledger.reserve(Attempt("after"), {"requests": 1}), Granted)
        assert await ledger.settle(Attempt("held"), {}) is not None
        assert await ledger.reconcile() == []
