"""Several processes on one ledger: all of every cap is granted and not one more, and nobody is left behind."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from quota.ledger import Attempt, Denied, LedgerUnusable
from quota.sqlite_ledger import opened
from tests.quota_nursery import nursery
from tests.quota_worker import budget, noon

SHARED = {"one": 1, "seven": 7, "thousand": 1000}
STARVED = 15.0  # seconds; measured are 0.3 s at most, on two cores that others use, too


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "quota.db"


@pytest.mark.parametrize("processes", [2, *(pytest.param(each, marks=pytest.mark.slow) for each in range(3, 8)), 8])
async def test_what_is_admitted_is_the_cap_exactly(file: Path, processes: int) -> None:
    """Caps of 1, 7 and 1,000 that all share, and of 7 and 40 that are each one's own, in requests that mix them."""
    pools = [{**SHARED, f"own-{number}": 7, f"more-{number}": 40} for number in range(processes)]
    told = await hammered(file, pools)
    granted = sum((Counter(each["granted"]) for each in told), Counter[str]())
    assert granted == {name: cap for each in pools for name, cap in each.items()}
    assert max(wait for each in told for wait in each["waits"]) < STARVED
    assert min(each["granted"].get("thousand", 0) for each in told) >= 1000 / processes / 10, "who came got a share"
    async with opened(file) as ledger:
        assert await ledger.reconcile() == []
        assert {name: room.used for name, room in ledger.headroom().items()} == granted
        assert all(room.reserved == room.left == 0 for room in ledger.headroom().values())


async def hammered(file: Path, pools: list[dict[str, int]]) -> list[Any]:
    """One process for each of these, all let go at once; what they say at the end."""
    ahead = noon()
    async with nursery("tests.quota_worker") as start:
        workers = [
            await start("hammer", file, name=f"worker-{number}", pools=each, tasks=16, ahead=ahead, seed=number)
            for number, each in enumerate(pools)
        ]
        assert [await worker.line() for worker in workers] == ["ready"] * len(workers)
        await asyncio.gather(*(worker.go() for worker in workers))
        return await asyncio.gather(*(worker.line() for worker in workers))


async def test_what_is_given_back_is_granted_to_others_to_the_last_unit(file: Path) -> None:
    """Two ledgers that settle for less than they reserved, until all is spent: nothing is over, nothing is left."""
    async with opened(file) as one, opened(file) as two:
        for ledger in (one, two):
            await ledger.define([budget("tokens", 1000)])

        async def spend(name: str) -> int:
            number = spent = 0
            while True:
                number += 1
                attempt = Attempt(name, number)
                ledger, other = (one, two) if number % 2 else (two, one)
                if isinstance(await ledger.reserve(attempt, {"tokens": 9}), Denied):
                    return spent
                used = number % 10
                await other.settle(attempt, {"tokens": used})
                spent += used

        spent = sum(await asyncio.gather(*(spend(f"spender-{number}") for number in range(5))))
        spent += await spend("the last")
        assert 1000 - 9 < spent <= 1000
        assert (one.headroom()["tokens"].used, one.headroom()["tokens"].reserved) == (spent, 0)
        assert await one.reconcile() == await two.reconcile() == []


async def test_the_file_of_a_newer_version_is_refused_with_a_next_step(file: Path) -> None:
    async with opened(file) as ledger:
        await ledger.define([budget("requests", 3)])
    upgrade(file)
    before = file.read_bytes()
    with pytest.raises(LedgerUnusable, match=r"quota\.db was written by a newer Streamlane .*Update Streamlane, or"):
        async with opened(file):
            pass
    assert file.read_bytes() == before


async def test_who_runs_while_a_newer_version_takes_the_file_stops_granting(file: Path) -> None:
    """Its queries fit another schema: it says so, and what it cannot write is charged by the one who can."""
    async with opened(file) as ledger:
        await ledger.define([budget("requests", 3)])
        await ledger.reserve(Attempt("before"), {"requests": 1})
        upgrade(file)
        with pytest.raises(LedgerUnusable, match=r"quota\.db: another Streamlane .* schema 2.*Restart this one"):
            await ledger.reserve(Attempt("after"), {"requests": 1})
        with pytest.raises(LedgerUnusable, match="Restart this one"):
            await ledger.settle(Attempt("before"), {})
    with closing(sqlite3.connect(file)) as database:
        states = database.execute("SELECT request_id, state FROM reservation").fetchall()
    assert states == [("before", "open")]


def upgrade(file: Path) -> None:
    """What a newer version does to the file."""
    with closing(sqlite3.connect(file)) as database:
        [schema] = database.execute("PRAGMA user_version").fetchone()
        database.execute("ALTER TABLE reservation ADD COLUMN of_tomorrow INTEGER")
        database.execute(f"PRAGMA user_version = {schema + 1}")


async def test_a_fork_of_a_process_that_uses_it_is_refused_and_disturbs_nothing(file: Path) -> None:
    async with nursery("tests.quota_worker") as start:
        worker = await start("fork", file)
        assert "forked" in await worker.line()
        assert await worker.line() == 1
    async with opened(file) as ledger:
        assert await ledger.reconcile() == []
