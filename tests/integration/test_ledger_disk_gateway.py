"""A gateway whose ledger's disk fails: accounts are refused and all else goes on, until it comes back by itself.

The whole command runs, with the writes of its quota.db failing (tests/failing_writes.py).
"""

import asyncio
import errno
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quota.sqlite_ledger import opened
from tests.failing_writes import Disk
from tests.gateway import Process, process
from tests.integration.test_free import LOCAL, ONE, account, per_day, providers
from tests.providers.base import Fault
from tests.providers.groq import Groq

pytestmark = [pytest.mark.needs("cc"), pytest.mark.skipif(sys.platform != "linux", reason="The shim is for Linux.")]
HEALED = 30.0  # seconds; the janitor looks every 5


@dataclass
class World:
    """A gateway with one account, "me", and one other backend, "local"; both are stand-ins that count."""

    process: Process
    disk: Disk
    file: Path
    groq: Any
    local: Any

    async def ask(self, model: str) -> tuple[int, Any]:
        """One chat completion: status, and the error's code and message if there is one."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 50}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.process.base_url}/chat/completions", json=body) as got,
        ):
            error = (await got.json()).get("error", {})
            return got.status, (error.get("code"), error.get("message"))

    async def all_is_booked(self) -> None:
        """Nothing is reserved, and as many requests are settled as the provider has seen."""
        async with asyncio.timeout(HEALED):
            while self.count("reservation WHERE state = 'open'") or self.settled != len(self.groq.seen):
                await asyncio.sleep(0.05)

    @property
    def settled(self) -> int:
        return self.count("operation WHERE kind = 'settle'")

    def count(self, what: str) -> int:
        """How many rows are on the disk."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
            return int(database.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    disk, file = Disk(folder), folder / "data" / "quota.db"
    async with providers(Groq, Groq) as (groq, local):
        text = "[free]\nwhen_spent = []\n" + LOCAL.format(url=local.url) + account("me", groq, per_day(50), more=ONE)
        async with process(text, **disk.environ, STREAMLANE_DATA_DIR=str(file.parent)) as started:
            yield World(started, disk, file, groq, local)
    async with opened(file) as ledger:
        assert await ledger.reconcile() == []


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS])
async def test_only_what_spends_is_refused_and_it_comes_back(tmp_path: Path, error: int) -> None:
    async with world(tmp_path) as here:
        assert (await here.ask("free/auto"))[0] == 200
        await here.all_is_booked()
        here.disk.fail(1, lasting=True, error=error)
        for _ in range(2):
            status, (code, message) = await here.ask("free/auto")
            assert (status, code) == (503, "ledger_failed"), message
            assert (await here.ask("fake"))[0] == 200
        assert (len(here.groq.seen), len(here.local.seen)) == (1, 2)
        here.disk.heal()
        assert (await here.ask("free/auto"))[0] == 200
        await here.all_is_booked()


async def test_an_answer_arrives_though_its_settlement_cannot_be_written_and_is_booked_later(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.groq.always = Fault("slow", seconds=1.0)
        asking = asyncio.ensure_future(here.ask("free/auto"))
        async with asyncio.timeout(30):
            while not here.groq.seen:
                await asyncio.sleep(0.001)
        here.disk.fail(1, lasting=True)
        assert (await asking)[0] == 200
        assert (await here.ask("fake"))[0] == 200
        assert here.settled == 0
        here.disk.heal()
        await here.all_is_booked()


async def test_a_newer_version_that_takes_the_file_stops_only_what_spends(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        assert (await here.ask("free/auto"))[0] == 200
        await here.all_is_booked()
        with closing(sqlite3.connect(here.file)) as database:
            [schema] = database.execute("PRAGMA user_version").fetchone()
            database.execute(f"PRAGMA user_version = {schema + 1}")
            status, (code, message) = await here.ask("free/auto")
            assert (status, code) == (503, "ledger_failed"), message
            assert "Restart this one with the version of the other" in here.process.stderr
            assert (await here.ask("fake"))[0] == 200
            database.execute(f"PRAGMA user_version = {schema}")
        assert (await here.ask("free/auto"))[0] == 200
        await here.all_is_booked()
