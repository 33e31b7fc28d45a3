"""A file with one key per line, read again when it has changed; looked at on use, without a thread."""

from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG

LOOK = 1.0  # seconds between two looks
LARGEST = 1024 * 1024  # bytes


class KeyFileUnusable(Exception):
    """The file cannot be used. Says why, and nothing of what is in it."""


class KeyFile:
    """The keys in the file at `path`. Empty lines, and those that begin with "#", are none. `now` is in seconds."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path, self._now = path, now
        self._look_at = 0.0
        self._known: object = None  # what was read last, or the fault that was told last

    def news(self) -> tuple[str, ...] | None:
        """The keys, when they are new; None when nothing has changed. Raises KeyFileUnusable, once for each fault."""
        now = self._now()
        if now < self._look_at:
            return None
        self._look_at = now + LOOK
        try:
            found = self._path.stat()
            version: object = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version == self._known:
                return None
            if not S_ISREG(found.st_mode):  # reading from a pipe could wait forever, and the whole gateway with it
                raise KeyFileUnusable("it is no regular file")
            keys = lines_of(self._path, found.st_size)
        except (OSError, UnicodeDecodeError, KeyFileUnusable) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            fault = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(why)
            if fault == self._known:
                return None
            self._known = fault
            raise KeyFileUnusable(fault) from None
        self._known = version
        return keys


def lines_of(path: Path, size: int) -> tuple[str, ...]:
    """Raises KeyFileUnusable for what is no list of keys."""
    if size > LARGEST:
        raise KeyFileUnusable(f"it is larger than {LARGEST} bytes")
    keys = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise KeyFileUnusable(f"line {number} is no key: it holds others than visible ASCII characters")
        keys.append(key)
    if not keys:
        raise KeyFileUnusable("it holds no key")
    return tuple(keys)
