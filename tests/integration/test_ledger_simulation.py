"""The ledger against providers with their true semantics: none counts more than its limit, and little is left over.

The providers of tests/quota_providers.py are written without a look at quota/, traffic runs in virtual time, and the
one thing that the ledger knows of a provider is the Pool that a catalog would give it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import durations
from proxy import catalog
from quota.clock import Clock
from quota.headers import read
from quota.ledger import Attempt, Denied, Granted, Observation
from quota.memory_ledger import MemoryLedger
from quota.pool import Fixed, Gcra, Pool, Rolling, Window
from tests.quota_process import remote_ledger
from tests.quota_providers import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Axis,
    Bucket,
    Calendar,
    Counts,
    Fake,
    Lie,
    Limiter,
    Sliding,
    anthropic_headers,
    cerebras_headers,
    lying,
    mistral_headers,
    openai_headers,
)
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
Says: TypeAlias = Callable[[Fake, int], Sequence[Observation]]
TOKENS: tuple[Counts, ...] = ("input", "longest", "both", "end")


def pool(case: Case, cap: int, counts: Counts) -> Pool:
    """What a catalog would say of it."""
    return Pool("pool", cap, case.window, on_arrival=counts in {"arrival", "input", "longest"})


def ledger_in(world: World) -> MemoryLedger:
    return MemoryLedger(Clock(world.wall, world.elapsed).now)


async def simulated(
    case: Case,
    counts: Counts,
    cap: int,
    habits: Habits,
    *,
    seed: int,
    windows: float,
    skew: float = 0,
    says: Says | None = None,
    ideal: bool = False,
) -> Client:
    """So many windows' lengths of traffic. `skew` is a part of the guard; `ideal` asks the provider itself first."""
    world = World(case.start, seed)
    ledger = ledger_in(world)
    await ledger.define([pool(case, cap, counts)])
    fake = Fake({"it": Axis(case.truth(cap, int(skew * case.guard)), counts)})
    ledgers = [Ideal(world, fake)] if ideal else [ledger]
    client = Client(world, ledgers, fake, {"it": "pool"}, habits, says)
    await client.run(windows * case.length / SECOND)
    assert await ledger.reconcile() == []
    return client


def never_more(client: Client) -> None:
    """I14: what the provider has counted was never above its limit, so it has never refused."""
    for name, axis in client.fake.axes.items():
        assert client.fake.most(name) <= axis.limiter.cap
    assert client.fake.refused == []


class Ideal:
    """In place of a ledger: somebody who sees the provider's own count, and keeps back what is on its way."""

    def __init__(self, world: World, fake: Fake) -> None:
        [self._axis] = fake.axes.values()
        self._world, self._open = world, dict[Attempt, tuple[int, int]]()

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        [amount] = amounts.values()
        now, late = self._world.now, self._axis.counts in {"both", "end"}
        kept = sum(each for at, each in self._open.values() if late or now - at < 3 * SECOND)  # else it has arrived
        if self._axis.limiter.left(now) < kept + amount:
            return Denied("pool", "spent", now + SECOND // 2)
        self._open[attempt] = now, amount
        return Granted(attempt, now + HOUR)

    async def settle(self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None) -> None:
        del self._open[attempt]

    async def release(self, attempt: Attempt, why: str) -> bool:
        return self._open.pop(attempt, None) is not None

    async def observe(self, observation: Observation) -> None:
        pass


@settings(max_examples=60)
@given(
    case=st.sampled_from(CASES),
    counts=st.sampled_from(("arrival", *TOKENS)),
    scale=st.sampled_from((1, 2, 9, 40)),
    habits=st.builds(
        Habits,
        demand=st.sampled_from(("flood", "waves", "drip")),
        stream=st.sampled_from(((1.0, 20.0), (1.0, 1.1), (15.0, 20.0))),
        latency=st.sampled_from(((0.05, 3.0), (0.05, 0.06), (2.9, 3.0))),
        unreachable=st.sampled_from((0.0, 0.2)),
    ),
    pause=st.sampled_from((0.03, 0.3, 1.0)),
    skew=st.floats(-1, 1),
    seed=st.integers(0, 2**32),
)
async def test_no_provider_ever_counts_more_than_its_limit(
    *, case: Case, counts: Counts, scale: int, habits: Habits, pause: float, skew: float, seed: int
) -> None:
    cap = scale if counts == "arrival" else 600 * scale
    pause *= case.length / SECOND / (scale if habits.demand == "drip" else 1)
    habits = replace(habits, pause=pause)
    client = await simulated(case, counts, cap, habits, seed=seed, windows=4, skew=skew)
    never_more(client)
    assert client.granted


@pytest.mark.parametrize("counts", ["arrival", *TOKENS])
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_little_is_left_over_where_there_is_demand(case: Case, counts: Counts) -> None:
    """85 % of the limit, or of what the ideal client gets: a minute's tokens are held as long as an answer lasts."""
    cap, windows = (40, 8) if counts == "arrival" else (9_000, 8)
    client = await simulated(case, counts, cap, Habits(), seed=7, windows=windows, skew=0.9)
    never_more(client)
    share = used_share(client.fake.axes["it"].limiter, windows * case.length / SECOND, case.length)
    if share < 0.85:
        assert case.length == MINUTE
        truth = (lambda cap, skew: Sliding(cap, MINUTE, skew)) if isinstance(case.window, Rolling) else case.truth
        known = replace(case, truth=truth)  # who knows nothing of the window must take it for a rolling one
        ideal = await simulated(known, counts, cap, Habits(), seed=7, windows=windows, skew=0.9, ideal=True)
        assert share >= 0.85 * used_share(ideal.fake.axes["it"].limiter, windows * case.length / SECOND, case.length)


def told_by(
    headers: Callable[[Limiter, Limiter, int], Mapping[str, str]], provider: str, lie: Lie | None
) -> Callable[[Fake, int], Sequence[Observation]]:
    """What the gateway understands of these headers, by the rules of its catalog."""
    rules = catalog.shipped()[provider].headers
    before: dict[str, str] = {}

    def says(fake: Fake, at: int) -> Sequence[Observation]:
        said = headers(fake.axes["requests"].limiter, fake.axes["tokens"].limiter, at)
        sent = said if lie is None else lying(said, lie, before)
        before.update(before or said)  # the first answer's, for ever
        return [
            Observation(each.metric, at, "header", each.limit, each.remaining, each.resets_at)
            for each in read(rules, sent, at, durations.wait)
        ]

    return says


@pytest.mark.parametrize("lie", [None, *get_args(Lie)])
@pytest.mark.parametrize(
    ("headers", "provider", "window", "truth"),
    [
        (openai_headers, "groq", Gcra, Bucket),
        (cerebras_headers, "cerebras", Gcra, Bucket),
        (mistral_headers, "mistral", Rolling, Sliding),
        (anthropic_headers, "anthropic", Gcra, Bucket),
    ],
    ids=["groq", "cerebras", "mistral", "anthropic"],
)
async def test_what_providers_say_of_their_limits_does_no_harm(
    headers: Callable[[Limiter, Limiter, int], Mapping[str, str]],
    provider: str,
    window: type[Gcra] | type[Rolling],
    truth: type[Bucket] | type[Sliding],
    lie: Lie | None,
) -> None:
    world = World(NOVEMBER, 11)
    ledger = ledger_in(world)
    pools = [
        Pool("requests", 60, window(MINUTE), on_arrival=True),
        Pool("tokens", 9_000, window(MINUTE), on_arrival=True),
    ]
    await ledger.define(pools)
    fake = Fake({"requests": Axis(truth(60, MINUTE), "arrival"), "tokens": Axis(truth(9_000, MINUTE), "longest")})
    named = {"requests": "requests", "tokens": "tokens"}
    client = Client(world, [ledger], fake, named, Habits(), told_by(headers, provider, lie))
    await client.run(600)
    never_more(client)
    if lie is None:
        share = used_share(fake.axes["tokens"].limiter, 600, MINUTE)
        assert share > 0.7, share


@pytest.mark.slow
async def test_several_processes_share_one_file(tmp_path: Path) -> None:
    world, minutes = World(NOVEMBER, 5), 8
    pools = [Pool("rpm", 20, Rolling(MINUTE), on_arrival=True), Pool("tph", 40_000, Fixed("hour"))]
    rpm, tph = Calendar(20, "minute", phase=17 * SECOND), Calendar(40_000, "hour")
    fake = Fake({"rpm": Axis(rpm, "arrival"), "tph": Axis(tph, "both")})
    async with AsyncExitStack() as stack:
        ledgers = [await stack.enter_async_context(remote_ledger(world, tmp_path / "quota.db")) for _ in range(3)]
        for ledger in ledgers:
            await ledger.define(pools)
        client = Client(world, ledgers, fake, {"rpm": "rpm", "tph": "tph"}, Habits(at_once=4))
        await client.run(minutes * 60)
        never_more(client)
        assert used_share(rpm, minutes * 60, MINUTE) > 0.85
        assert [await ledger.reconcile() for ledger in ledgers] == [[], [], []]
