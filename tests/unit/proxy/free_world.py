"""Accounts with their pools as a ledger last told them, for tests of proxy/free.py; some built from a seed."""

import random
from collections.abc import Callable
from typing import Any, Literal

from hypothesis import strategies as st
from msgspec.structs import replace

from backends.base import Model
from backends.fake import FakeBackend
from backends.limits import Metric
from backends.request import EmbeddingRequest, Request, Tool, said
from proxy.fairness import Work
from proxy.free import select
from proxy.free_memory import FreeMemory
from proxy.metered import Draw, Metered, Term
from proxy.runtime import Candidate
from proxy.selection import Policy, Selection, Wish, scopes
from quota.ledger import Cooldown, Headroom
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window
from quota.windows import ENDLESS

NOON: Micros = 1_795_262_400 * SECOND  # 2026-11-21 12:00 UTC, the middle of a UTC day
HELLO = Request("free/auto", (said("user", "Hello."),), max_output_tokens=500)
HARD = replace(HELLO, tools=(Tool("run"),), reasoning_effort="high", messages=(said("user", "x" * 40_000),))
ANN = Wish("ann")
DAILY = Fixed("day")
ALLOWED = Policy()
WORKS: tuple[Work, ...] = ("interactive", "agent", "batch")


def head(cap: int, left: int, window: Window = DAILY, **more: Any) -> Headroom:
    """One pool, named by the World."""
    found = Headroom(Pool("", cap, window), cap, 0, cap - left, 0, left, None, None, None, "catalog", None, {})
    return replace(found, **more)


class World:
    """Candidates with their pools, and one look at them."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.headroom: dict[str, Headroom] = {}
        self.cooldowns: dict[str, Cooldown] = {}
        self.memory = FreeMemory()
        self.dice: Callable[[], float] = lambda: 0.5

    def add(self, name: str, *pools: tuple[Draw, Headroom], known: Model | None = None, **more: Any) -> None:
        """An account with one model "m" of that name, which draws on these pools."""
        for draw, pool in pools:
            self.headroom[draw.pool] = replace(pool, pool=Pool(draw.pool, pool.cap, pool.pool.window))
        metered = replace(Metered(name, "groq", "m", tuple(draw for draw, _ in pools), "stops"), **more)
        self.candidates.append(Candidate(FakeBackend(name), metered.model, known or Model("m"), metered))

    def daily(self, name: str, cap: int, left: int, *, window: Window = DAILY, **more: Any) -> None:
        """An account with so many requests a day."""
        self.add(name, (Draw(f"{name}/day", "requests"), head(cap, left, window)), **more)

    def select(
        self,
        request: Request | EmbeddingRequest = HELLO,
        wish: Wish = ANN,
        policy: Policy = ALLOWED,
        now: Micros = NOON,
    ) -> Selection:
        return select(
            self.candidates,
            request,
            wish,
            policy,
            headroom=self.headroom,
            cooldowns=self.cooldowns,
            now=now,
            memory=self.memory,
            dice=self.dice,
        )


def names(selection: Selection) -> list[str]:
    return [each.candidate.backend.name for each in selection.chosen]


def reasons(selection: Selection) -> dict[str, str]:
    return {each.candidate.backend.name: each.reason for each in selection.passed_over}


def refused(world: World, request: Request = HELLO, wish: Wish = ANN, policy: Policy = ALLOWED) -> str:
    """The reason why the only candidate is passed over."""
    found = world.select(request, wish, policy)
    assert not found.chosen
    [reason] = reasons(found).values()
    return reason


METRICS: tuple[Metric | Literal["concurrent_requests"], ...] = (
    "requests", "tokens", "input_tokens", "output_tokens", "neurons", "usd_micros", "concurrent_requests",
)  # fmt: skip
TERMS: tuple[Term, ...] = ("trains", "evaluation_only", "card", "logged", "unclear")
WINDOWS: tuple[Window, ...] = (
    Fixed("day"), Fixed("day", "America/Los_Angeles"), Fixed("month"), Fixed("ever"), Fixed("minute"), Rolling(MINUTE),
    Rolling(DAY), Gcra(MINUTE), Gcra(DAY), Concurrent(),
)  # fmt: skip


def any_pool(dice: random.Random) -> Headroom:
    cap = dice.choice([0, 1, 20, 1000, 8000, 200_000, 10_000_000])
    margin = dice.choice([0, 0, cap // 20, cap])
    closed = dice.choice([None] * 8 + [NOON - 1, NOON + HOUR, ENDLESS])
    left = dice.choice([0, cap - margin, dice.randint(0, cap - margin)])
    shares = {who: dice.randint(0, 300) for who in ("ann", "bob", "cid") if dice.random() < 0.5}
    soon = dice.choice([None, NOON + SECOND, NOON + DAY])
    return head(cap, left, dice.choice(WINDOWS), margin=margin, closed_until=closed, shares=shares, opens_at=soon)


def any_world(seed: int) -> World:
    """Built from a seed, for to draw each part of it would take most of the time."""
    dice, world = random.Random(seed), World()
    for number in range(6):
        drawn = [
            (Draw(f"{number}/{each}", dice.choice(METRICS), 400_000, 900_000), any_pool(dice))
            for each in range(dice.randint(0, 2))
        ]
        world.add(
            f"a{number}",
            *drawn,
            known=Model("m", dice.choice([None, 400, 128_000]), max_output=dice.choice([None, 100])),
            model=dice.choice("mn"),
            overrun=dice.choice(["stops", "bills", "unknown"]),
            terms=frozenset(dice.sample(TERMS, dice.choice([0, 0, 1]))),
            free=dice.random() < 0.7,
            quality=dice.choice([None, dice.random()]),
        )
    for pool in list(world.headroom):
        if dice.random() < 0.05:
            del world.headroom[pool]
    for candidate in world.candidates:
        if dice.random() < 0.2 and candidate.metered is not None:
            scope = dice.choice(scopes(candidate.metered)[:2])
            world.cooldowns[scope] = Cooldown(scope, dice.choice([NOON, NOON + HOUR, ENDLESS]), "401")
    active(world, *dice.sample(["bob", "cid"], dice.randint(0, 2)))
    world.memory.stick("talk", "a0", "m", NOON)
    world.dice = dice.random
    return world


def active(world: World, *people: str) -> None:
    for who in people:
        world.memory.asked(who, NOON)


worlds = st.builds(any_world, st.integers(0, 10**9))
wishes = st.builds(
    Wish,
    who=st.just("ann"),
    work=st.sampled_from(["interactive", "agent", "batch"]),
    profile=st.sampled_from(["auto", "fast", "best", "cheap"]),
    data=st.sampled_from(["any", "any", "no_training", "confidential"]),
    paid=st.booleans(),
    conversation=st.sampled_from([None, "talk"]),
    by_default=st.booleans(),
)
policies = st.builds(
    Policy,
    accepted=st.dictionaries(st.sampled_from([f"a{n}" for n in range(5)]), st.frozensets(st.sampled_from(TERMS))),
    billing=st.frozensets(st.sampled_from([f"a{n}" for n in range(5)])),
)
