"""Makes the disk fail for a ledger in another process: builds tests/failing_writes.c and says which calls fail.

disk = Disk(folder)                     # needs a C compiler, and Linux
... a process with disk.environ ...
disk.fail(3)                            # the third write or sync from now
disk.fail(1, lasting=True, error=errno.ENOSPC); ...; disk.heal()
"""

import errno
import mmap
import os
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("failing_writes.c")
FIELDS = struct.Struct("5q")  # struct control: calls, from, until, error, syncs
EVER = 2**62


class Disk:
    """Also inside of the process whose writes fail: there it is `Disk.here()`."""

    def __init__(self, folder: Path) -> None:
        library, control = folder / "failing_writes.so", folder / "control"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        control.write_bytes(bytes(FIELDS.size))
        self.environ = {"LD_PRELOAD": str(library), "FAILING_WRITES": str(control)}
        self._map(control)

    @classmethod
    def here(cls) -> "Disk":
        disk = cls.__new__(cls)
        disk.environ = dict(os.environ)
        disk._map(Path(os.environ["FAILING_WRITES"]))
        return disk

    def _map(self, control: Path) -> None:
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), FIELDS.size)

    @property
    def calls(self) -> int:
        """Writes and syncs of the ledger's files until now."""
        return int(FIELDS.unpack(self._control)[0])

    @property
    def syncs(self) -> int:
        """Of those, the syncs."""
        return int(FIELDS.unpack(self._control)[4])

    def fail(self, number: int, *, lasting: bool = False, error: int = errno.EIO) -> None:
        """Let the number-th call from now fail, and with `lasting` all after it."""
        begin = self.calls + number
        struct.pack_into("3q", self._control, 8, begin, EVER if lasting else begin + 1, error)

    def heal(self) -> None:
        """No call fails any more."""
        struct.pack_into("3q", self._control, 8, 0, 0, 0)
