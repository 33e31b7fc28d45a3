"""The file itself: whose it is, how it becomes newer, and what is said when it cannot be used."""

import errno
import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from quota.sql import ROWS, run
from quota.sqlite_file import FileUnusable, SqliteFile, trouble
from quota.sqlite_rows import MIGRATIONS, SQL, ledger_file

QUERIES = {"one": "CREATE TABLE note (text TEXT NOT NULL) STRICT", "two": "ALTER TABLE note ADD COLUMN at INTEGER"}
BROKEN = {**QUERIES, "two": "ALTER TABLE note ADD COLUMN more INTEGER", "bad": "ALTER TABLE nothing RENAME TO other"}


def file(path: Path, *versions: tuple[str, ...], queries: dict[str, str] | None = None) -> SqliteFile:
    return SqliteFile(path, queries=queries or QUERIES, migrations=versions)


def columns(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [name for _, name, *_ in database.execute("PRAGMA table_info(note)")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


def test_it_is_its_owners_alone_and_so_is_what_stands_beside_it(path: Path) -> None:
    path.touch(0o644)
    made = file(path, ("one",))
    made.prepare()
    with made.lock(), closing(made.writing()) as database:
        database.execute("INSERT INTO note VALUES ('a')")
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert "notes.db-wal" in modes
    assert set(modes.values()) == {0o600}


def test_what_is_answered_is_synced(path: Path) -> None:
    for synchronous, number in (("full", 2), ("normal", 1)):
        made = SqliteFile(path, queries=QUERIES, migrations=[("one",)], synchronous=synchronous)
        made.prepare()
        with closing(made.writing()) as database:
            assert database.execute("PRAGMA synchronous").fetchone() == (number,)
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_older_file_is_copied_and_then_made_newer(path: Path) -> None:
    first = file(path, ("one",))
    first.prepare()
    with closing(first.writing()) as database:
        database.execute("INSERT INTO note VALUES ('kept')")
    file(path, ("one",), ("two",)).prepare()
    assert columns(path) == ["text", "at"]
    copy = path.with_name("notes.db.schema-1")
    assert columns(copy) == ["text"]
    assert copy.stat().st_mode & 0o777 == 0o600
    for each in (path, copy):
        with closing(sqlite3.connect(each)) as database:
            assert [text for text, *_ in database.execute("SELECT * FROM note")] == ["kept"]
    copy.unlink()
    file(path, ("one",), ("two",)).prepare()
    assert not copy.exists(), "nothing to make newer, nothing to copy"


def test_a_migration_is_whole_or_not_at_all(path: Path) -> None:
    file(path, ("one",)).prepare()
    broken = file(path, ("one",), ("two", "bad"), queries=BROKEN)
    with pytest.raises(FileUnusable):
        broken.prepare()
    assert columns(path) == ["text"]
    file(path, ("one",), ("two",)).prepare()
    assert columns(path) == ["text", "at"]


def test_a_newer_file_is_left_as_it_is(path: Path) -> None:
    file(path, ("one",), ("two",)).prepare()
    before = path.read_bytes()
    with pytest.raises(FileUnusable, match=r"newer Streamlane \(schema 2, this one knows 1\)"):
        file(path, ("one",)).prepare()
    assert path.read_bytes() == before


def test_no_sqlite_file(path: Path) -> None:
    path.write_bytes(b"nothing that SQLite wrote " * 1000)
    with pytest.raises(FileUnusable, match=r"no SQLite file.*Move it away"):
        file(path, ("one",)).prepare()


def test_a_folder_is_in_the_way(path: Path) -> None:
    path.mkdir()
    with pytest.raises(FileUnusable, match="Give this user the right"):
        file(path, ("one",)).prepare()


def test_a_file_system_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(FileUnusable, match="local disk"):
        file(path, ("one",)).prepare()


def test_a_full_disk(path: Path) -> None:
    made = file(path, ("one",))
    made.prepare()
    with closing(made.writing()) as database:
        database.execute("PRAGMA max_page_count = 4")
        with pytest.raises(sqlite3.OperationalError) as full:
            database.execute("INSERT INTO note VALUES (?)", ("x" * 100_000,))
    assert trouble(path, full.value) == f"{path}: the disk is full. Make room; nothing that was answered is lost."
    assert "disk is full" in trouble(path, OSError(errno.ENOSPC, "No space left on device"))


def test_a_file_that_cannot_be_written(path: Path) -> None:
    made = file(path, ("one",))
    made.prepare()
    with closing(sqlite3.connect(made.reading, uri=True)) as database, pytest.raises(sqlite3.Error) as refused:
        database.execute("INSERT INTO note VALUES ('a')")
    assert "cannot be written" in trouble(path, refused.value)


@pytest.mark.parametrize("rows", [0, 1, ROWS - 1, ROWS, 2 * ROWS + 3])
def test_many_rows_are_written_by_few_statements(rows: int) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute("CREATE TABLE pair (a INTEGER PRIMARY KEY, b TEXT)")
        statements: list[str] = []
        database.set_trace_callback(statements.append)
        query = "INSERT INTO pair (a, b) VALUES (?, ?) ON CONFLICT DO UPDATE SET b = excluded.b;"
        lines = [(number, f"text {number}") for number in range(rows)]
        run(database, query, lines)
        assert len(statements) <= 9
        run(database, query, [(number, "new") for number, _ in lines[:2]])
        database.set_trace_callback(None)
        found = database.execute("SELECT a, b FROM pair").fetchall()
    assert found == [(number, "new" if number < 2 else text) for number, text in lines]


def test_history_is_append_only(path: Path) -> None:
    made = ledger_file(path, "normal")
    made.prepare()
    with closing(made.writing()) as database:
        run(database, SQL["put_operation"], [(seq, 0, "define", None, None, "", "", "{}") for seq in (1, 2)])
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            database.execute("UPDATE operation SET at = 1")
        with pytest.raises(sqlite3.IntegrityError, match="only ever pruned"):
            database.execute("DELETE FROM operation WHERE seq = 1")
        with pytest.raises(sqlite3.IntegrityError):
            run(database, SQL["put_operation"], [(1, 9, "define", None, None, "", "", "{}")])
        assert database.execute("SELECT count(*), sum(at) FROM operation").fetchone() == (2, 0)


def test_the_tables_take_no_nonsense(path: Path) -> None:
    made = ledger_file(path, "normal")
    made.prepare()
    with closing(made.writing()) as database:
        for nonsense in (
            "INSERT INTO bucket VALUES ('a', 0, 5, 65, -1, 1)",
            "INSERT INTO bucket VALUES ('a', 5, 5, 65, 1, 1)",
            "INSERT INTO bucket VALUES ('a', 0, 5, 65, 1.5, 1)",
            "INSERT INTO mark VALUES (2, 0, 0, 0, 0)",
            "INSERT INTO operation VALUES (1, 'today', 'define', NULL, NULL, '', '', '{}')",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(nonsense)


def test_every_query_has_its_name_and_its_line() -> None:
    assert {name for names in MIGRATIONS for name in names} <= set(SQL)
    assert all(text.startswith("-- ") and text.endswith(";") for text in SQL.values())


def test_no_query_of_a_transaction_reads_a_table_that_grows(path: Path) -> None:
    made = ledger_file(path, "normal")
    made.prepare()
    with closing(made.writing()) as database:
        since = {"get_ended_since", "get_buckets_since", "get_shares_since"}
        for name in since | {"get_reservations", "get_buckets", "get_shares", "get_open", "has_bucket"}:
            values = [1] * SQL[name].count("?")
            plan = database.execute(f"EXPLAIN QUERY PLAN {SQL[name]}", values).fetchall()
            grow = ("SCAN reservation", "SCAN operation", "SCAN bucket", "SCAN share")
            scans = [step for *_, step in plan if step.startswith(grow) and "open_reservation" not in step]
            assert not scans, name
            assert name not in since or "seq>?" in str(plan) or "rowid>?" in str(plan), "only what is new"
