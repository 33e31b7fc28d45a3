"""One lock for all processes that write to one SQLite file: flock on a file beside it.

It makes WAL safe also below SQLite 3.51.3, where two connections that write or checkpoint at the same instant may
corrupt the file (sqlite.org/wal.html, "The WAL-reset bug"), and it is fair where SQLite's own lock is not. The kernel
gives it back when its holder dies.
"""

import errno
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform == "win32":
    import msvcrt

    def _take(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _give(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _take(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _give(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


PATIENCE = 10.0  # seconds; a holder that is alive gives it back after milliseconds
NAP = 0.0005  # seconds between two tries of the one who is next; of those behind it so many times more
PLACES = 3  # of those who wait and keep their order; who comes to a longer queue has no place in it yet
TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


class StillLocked(Exception):
    """Another process did not give the lock back in time."""


class FileLock:
    """Blocks the thread that enters it, at most `patience` seconds. One thread at a time.

    Who waits stands in a queue of locks, each behind the other: who has just given it back comes last.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self._paths = [path, *(path.with_name(f"{path.name}-{place}") for place in range(1, PLACES + 1))]
        self._patience = patience
        self._files: list[int] = []

    def __enter__(self) -> Self:
        """Raises StillLocked; OSError where a file cannot be made or the file system has no locks."""
        for path in self._paths[len(self._files) :]:
            self._files.append(_opened(path))
        ends = time.monotonic() + self._patience
        behind = -1
        for place in reversed(range(PLACES + 1)):
            file = self._files[place]
            try:
                self._wait(file, NAP * max(1, place), ends)
            finally:
                if behind >= 0:
                    _give(behind)
            behind = file
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _give(self._files[0])

    def close(self) -> None:
        """Let go of the files; entering opens them again."""
        while self._files:
            os.close(self._files.pop())

    def _wait(self, file: int, nap: float, ends: float) -> None:
        while not _taken(file):
            if time.monotonic() >= ends:
                raise StillLocked(f"another process has held {self.path} for {self._patience:g} s")
            time.sleep(nap)


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)


def _taken(file: int) -> bool:
    try:
        _take(file)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    return True
