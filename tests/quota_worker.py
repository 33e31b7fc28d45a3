"""What the processes of the ledger's tests do (tests/quota_nursery.py): spend, and die or stop where they are told to.

They ask the provider of tests/quota_counter.py over a socket.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import TypeAlias

import quota.sqlite_file
from quota.clock import elapsed
from quota.ledger import Attempt, Denied, LedgerUnusable
from quota.pool import DAY, SECOND, Micros, Pool, Rolling
from quota.sqlite_ledger import opened
from tests.quota_nursery import say, told

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

NOON: Micros = 1_795_262_400 * SECOND
MOST = 50  # tokens that one request may take


def budget(name: str, cap: int) -> Pool:
    """What is spent once, as far as a test can see."""
    return Pool(name, cap, Rolling(DAY))


def noon() -> Micros:
    """What to add to the time that has passed, so that a test begins at noon, far from the end of any day."""
    return NOON - elapsed()


def dying(point: str, number: int) -> Callable[[str], None]:
    """Kills this process at the number-th time that it comes to the point."""
    passed: Counter[str] = Counter()

    def at(here: str) -> None:
        passed[here] += 1
        if here == point and passed[here] == number:
            say({"died": point})
            os.kill(os.getpid(), signal.SIGKILL)

    return at


async def hammer(file: Path, *, name: str, pools: Mapping[str, int], tasks: int, ahead: Micros, seed: int) -> None:
    """Take all that there is of each pool, one by one, and settle it. Says what it was granted, and longest waits."""
    dice = random.Random(seed)
    granted: Counter[str] = Counter()
    waits: list[float] = []
    async with opened(file, now=lambda: elapsed() + ahead) as ledger:
        await ledger.define([budget(pool, cap) for pool, cap in pools.items()])
        open_ones = set(pools)
        say("ready")
        await told()

        async def task(number: int) -> None:
            asked = 0
            while open_ones:
                asked += 1
                attempt = Attempt(f"{name}-{number}-{asked}")
                wanted = dict.fromkeys(dice.sample(sorted(open_ones), dice.randint(1, len(open_ones))), 1)
                began = time.monotonic()
                answer = await ledger.reserve(attempt, wanted, name)
                waits.append(time.monotonic() - began)
                if isinstance(answer, Denied):
                    if answer.why == "spent":
                        open_ones.discard(answer.pool)
                else:
                    granted.update(wanted)
                    await ledger.settle(attempt, {})

        await asyncio.gather(*(task(number) for number in range(tasks)))
        say({"granted": granted, "waits": sorted(waits)[-3:], "asked": len(waits)})


async def spend(
    file: Path,
    *,
    name: str,
    pools: Mapping[str, int],
    port: int,
    ahead: Micros,
    seed: int,
    point: str = "",
    number: int = 1,
    tasks: int = 8,
    checkpoint: int = 20,
) -> None:
    """Ask the provider for ever: each request takes 1 of every pool, and up to MOST of one that is named tokens."""
    quota.sqlite_file.CHECKPOINT = checkpoint  # so that it is killed inside of them, too
    dice, at = random.Random(seed), dying(point, number)
    most = {pool: MOST if pool == "tokens" else 1 for pool in pools}
    async with opened(file, now=lambda: elapsed() + ahead, at=at) as ledger:
        await ledger.define([budget(pool, cap) for pool, cap in pools.items()])
        providers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(tasks)]
        say("ready")

        async def once(attempt: Attempt, provider: Connection) -> None:
            if isinstance(await ledger.reserve(attempt, most, name), Denied):
                await asyncio.sleep(0.001)
                return
            at("granted")
            if dice.random() < 0.1:
                await ledger.release(attempt, "unreachable")
                return
            used = await ask(provider, attempt, dice.randint(1, MOST))
            at("sent")
            settled = ledger.settle(attempt, {"tokens": used})
            at("settling")
            await settled
            at("settled")

        async def task(number: int) -> None:
            for asked in count():
                await once(Attempt(f"{name}-{number}", asked), providers[number])

        await asyncio.gather(*(task(number) for number in range(tasks)))


async def ask(provider: Connection, attempt: Attempt, tokens: int) -> int:
    """Send a request that takes so many tokens; the provider says what it counted."""
    reader, writer = provider
    writer.write(json.dumps([*attempt, tokens]).encode() + b"\n")
    return int(await reader.readline())


async def hold(file: Path, *, port: int, ttl: Micros, stop_at: str) -> None:
    """One request that stops where it is told to, until `go`; then it is ended as if nothing had happened."""
    async with opened(file, ttl=ttl) as ledger:
        provider = await asyncio.open_connection("127.0.0.1", port)
        attempt = Attempt("slow")
        granted = await ledger.reserve(attempt, {"requests": 1, "tokens": MOST})
        assert not isinstance(granted, Denied)
        if stop_at == "granted":
            say({"lease_end": granted.lease_end})
            await told()
        used = await ask(provider, attempt, 7)
        if stop_at == "sent":
            say({"lease_end": granted.lease_end})
            await told()
        first = await ledger.settle(attempt, {"tokens": used})
        again = await ledger.settle(attempt, {"tokens": MOST})
        assert first == again
        assert first is not None
        say({"late": first.late})


async def fork(file: Path) -> None:
    """Fork while the ledger is in use; the child asks it for something, and says what it hears."""
    async with opened(file) as ledger:
        await ledger.define([budget("requests", 10)])
        await ledger.reserve(Attempt("parent"), {"requests": 1})
        child = os.fork()
        if not child:  # only what cannot hang: another thread may have held any lock
            try:
                ledger.reserve(Attempt("child"), {"requests": 1}).send(None)
            except LedgerUnusable as error:
                say(str(error))
                os._exit(0)
            os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        await ledger.settle(Attempt("parent"), {})
        say(ledger.headroom()["requests"].used)
