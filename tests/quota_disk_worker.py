"""What the processes do whose disk fails (tests/failing_writes.py): spend all the same, and check what they are told.

They assert themselves, since only they can see what they were answered; the test sees how they end.
"""

import asyncio
import errno
import os
import resource
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import quota.sqlite_file
import quota.sqlite_ledger
from quota.ledger import Attempt, Granted, LedgerUnusable, Settled
from quota.sqlite_file import Synchronous
from quota.sqlite_ledger import SqliteLedger, opened
from tests.failing_writes import Disk
from tests.quota_nursery import say, told
from tests.quota_worker import budget

PATIENCE = 30.0  # seconds in which anything must be answered, also by a disk that fails
TAKE = {"requests": 1, "tokens": 9}
POOLS = [budget("requests", 10**9), budget("tokens", 10**9)]


def states(file: Path) -> dict[str, str]:
    """Every reservation as another program sees it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return dict(database.execute("SELECT request_id, state FROM reservation"))


async def answers(*asked: Awaitable[object]) -> Sequence[object]:
    """What each was answered; LedgerUnusable is an answer, anything else is a fault of the ledger."""
    async with asyncio.timeout(PATIENCE):
        found = await asyncio.gather(*asked, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, LedgerUnusable):
            raise each
    return found


async def sweep(file: Path, *, error: str, lasting: bool) -> None:
    """The n-th write fails while two requests are reserved and ended, for each n until they need no more writes.

    Says how many n there were, and all sentences that were heard.
    """
    quota.sqlite_file.CHECKPOINT = 8  # pages: checkpoints fail, too
    quota.sqlite_ledger.JANITOR = 0.02
    disk, told_of, used = Disk.here(), Counter[str](), 0
    async with opened(file) as ledger:
        await ledger.define(POOLS)
        for number in count(1):
            disk.fail(number, lasting=lasting, error=getattr(errno, error))
            before = disk.calls
            settled, released = f"settled-{number}", f"released-{number}"
            reserved = [
                *await answers(ledger.reserve(Attempt(settled), TAKE)),
                *await answers(ledger.reserve(Attempt(released), TAKE)),
            ]
            seen = states(file)
            for name, answer in zip((settled, released), reserved, strict=True):
                assert (seen.get(name) == "open") == isinstance(answer, Granted), "granted is what is on the disk"
            ends: list[Awaitable[object]] = []
            if isinstance(reserved[0], Granted):
                ends.append(ledger.settle(Attempt(settled), {"tokens": 30}))  # more than was reserved
                used += 30
            if isinstance(reserved[1], Granted):
                ends.append(ledger.release(Attempt(released), ""))
            ended = await answers(*ends)
            told_of.update(str(each) for each in [*reserved, *ended] if isinstance(each, LedgerUnusable))
            enough = disk.calls - before < number
            disk.heal()
            await nothing_open(file)
            used += await works(ledger, Attempt(f"after-{number}"))
            assert ledger.headroom()["tokens"].used == used
            assert await ledger.reconcile() == []
            if enough:
                break
    say({"writes": number, "told": told_of})


async def works(ledger: SqliteLedger, attempt: Attempt) -> int:
    """The disk is whole again: so is the ledger. How many tokens that took."""
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await ledger.reserve(attempt, TAKE), Granted)
        assert isinstance(await ledger.settle(attempt, {"tokens": 2}), Settled)
    return 2


async def nothing_open(file: Path) -> None:
    """What could not be ended when it was said is ended soon, though nobody has said it again."""
    async with asyncio.timeout(PATIENCE):
        while "open" in states(file).values():
            await asyncio.sleep(0.005)


async def opening(folder: Path, *, error: str, lasting: bool, step: int) -> None:
    """Every step-th write fails in the life of a new ledger, from its making to its end. Says the same as `sweep`."""
    disk, told_of = Disk.here(), Counter[str]()
    for number in count(1, step):
        file = folder / str(number) / "quota.db"
        file.parent.mkdir()
        disk.fail(number, lasting=lasting, error=getattr(errno, error))
        before = disk.calls
        granted = False
        try:
            async with asyncio.timeout(PATIENCE), opened(file) as ledger:
                await ledger.define(POOLS)
                granted = isinstance(await ledger.reserve(Attempt("first"), TAKE), Granted)
                await ledger.settle(Attempt("first"), {})
        except LedgerUnusable as unusable:
            told_of[str(unusable).replace(str(file), "FILE")] += 1
        enough = disk.calls - before < number
        disk.heal()
        async with asyncio.timeout(PATIENCE), opened(file) as ledger:
            await ledger.define(POOLS)
            assert "first" in states(file) or not granted  # what failed may be found in the log: it is charged then
            await works(ledger, Attempt("second"))
            assert await ledger.reconcile() == []
        if enough:
            break
    say({"writes": number, "told": told_of})


async def synced(file: Path, *, synchronous: Synchronous) -> None:
    """Says how many syncs there were while twenty answers were given, one after the other."""
    async with opened(file, synchronous=synchronous) as ledger:
        await ledger.define(POOLS)
        before = Disk.here().syncs
        for number in range(10):
            await works(ledger, Attempt("request", number))
        say(Disk.here().syncs - before)


async def limited(file: Path) -> None:
    """No file of this process may grow any more. Says what is heard then; works again once they may."""
    quota.sqlite_ledger.JANITOR = 0.02
    async with opened(file) as ledger:
        await ledger.define(POOLS)
        await ledger.reserve(Attempt("held"), TAKE)
        size = file.with_name(f"{file.name}-wal").stat().st_size
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40_000, most))  # Python ignores the signal
        granted = []
        try:
            for number in range(1000):
                await ledger.reserve(Attempt(f"request-{number}"), TAKE)
                granted.append(f"request-{number}")
        except LedgerUnusable as error:
            say(str(error))
        assert {name for name in states(file) if name != "held"} == set(granted)
        [refused] = await answers(ledger.settle(Attempt("held"), {}))
        assert isinstance(refused, LedgerUnusable)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        await works(ledger, Attempt("after"))
        for name in granted:
            await ledger.release(Attempt(name), "")
        await nothing_open(file)
        assert await ledger.reconcile() == []
    say("works")


async def as_a_stranger(file: Path) -> None:
    """Open it as a user who may only read it. Says what is heard."""
    await asyncio.to_thread(int)  # all of Python that is used must be imported: he may not read that either
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        async with opened(file):
            pass
    except LedgerUnusable as error:
        say(str(error))


async def in_a_shell(file: Path) -> None:
    """Hold the file as a person in a SQLite shell does, until told."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        say("held")
        await told()
        database.execute("ROLLBACK")
        say("given back")
