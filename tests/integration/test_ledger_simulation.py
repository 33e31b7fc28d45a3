"""The ledger against providers with their true semantics: none ever counts more than its limit, and little is left over.

The providers of tests/quota_providers.py are written without a look at quota/, traffic runs in virtual time, and the
one thing that the ledger knows of a provider is the Pool that a catalog would give it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota.clock import Clock
from quota.ledger import Observation
from quota.memory_ledger import MemoryLedger
from quota.pool import Fixed, Gcra, Pool, Rolling, Window
from tests.quota_providers import DAY, HOUR, MINUTE, SECOND, Axis, Bucket, Calendar, Counts, Fake, Limiter, Sliding
from tests.quota_traffic import Client, Habits, World, used_share

ANGELES = "America/Los_Angeles"
NOVEMBER = int(datetime(2026, 11, 21, 9, 13, tzinfo=ZoneInfo("UTC")).timestamp()) * SECOND
MARCH = int(datetime(2027, 3, 12, 17, 5, tzinfo=ZoneInfo(ANGELES)).timestamp()) * SECOND  # two days before DST begins


@dataclass(frozen=True)
class Case:
    """A provider's window as it truly is, and the one that the ledger takes it for."""

    name: str
    truth: Callable[[int, int], Limiter]  # cap and skew
    window: Window
    length: int
    guard: int = MINUTE  # how far the provider's clock may be from ours, to either side
    start: int = NOVEMBER

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("fixed minute, known", lambda cap, skew: Calendar(cap, "minute", skew=skew), Fixed("minute"), MINUTE, SECOND),
    Case(
        "fixed hour of Kolkata, known",
        lambda cap, skew: Calendar(cap, "hour", "Asia/Kolkata", skew=skew),
        Fixed("hour", "Asia/Kolkata"),
        HOUR,
        SECOND,
    ),
    Case(
        "fixed day of Los Angeles, known",
        lambda cap, skew: Calendar(cap, "day", ANGELES, skew=skew),
        Fixed("day", ANGELES, guard=MINUTE),
        DAY,
        start=MARCH,
    ),
    Case(
        "fixed day with an anchor, known",
        lambda cap, skew: Calendar(cap, "day", phase=7 * HOUR, skew=skew),
        Fixed("day", anchor=7 * HOUR, guard=MINUTE),
        DAY,
    ),
    Case(
        "fixed minute, unknown",
        lambda cap, skew: Calendar(cap, "minute", phase=23 * SECOND, skew=skew),
        Rolling(MINUTE),
        MINUTE,
    ),
    Case(
        "fixed day, unknown",
        lambda cap, skew: Calendar(cap, "day", "Europe/Paris", phase=5 * HOUR, skew=skew),
        Rolling(DAY),
        DAY,
    ),
    Case("rolling minute", lambda cap, skew: Sliding(cap, MINUTE, skew), Rolling(MINUTE), MINUTE),
    Case("rolling hour", lambda cap, skew: Sliding(cap, HOUR, skew), Rolling(HOUR), HOUR),
    Case("rolling day", lambda cap, skew: Sliding(cap, DAY, skew), Rolling(DAY), DAY),
    Case("bucket of a minute, unknown", lambda cap, skew: Bucket(cap, MINUTE, skew), Rolling(MINUTE), MINUTE),
    Case("bucket of a day, unknown", lambda cap, skew: Bucket(cap, DAY, skew), Rolling(DAY), DAY),
    Case("bucket of a minute, known", lambda cap, skew: Bucket(cap, MINUTE, skew), Gcra(MINUTE), MINUTE),
    Case("bucket of a day, known", lambda cap, skew: Bucket(cap, DAY, skew), Gcra(DAY), DAY),
]
TOKENS: tuple[Counts, ...] = ("input", "longest", "both", "end")


def pool(case: Case, cap: int, counts: Counts) -> Pool:
    """What a catalog would say of it."""
    return Pool("pool", cap, case.window, on_arrival=counts in {"arrival", "input", "longest"})


def ledger_in(world: World) -> MemoryLedger:
    return MemoryLedger(Clock(world.wall, world.elapsed).now)


async def simulated(
    case: Case, counts: Counts, cap: int, skew: int, habits: Habits, *, seed: int, windows: float, says: object = None
) -> tuple[Fake, Client]:
    """So many windows' length of traffic."""
    world = World(case.start, seed)
    ledger = ledger_in(world)
    await ledger.define([pool(case, cap, counts)])
    fake = Fake({"it": Axis(case.truth(cap, skew), counts)})
    client = Client(world, [ledger], fake, {"it": "pool"}, habits)
    await client.run(windows * case.length / SECOND)
    assert await ledger.reconcile() == []
    return fake, client
