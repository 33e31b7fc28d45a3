"""Whether the owner of a reservation still lives: in doubt it does, so that nothing is charged twice."""

import os
import sys

import pytest
from msgspec.structs import replace

from quota.owner import Owner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others tell less of a process")


def test_this_process_lives() -> None:
    assert not Owner.here().is_dead(Owner.here())
    assert Owner.here() == Owner.here()


@pytest.mark.parametrize("reaped", [False, True])
def test_a_process_that_ended_is_dead_also_as_a_zombie(reaped: bool) -> None:
    code = "import sys; from quota.owner import Owner; print(repr(Owner.here()), flush=True); sys.stdin.read()"
    read, write = os.pipe()
    told, tell = os.pipe()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        file_actions=[(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_DUP2, tell, 1), (os.POSIX_SPAWN_CLOSE, write)],
    )
    os.close(read)
    os.close(tell)
    with os.fdopen(told) as output:
        owner = eval(output.readline(), {"Owner": Owner})
        assert owner.pid == child
        assert not owner.is_dead(Owner.here())
        os.close(write)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        if reaped:
            os.waitpid(child, 0)
        assert owner.is_dead(Owner.here())
    if not reaped:
        os.waitpid(child, 0)


def test_a_process_id_that_came_again_is_another_process() -> None:
    here = Owner.here()
    assert replace(here, started="1").is_dead(here)
    parent = replace(here, pid=os.getppid(), started="1")
    assert parent.is_dead(here)


def test_after_a_boot_all_of_this_host_are_dead() -> None:
    here = Owner.here()
    assert replace(here, boot="before").is_dead(here)


@pytest.mark.parametrize("far", [{"host": "another"}, {"host": "another", "boot": "x"}, {"namespace": "another"}])
def test_of_what_cannot_be_seen_nothing_is_said(far: dict[str, str]) -> None:
    here = Owner.here()
    assert not replace(here, pid=2**22 + 1, **far).is_dead(here)
