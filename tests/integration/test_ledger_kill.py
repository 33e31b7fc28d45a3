"""kill -9 at every named point and at any moment, and processes that stop for longer than their lease.

A provider in another process counts what reaches it. After each death the ledger is opened again: every balance is the
sum of its operations, nothing stays reserved, and the ledger has booked all that the provider has counted.
"""

import asyncio
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any

import pytest

from quota.clock import elapsed
from quota.ledger import Attempt, Denied
from quota.pool import SECOND, Micros, Pool
from quota.sqlite_ledger import SqliteLedger, opened
from tests.quota_counter import counted
from tests.quota_nursery import ROOT, Start, nursery
from tests.quota_worker import MOST, ask, budget, noon

WRITERS = ["locked", "begun", "called", "written", "committed", "answered"]  # quota/writer.py
CALLERS = ["granted", "sent", "settling", "settled"]  # between the ledger and the provider
POINTS = [*WRITERS, *CALLERS]
ALL = 10**9
TOKENS = 10**9


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a provider that counts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.quota_counter"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


@dataclass
class Place:
    """One ledger's file over many rounds, the provider, and the time that all processes see."""

    start: Start
    file: Path
    port: int
    ahead: Micros

    def now(self) -> Micros:
        return elapsed() + self.ahead

    async def round(self, number: int, point: str, dice: random.Random) -> bool:
        """Two processes; one dies at the point, the other one at any moment. Whether the point was reached.

        Every second round has a cap that they meet before.
        """
        cap = dice.choice([3, 20]) if number % 2 else ALL
        mine = f"round-{number}"
        pools = {"all": ALL, "tokens": TOKENS, mine: cap}
        shared = {"pools": pools, "port": self.port, "ahead": self.ahead}
        times = dice.randint(1, 3 if number % 2 else 25)
        one = await self.start("spend", self.file, name=f"a{number}", seed=number, point=point, number=times, **shared)
        two = await self.start("spend", self.file, name=f"b{number}", seed=-number, **shared)
        try:
            async with asyncio.timeout(0.2 if number % 2 else 60):
                while (said := await one.line()) == "ready":
                    pass
        except TimeoutError:
            said = None  # all is spent: it does not come there any more
        await asyncio.sleep(dice.uniform(0, 0.05))
        await asyncio.gather(one.kill(), two.kill())
        await self.check([budget(name, cap) for name, cap in pools.items()])
        return said is not None

    async def check(self, pools: list[Pool]) -> None:
        """What must be true after any death."""
        async with opened(self.file, now=self.now) as ledger:
            await ledger.define(pools)
            seen = await counted(self.port)
            assert all(len(times) == 1 for times in seen.values()), "each is asked once"
            assert await ledger.reconcile() == []
            rooms = ledger.headroom()
            assert all(room.reserved == 0 for room in rooms.values()), "nobody lives who could hold it"
            assert rooms["all"].used >= len(seen)
            assert rooms["tokens"].used >= sum(tokens for [tokens] in seen.values())
            with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
                assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
                states = {
                    f"{request}/{attempt}": state
                    for request, attempt, state in database.execute("SELECT request_id, number, state FROM reservation")
                }
            assert {states.get(attempt) for attempt in seen} <= {"settled", "lapsed"}, "each was reserved before"
            if pools[-1].cap < ALL:
                await self.spend_the_rest(ledger, pools[-1].id, pools[-1].cap)

    async def spend_the_rest(self, ledger: SqliteLedger, pool: str, cap: int) -> None:
        """All that the dead have left: the provider never counts more than the cap, and nothing is lost but theirs."""
        provider = await asyncio.open_connection("127.0.0.1", self.port)
        for number in range(cap + 1):
            attempt = Attempt(f"rest-{pool}", number)
            if isinstance(await ledger.reserve(attempt, {"all": 1, "tokens": MOST, pool: 1}), Denied):
                break
            await ledger.settle(attempt, {"tokens": await ask(provider, attempt, 1)})
        provider[1].close()
        assert ledger.headroom()[pool].used == cap
        mine = [attempt for attempt in await counted(self.port) if belongs(attempt, pool)]
        assert len(mine) <= cap


def belongs(attempt: str, pool: str) -> bool:
    """Whether a request was one of the round that has this pool."""
    number = pool.removeprefix("round-")
    return attempt.startswith((f"a{number}-", f"b{number}-", f"rest-{pool}/"))


async def rounds(tmp_path: Path, port: int, how_many: int) -> None:
    dice, reached = random.Random(7), set[str]()
    async with nursery("tests.quota_worker") as start:
        place = Place(start, tmp_path / "quota.db", port, noon())
        for number in range(how_many):
            point = POINTS[number // 2 % len(POINTS)]
            if await place.round(number, point, dice):
                reached.add(point)
    assert reached == set(POINTS)


async def test_twenty_deaths(tmp_path: Path, port: int) -> None:
    await rounds(tmp_path, port, 20)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_two_hundred_and_forty_deaths(tmp_path: Path, port: int) -> None:
    await rounds(tmp_path, port, 240)


@pytest.mark.parametrize("stopped_at", ["granted", "sent"])
async def test_who_sleeps_past_its_lease_is_charged_in_full_and_corrects_that_late(
    tmp_path: Path, port: int, stopped_at: str
) -> None:
    """Stopped before the request is sent, or before it is settled: the provider counts no more than is booked."""
    file = tmp_path / "quota.db"
    async with opened(file) as ledger:
        await ledger.define([budget("requests", 1), budget("tokens", 1000)])
        async with nursery("tests.quota_worker") as start:
            sleeper = await start("hold", file, port=port, ttl=1 * SECOND, stop_at=stopped_at)
            said: Any = await sleeper.line()
            os.kill(sleeper.pid, SIGSTOP)
            async with asyncio.timeout(30):
                while not await ledger.recover():
                    await asyncio.sleep(0.05)
            assert ledger.now() >= said["lease_end"]
            assert used(ledger) == {"requests": (1, 0), "tokens": (MOST, 0)}
            assert isinstance(await ledger.reserve(Attempt("other"), {"requests": 1}), Denied)
            os.kill(sleeper.pid, SIGCONT)
            await sleeper.go()
            assert await sleeper.line() == {"late": True}
            await sleeper.ended()
        assert await ledger.recover() == 0
        assert used(ledger) == {"requests": (1, 0), "tokens": (7, 0)}
        assert await ledger.reconcile() == []
        assert await counted(port) == {"slow/1": [7]}


def used(ledger: SqliteLedger) -> dict[str, tuple[int, int]]:
    return {name: (room.used, room.reserved) for name, room in ledger.headroom().items()}
