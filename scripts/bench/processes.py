"""Starts, pins and stops the processes of a measurement, and reads their CPU and memory. Linux only."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class StartError(Exception):
    """A process ended, or did not listen in time. The message holds the end of its log."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Pin this process for a moment: what is started inside inherits the core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    command: Sequence[str], *, core: int, log: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` on one core with its output in `log`; end it (TERM, after 10 s KILL) when the block ends."""
    with log.open("wb") as output, on_core(core):
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=cwd, env=env)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path, limit: float = 20) -> None:
    """Return when 127.0.0.1:`port` accepts a connection; after `limit` seconds raise StartError."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    state = "still runs" if process.poll() is None else f"ended with status {process.returncode}"
    end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise StartError(f"{process.args!r} does not listen on port {port} and {state}. The end of its output:\n{end}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(root: int) -> list[int]:
    """The process `root` and all its descendants (nginx: the master and its worker)."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # The fields behind the command's name, which may hold spaces: state, parent, ... (proc(5)).
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
            except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
                continue
    found = [root]
    for pid in found:  # grows while we walk it
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far, all threads: utime + stime of /proc/PID/stat without its rounding to 10 ms.

    The clock's number is what glibc's clock_getcpuclockid(3) makes of a pid.
    """
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def machine_seconds(cores: Iterable[int]) -> float:
    """CPU time that these cores have spent on anything so far, with what the hypervisor took away (steal)."""
    wanted = {f"cpu{core}" for core in cores}
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counters = line.split()
        if name in wanted:  # proc(5): user, nice, system, idle, iowait, irq, softirq, steal
            total += sum(map(int, [*counters[:3], *counters[5:8]]))
    return total / TICKS


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory now."""
    total = 0
    for pid in pids:
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        total += int(match[1]) * 1024 if match else 0
    return total
