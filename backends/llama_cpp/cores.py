"""How many threads an engine may use on this machine."""

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_threads() -> int:
    """Physical cores - 1, at least 1.

    llama.cpp's threads spin at a barrier: with as many threads as cores, a small model on a busy two-core machine fell
    from 60 to 0.8 tokens a second.
    """
    return max(1, min(physical_cores(TOPOLOGY, allowed_cpus()), cpu_quota(CGROUP_QUOTA)) - 1)


def allowed_cpus() -> set[int]:
    """The logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def physical_cores(topology: Path, cpus: set[int]) -> int:
    """How many cores `cpus` are. Where the system does not say which CPUs share one, each counts as one."""
    cores = set()
    for cpu in cpus:
        try:
            cores.add((topology / f"cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def cpu_quota(file: Path) -> int:
    """Whole CPUs that a container's limit grants (cgroup v2: "QUOTA PERIOD" or "max PERIOD"), very many without."""
    try:
        quota, period = file.read_text().split()
        return int(quota) // int(period)
    except (OSError, ValueError):
        return 1 << 16
