"""A SQLite file of ours: made for its owner alone, brought to its newest schema, opened; and what is wrong with it."""

import errno
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from msgspec import DecodeError

from quota.file_lock import FileLock, StillLocked

Synchronous: TypeAlias = Literal["full", "normal"]
"""full: what was answered survives a loss of power. normal: it survives kill -9, and power may cost the last second."""

BUSY = 5.0  # seconds that a connection waits for another program that holds the file, such as a shell
CHECKPOINT = 4000  # pages in the log before a COMMIT moves them to the file
OLDEST = (3, 37, 0)  # the first SQLite with STRICT tables

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileUnusable(Exception):
    """The file cannot be used. Says why, and what to do."""


class SqliteFile:
    """One file, its lock, and its schema: `migrations` are the queries that lead from each version to the next, only
    ever added to, by their names in `queries`.
    """

    def __init__(
        self,
        path: Path,
        *,
        queries: Mapping[str, str],
        migrations: Sequence[Sequence[str]],
        synchronous: Synchronous = "full",
        pragmas: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._queries = queries
        self._migrations = migrations
        self._pragmas = {"synchronous": synchronous, "foreign_keys": "ON", **(pragmas or {})}

    def lock(self) -> FileLock:
        """A lock of the file's writers, for one thread."""
        return FileLock(self.path.with_name(f"{self.path.name}-lock"))

    def prepare(self) -> None:
        """Make the file, or bring it to the newest schema. Blocks. Raises FileUnusable."""
        lock = self.lock()
        try:
            if sqlite3.sqlite_version_info < OLDEST:
                raise FileUnusable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 or newer is needed.")
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self.path.chmod(0o600)
            with lock, closing(self._opened()) as database:
                # Readers do not wait for the writer, nor it for them, and a commit is one sync.
                mode = database.execute("PRAGMA journal_mode = wal").fetchone()[0]
                if mode != "wal":
                    raise FileUnusable(f"{self.path}: {NETWORK}")
                self._migrate(database)
        except (sqlite3.Error, OSError, StillLocked) as error:
            raise FileUnusable(trouble(self.path, error)) from error
        finally:
            lock.close()

    def writing(self) -> sqlite3.Connection:
        """A connection to write by, in the thread that calls this."""
        database = self._opened()
        for name, value in {**self._pragmas, "wal_autocheckpoint": str(CHECKPOINT)}.items():
            database.execute(f"PRAGMA {name} = {value}")
        return database

    @property
    def reading(self) -> str:
        """The URI of a connection to read by. It never checkpoints: mode=ro."""
        return f"{self.path.absolute().as_uri()}?mode=ro"

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, cached_statements=256)

    def _migrate(self, database: sqlite3.Connection) -> None:
        newest = len(self._migrations)
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
        if version > newest:
            raise FileUnusable(
                f"{self.path} was written by a newer Streamlane (schema {version}, this one knows {newest}). "
                "Update Streamlane, or move the file away."
            )
        if 0 < version < newest:
            self._back_up(database, version)
        for number in range(version, newest):
            database.execute("BEGIN IMMEDIATE")
            try:
                for name in self._migrations[number]:
                    database.execute(self._queries[name])
                database.execute(f"PRAGMA user_version = {number + 1}")
                database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    def _back_up(self, database: sqlite3.Connection, version: int) -> None:
        """A whole copy beside the file, under a name that says its version; complete or not there."""
        copy = self.path.with_name(f"{self.path.name}.schema-{version}")
        new = copy.with_name(f"{copy.name}.new")
        new.unlink(missing_ok=True)
        file = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            database.execute("VACUUM INTO ?", (str(new),))
            os.fsync(file)
        finally:
            os.close(file)
        new.replace(copy)


NETWORK = (
    "this file system has no locks or no shared memory, as network file systems often have not. "
    "Keep the file on a local disk (data_dir)."
)


def trouble(path: Path, error: Exception) -> str:
    """Why the file cannot be used, and what to do."""
    if isinstance(error, sqlite3.Error):
        what = _of_sqlite(error)
    elif isinstance(error, OSError):
        what = _of_system(error)
    elif isinstance(error, DecodeError):
        what = f"a row cannot be read ({error}). {DAMAGED}"
    else:
        what = f"{error}. If that process hangs, stop it."
    return f"{path}: {what}"


def _of_sqlite(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorname", "")  # errors of the Python module itself have none
    for begin, what in (
        ("SQLITE_FULL", "the disk is full. Make room; nothing that was answered is lost."),
        ("SQLITE_READONLY", "the file cannot be written. Give this user the right to its folder, too."),
        ("SQLITE_CORRUPT", f"{DAMAGED}"),
        ("SQLITE_NOTADB", f"it is no SQLite file. {DAMAGED}"),
        ("SQLITE_CANTOPEN", "it cannot be opened. Give this user the right to the file and its folder."),
        ("SQLITE_BUSY", "another program holds the file. Close shells and tools that have it open."),
        ("SQLITE_PROTOCOL", NETWORK),
        ("SQLITE_IOERR", f"the disk fails, or has no room for this user ({code}). Look at the system's log."),
    ):
        if code.startswith(begin):
            return what
    return f"{error} ({code or type(error).__name__})."


DAMAGED = "The file is damaged. Move it away, and with it its -wal and -shm; a copy from a backup can take its place."


def _of_system(error: OSError) -> str:
    if error.errno in NO_LOCKS:
        return NETWORK
    if error.errno in NO_ROOM:
        return "the disk is full. Make room; nothing that was answered is lost."
    return f"{error.strerror or error}. Give this user the right to the file and its folder."
