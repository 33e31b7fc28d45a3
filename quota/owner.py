"""Who holds a reservation: one process on one host, and whether it still lives."""

import os
import socket
import sys
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")


class Owner(Struct, frozen=True):
    """One process, for ever: a process id comes again, but not with the same start in the same boot.

    `namespace` is that of its process ids: a container cannot see those of another. `boot` and `started` are empty
    where the system does not tell.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        return cls(socket.gethostname(), _boot(), _namespace(), os.getpid(), _started(os.getpid()) or "")

    def is_dead(self, seen_by: "Owner") -> bool:
        """Whether `seen_by`, which is alive here and now, can tell that this one has ended. If in doubt it has not."""
        if self.host != seen_by.host:
            return False
        if self.boot != seen_by.boot:
            return True
        if self.namespace != seen_by.namespace:
            return False
        if self.pid == seen_by.pid:
            return self.started != seen_by.started
        started = _started(self.pid)
        if started is None:  # no /proc, or it is hidden: a process id that came again passes for alive
            return not _exists(self.pid)
        return started != self.started


def _boot() -> str:
    return _read(PROC / "sys/kernel/random/boot_id").strip()


def _namespace() -> str:
    try:
        return str((PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When the process began, in ticks since the boot; empty when it has ended, None when nobody tells."""
    # proc(5), /proc/pid/stat: the name stands in parentheses and may hold any; state is field 3, starttime field 22.
    fields = _read(PROC / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) <= 19:
        return None
    return "" if fields[0] in "ZX" else fields[19]  # a zombie has ended, though nobody has asked for its status


def _exists(pid: int) -> bool:
    if sys.platform == "win32":  # where there is no signal that only asks
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and another user's
        return True
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
