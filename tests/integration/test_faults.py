"""What a client sees and a provider is asked when a provider misbehaves: the classic faults, on every way in.

Each cell is a gateway of its own between a client and fake providers that listen on real sockets. What was seen becomes
docs/faults.md: when that is out of date, WRITE_FAULTS=1 python -m pytest tests/integration/test_faults.py -k page.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

from proxy import retry
from proxy.wire_errors import WIRE
from tests.integration.fault_ways import WAYS, Heard, Said, Way, World, said
from tests.providers.base import Fault, Seen

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
STATUS = {row.code: row.status for row in WIRE.values()}

Target: TypeAlias = Literal["single", "alias", "once"]


@dataclass(frozen=True)
class Want:
    """What must happen: whose text arrives, with which error's code, after how many requests to each provider."""

    said: Said
    code: str | None = None
    primary: int = 1
    fallback: int = 0
    left: bool = False  # the primary is left before it has said all that it would
    retry_after: str | None = None


OWN, OTHER = Want("primary"), Want("fallback", fallback=1)


@dataclass(frozen=True)
class Row:
    """One fault: `fault` on every request to the primary, or once (`passing`, where that is another)."""

    name: str
    fault: Fault
    single: Want
    alias: Want
    once: Want
    passing: Fault | None = None
    deadlines: str = ""


def transient(name: str, fault: Fault, code: str) -> Row:
    """A fault before the first content that may have passed a moment later."""
    return Row(name, fault, Want("nothing", code, 2), OTHER, Want("primary", primary=2))


def refused(name: str, fault: Fault, code: str) -> Row:
    """A fault before the first content that only another target may not have."""
    return Row(name, fault, Want("nothing", code), OTHER, Want("nothing", code))


def harmless(name: str, fault: Fault) -> Row:
    return Row(name, fault, OWN, OWN, OWN)


def broken(name: str, fault: Fault, code: str, deadlines: str = "", *, left: bool = False) -> Row:
    """A fault after the first content: what was said stands, and nobody else is asked."""
    want = Want("part", code, left=left)
    return Row(name, fault, want, want, want, deadlines=deadlines)


LATE = Want("nothing", "deadline_exceeded", left=True)
MANY = "rate_limit_exceeded"
ROWS = [
    Row(
        "429 with `Retry-After: 60`; once: 0.2 s",
        Fault("rate_limited", retry_after=60),
        Want("nothing", MANY, retry_after="60"),
        OTHER,
        Want("primary", primary=2),
        passing=Fault("rate_limited", retry_after=0.2),
    ),
    transient("429 without `Retry-After`", Fault("rate_limited"), MANY),
    transient("503", Fault("overloaded"), "backend_overloaded"),
    transient("reset before the headers", Fault("reset_before_headers"), "backend_stream_broken"),
    transient("reset after the headers", Fault("reset_after_headers"), "backend_stream_broken"),
    harmless("20 s until the first token", Fault("slow", seconds=0.2)),
    Row(
        "no token within `first_event`",
        Fault("slow", seconds=100),
        LATE,
        replace(OTHER, left=True),
        LATE,
        deadlines="first_event = 1",
    ),
    broken("cut after 40 tokens", Fault("cut", at=40), "backend_stream_broken"),
    broken("cut after 60 tokens", Fault("cut", at=60), "backend_stream_broken"),
    harmless("silence of 30 s after 20 tokens", Fault("stall", at=20, seconds=0.3)),
    broken("silence longer than `idle`", Fault("stall", 20, 100), "deadline_exceeded", "idle = 0.3", left=True),
    broken("a chunk that is not JSON", Fault("bad_chunk", at=20, seconds=100), "backend_protocol_error", left=True),
    harmless("no `[DONE]` after the finish reason", Fault("no_done")),
    broken("half of the last JSON", Fault("half_json"), "backend_stream_broken"),
    refused("prompt longer than the context", Fault("context_overflow"), "context_length_exceeded"),
    refused("content filter", Fault("content_filter"), "content_filter"),
    refused("prefill refused", Fault("prefill_refused"), "unsupported_feature"),
    transient("an error inside a 200", Fault("error_in_200"), "backend_failed"),
]
CELLS = [(row, target) for row in ROWS for target in ("single", "alias", "once")]


@dataclass(frozen=True)
class Ran:
    """What was seen of one cell on one way in, and how many places were still held when the client had its answer."""

    heard: Heard
    primary: tuple[Seen, ...]
    fallback: tuple[Seen, ...]
    places: int


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are scaled down; what the provider asks for is not."""
    monkeypatch.setattr(retry, "BASE", 0.02)


async def run(row: Row, target: Target, way: Way) -> Ran:
    async with World(row.deadlines) as world:
        if target == "once":
            world.primary.faults.append(row.passing or row.fault)
        else:
            world.primary.always = row.fault
        got = await world.ask(way, "both" if target == "alias" else "primary/fake")
        places = world.places
        async with asyncio.timeout(20):
            for seen in (*world.primary.seen, *world.fallback.seen):
                await seen.gone.wait()
            while await world.metric("backend_connections", 'state="busy"'):  # the end of a body is on its way
                await asyncio.sleep(0.01)
        return Ran(got, tuple(world.primary.seen), tuple(world.fallback.seen), places)


_ran: dict[tuple[str, Target], dict[Way, Ran]] = {}


async def ran(row: Row, target: Target) -> dict[Way, Ran]:
    """Of each cell once: the tests look at it one by one, and the page at all."""
    if (row.name, target) not in _ran:
        got = await asyncio.gather(*(run(row, target, way) for way in WAYS))
        _ran[row.name, target] = dict(zip(WAYS, got, strict=True))
    return _ran[row.name, target]


@pytest.mark.parametrize(("row", "target"), CELLS, ids=lambda value: getattr(value, "name", value))
async def test_what_becomes_of_it(row: Row, target: Target) -> None:
    want: Want = getattr(row, target)
    for way, seen in (await ran(row, target)).items():
        got = seen.heard
        assert (len(seen.primary), len(seen.fallback)) == (want.primary, want.fallback), way
        assert seen.primary[0].left_early == want.left, way
        assert not any(each.left_early for each in seen.fallback), way
        assert got.code == want.code, way
        assert len(got.ends) == (1 if way == "socket" or got.status == 200 else 0), way
        failed_later = want.said == "part" and way != "JSON"
        assert got.status == (None if way == "socket" else 200 if failed_later else STATUS.get(got.code or "", 200))
        assert got.ends in ((), ("response.failed" if want.code else "response.completed",)), way
        assert got.retry_after == (None if way == "socket" else want.retry_after), way
        if row.fault.name == "half_json" and way != "JSON":
            assert said(got.text) == "primary", "all text had come, only the end was missing"
        elif way == "JSON" and want.code:
            assert got.text == ""
        else:
            assert said(got.text) == want.said, way
        if row.fault.name == "cut" and got.text:
            assert len(got.text.split()) == row.fault.at


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_keeps_no_place_and_no_connection(row: Row) -> None:
    for target in ("single", "alias", "once"):
        held = {way: seen.places for way, seen in (await ran(row, target)).items()}
        assert not any(held.values()), held


async def test_a_retry_after_is_obeyed() -> None:
    for seen in (await ran(ROWS[0], "once")).values():
        first, second = seen.primary
        assert second.at - first.at >= 0.2


@dataclass(frozen=True)
class Flapped:
    """Four requests in a row while every other one fails."""

    codes: tuple[str | None, ...]
    primary: tuple[Seen, ...]
    fallback: tuple[Seen, ...]


async def flapping(model: str, way: Way) -> Flapped:
    async with World() as world:
        world.primary.faults += [Fault("overloaded"), None] * 4
        got = [await world.ask(way, model) for _ in range(4)]
        assert all(said(each.text) in ({"nothing"} if each.code else {"primary", "fallback"}) for each in got)
        return Flapped(tuple(each.code for each in got), tuple(world.primary.seen), tuple(world.fallback.seen))


FLAPPED = {
    "both": ((None, None, None, None), 4, 2),
    # The first is tried again; then the budget is spent, and each request is on its own.
    "primary/fake": ((None, "backend_overloaded", None, "backend_overloaded"), 5, 0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", FLAPPED)
async def test_a_primary_that_flaps(model: str, way: Way) -> None:
    seen = await flapping(model, way)
    assert (seen.codes, len(seen.primary), len(seen.fallback)) == FLAPPED[model]


async def outage(world: World, model: str) -> tuple[set[str | None], list[int]]:
    """A hundred requests, ten at a time: their codes, and how many of them came to each provider."""
    codes = set[str | None]()
    before = [len(each.seen) for each in (world.primary, world.fallback)]
    for _ in range(10):
        codes |= {each.code for each in await asyncio.gather(*(world.ask("JSON", model) for _ in range(10)))}
    after = [len(each.seen) for each in (world.primary, world.fallback)]
    return codes, [after[number] - before[number] for number in (0, 1)]


@pytest.mark.parametrize(
    ("model", "least", "most"), [("primary/fake", (101, 0), (121, 0)), ("both", (100,) * 2, (100,) * 2)]
)
async def test_retries_alone_hardly_add_to_what_providers_are_asked_in_an_outage(
    model: str, least: tuple[int, int], most: tuple[int, int]
) -> None:
    async with World(more="[health]\nfailures = 1000\nerror_share = 1") as world:
        for each in ("primary/fake", "fallback/fake"):  # what was well once is not all faults, so no breaker opens
            assert (await world.ask("JSON", each)).code is None
        world.primary.always = world.fallback.always = Fault("server_error")
        codes, asked = await outage(world, model)
        assert codes == {"backend_failed"}
        assert all(few <= count <= many for few, count, many in zip(least, asked, most, strict=True)), asked


@pytest.mark.parametrize(
    ("fault", "codes"),
    [("overloaded", {"backend_overloaded"}), ("server_error", {"backend_failed", "backend_circuit_open"})],
)
@pytest.mark.parametrize(("model", "providers"), [("primary/fake", 1), ("both", 2)])
async def test_in_a_total_outage_providers_are_hardly_asked(
    model: str, providers: int, fault: Literal["overloaded", "server_error"], codes: set[str]
) -> None:
    async with World() as world:
        world.primary.always = world.fallback.always = Fault(fault)
        seen, asked = await outage(world, model)
        assert seen == codes
        assert all(3 <= each <= 40 for each in asked[:providers]), asked  # 10 when it is quick: those asked at once
        assert sum(asked[providers:]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_with_the_real_waits(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE", 0.5)
    rows = [
        ([Fault("slow", seconds=20)], 20),
        ([Fault("stall", at=20, seconds=30)], 30),
        ([Fault("rate_limited", retry_after=5)], 5),
        ([Fault("overloaded")], 0),
    ]

    async def one(faults: list[Fault], least: float) -> None:
        async with World() as world:
            world.primary.faults += faults
            began = asyncio.get_running_loop().time()
            got = await world.ask(way, "primary/fake")
            assert (said(got.text), got.code) == ("primary", None)
            assert asyncio.get_running_loop().time() - began >= least

    await asyncio.gather(*(one(*row) for row in rows))


HEAD = """\
# What happens when a provider misbehaves?

<!-- Written by tests/integration/test_faults.py from what it saw: WRITE_FAULTS=1 python -m pytest \
tests/integration/test_faults.py -k page -->

Each line was run against a real gateway, with a fake provider that does just this, once over the socket, once as a
stream over HTTP (SSE) and once as JSON. Nothing is ever repeated, mixed or lost silently: the text is one provider's,
and each response ends in exactly one terminal event, or in one status. Why it is tried again or not:
[Retries](retries.md).

This is what the first request meets that finds the fault. Those that come after it fare better: a provider that named a
time is not asked before that is over, nor is one that keeps failing. They go to the fallback at once, or are refused at
once where there is none: [Health](health.md). In a total outage, of a hundred requests within a second, ten at a time,
about ten came to each provider.

"Part, then" means: what had come was sent, and then the response failed with that code. Over JSON the client gets the
status alone. `first_event` and `idle` are [deadlines](configuration.md): with the defaults of 120 s and 60 s, 20 s
until the first token and a silence of 30 s are no faults.
"""
TABLES: dict[Target, str] = {
    "alias": "## An alias with a fallback, and a primary that fails each time",
    "single": "## A single target that fails each time",
    "once": "## A single target that fails once",
}
COLUMNS = "\n| fault | socket | SSE | JSON | primary was asked | fallback was asked |\n|---|---|---|---|---|---|\n"


async def page() -> str:
    parts = [HEAD]
    for target, title in TABLES.items():
        lines = [line(row, await ran(row, target)) for row in ROWS]
        if target != "once":
            lines.append(await flapping_line("both" if target == "alias" else "primary/fake"))
        parts.append(f"\n{title}\n{COLUMNS}" + "".join(lines))
    return "".join(parts)


def line(row: Row, seen: dict[Way, Ran]) -> str:
    asked = {(times(each.primary), times(each.fallback)) for each in seen.values()}
    assert len(asked) == 1, "the way in makes no difference to a provider"
    return f"| {row.name} | {' | '.join(words(seen[way].heard) for way in WAYS)} | {' | '.join(*asked)} |\n"


async def flapping_line(model: str) -> str:
    cells = []
    for way in WAYS:
        seen = await flapping(model, way)
        cells.append(f"{seen.codes.count(None)} of 4 answered")
    return f"| every other one is a 503 | {' | '.join(cells)} | {times(seen.primary)} | {times(seen.fallback)} |\n"


def words(got: Heard) -> str:
    """What a client sees, in a few words."""
    if got.code is None:
        return f"the {said(got.text)}'s answer"
    after = f", `Retry-After: {got.retry_after}`" if got.retry_after else ""
    if got.status not in {None, 200}:
        return f"{got.status} `{got.code}`{after}"
    return f"{'part, then ' if got.text else ''}`{got.code}`"


def times(seen: Sequence[Seen]) -> str:
    count = ("never", "once", "twice", *(f"{number} times" for number in range(3, 9)))[len(seen)]
    return f"{count}, and left" if any(each.left_early for each in seen) else count


async def test_the_page_says_what_was_seen() -> None:
    text = await page()
    if os.environ.get("WRITE_FAULTS"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "run it with WRITE_FAULTS=1"
