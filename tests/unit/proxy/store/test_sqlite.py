"""The file behind the store: what outlives the process, a crash and a bad disk, and who may read it."""

import asyncio
import re
import signal
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from proxy.errors import StoreFailed
from proxy.store.memory import MemoryStore
from proxy.store.port import OVERHEAD, Row
from proxy.store.sqlite import Delete, SqliteStore
from proxy.store.sqlite_file import MIGRATIONS, StoreUnusable, prepare, queries
from tests.streamlane_db import opened
from tests.upstream import until

ROOM = 1024 * 1024
ROOT = Path(__file__).parents[4]


def memory(size: int = 0) -> MemoryStore:
    return MemoryStore(size, lambda: 1000)


def row(name: str, principal: str = "me", expires: float = 2000, body: bytes = b"text") -> Row:
    return Row(name, principal, None, expires, body)


def ids(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {name for (name,) in database.execute("SELECT id FROM responses")}


async def test_responses_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        for number in range(100):
            store.remember(row(f"resp_{number}"))
    async with opened(path, memory(ROOM), ROOM, lambda: 1000) as store:
        assert await store.get("resp_99", "me") == row("resp_99")
        assert store.size == row("resp_99").size, "what was read is held for the next time"
        assert await store.get("resp_99", "other") is None
        assert await store.delete_all("me") == 100
    assert ids(path) == set()


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    path.touch(0o644)
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        store.remember(row("resp_1"))
        await store.delete("none", "me")  # a group was written
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes
    assert set(modes.values()) == {0o600}


async def test_what_was_deleted_is_not_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        store.remember(row("resp_1", body=b"a secret between us"))
        await store.delete("none", "me")
        assert b"a secret between us" in path.read_bytes() + read(tmp_path / "streamlane.db-wal")
        assert await store.delete("resp_1", "me")
    assert b"a secret" not in path.read_bytes()


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


async def test_what_is_past_its_time_leaves_the_file_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        store.remember(row("resp_old", expires=1500))
        store.remember(row("resp_new", expires=2500))
    async with opened(path, memory(), ROOM, lambda: 2000):
        pass
    assert ids(path) == {"resp_new"}


async def test_a_full_queue_loses_the_newest_from_the_file_alone_and_counts_it(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(ROOM), 3 * (4 + OVERHEAD), lambda: 1000) as store:
        for number in range(5):  # without a chance to write in between
            store.remember(row(f"resp_{number}"))
        assert store.lost == 2
        assert await store.get("resp_4", "me") == row("resp_4")
        await store.delete("none", "me")
        assert store.unwritten == 0
        store.remember(row("resp_5"))
    assert ids(path) == {"resp_0", "resp_1", "resp_2", "resp_5"}


async def test_a_disk_that_fails_costs_the_file_and_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(ROOM), ROOM, lambda: 1000) as store:
        await store.delete("none", "me")
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE responses RENAME TO hidden")
        store.remember(row("resp_1"))
        with pytest.raises(StoreFailed):
            await store.delete("none", "me")
        assert (store.lost, store.unwritten) == (1, 0)
        assert await store.get("resp_1", "me") == row("resp_1")
        assert await store.get("resp_2", "me") is None
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE hidden RENAME TO responses")
        store.remember(row("resp_3"))
    assert ids(path) == {"resp_3"}


async def test_whatever_the_writer_fails_with_the_next_group_is_written() -> None:
    failing: list[Exception] = [MemoryError(), sqlite3.OperationalError()]
    written: list[str] = []

    async def writer(deletes: Sequence[Delete], rows: Sequence[Row], _: float | None) -> list[int]:
        if failing and rows:
            raise failing.pop()
        written.extend(each.id for each in rows)
        return [0] * len(deletes)

    async with aiosqlite.connect(":memory:") as reader:
        store = SqliteStore(memory=memory(), reader=reader, writer=writer, queue_bytes=ROOM, now=lambda: 1000)
        task = asyncio.create_task(store.run())
        for number in range(3):
            store.remember(row(f"resp_{number}"))
            await until(lambda: store.unwritten == 0 or task.done())
        store.close()
        await task
    assert (written, store.lost) == (["resp_2"], 2)


async def test_a_delete_reaches_what_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        for turns in range(30):  # of the loop, so that the delete comes in every moment of a group's way
            name = f"resp_{turns}"
            store.remember(row(name))
            for _ in range(turns):
                await asyncio.sleep(0)
            assert await store.delete(name, "me")
            assert await store.get(name, "me") is None
    assert ids(path) == set()


async def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    prepare(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="newer Streamlane"):
        async with opened(path, memory(), ROOM, lambda: 1000):
            pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("what", ["rubbish", "folder"])
async def test_a_file_that_cannot_be_used_says_what_to_do(what: str, tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreUnusable, match="persist = false"):
        async with opened(path, memory(), ROOM, lambda: 1000):
            pass


async def test_what_was_deleted_is_gone_also_while_the_gateway_runs(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    async with opened(path, memory(), ROOM, lambda: 1000) as store:
        store.remember(row("resp_1", body=b"a secret between us"))
        assert await store.delete("resp_1", "me")  # written or not yet
        store.remember(row("resp_2", body=b"a secret between us"))
        await store.delete("none", "me")
        assert await store.delete("resp_2", "me")
        assert b"a secret" not in path.read_bytes() + read(tmp_path / "streamlane.db-wal")


def test_every_query_has_its_name_and_its_line() -> None:
    assert {"get_response", "put_response", *(name for names in MIGRATIONS for name in names)} <= set(queries())
    assert all(text.startswith("-- ") and text.endswith(";") for text in queries().values())


CRASHING = """
import asyncio, sys
from pathlib import Path
from proxy.store.memory import MemoryStore
from proxy.store.port import Row
from tests.streamlane_db import opened

async def main():
    async with opened(Path(sys.argv[1]), MemoryStore(0, lambda: 1000), 1 << 30, lambda: 1000) as store:
        group = 0
        while True:
            for number in range(10):
                store.remember(Row(f"resp_{group}_{number}", "me", None, 2000, b"x" * 2000))
            await store.delete("none", "me")  # waits for the group
            print("group", group, flush=True)
            group += 1

asyncio.run(main())
"""


def told(output: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^group (\d+)$", output, re.MULTILINE)]


async def test_kill_9_loses_at_most_the_group_that_was_not_committed(tmp_path: Path) -> None:
    path = tmp_path / "streamlane.db"
    for crash in range(3):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CRASHING, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        committed = -1
        while committed < 3 + 7 * crash:
            committed = max([committed, *told(await child.stdout.readline())])
        child.send_signal(signal.SIGKILL)
        committed = max([committed, *told(await child.stdout.read())])
        await child.wait()
        prepare(path)  # as the next start does
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        groups = [0] * (committed + 2)
        for name in ids(path):
            group = int(name.split("_")[1])
            assert group <= committed + 1
            groups[group] += 1
        assert groups[:-1] == [10] * (committed + 1), "a group that was told of is whole"
        assert groups[-1] in (0, 10), "the last one is whole or not there"
        path.unlink()
