"""Connections break at any byte, again and again: each token comes once and in order, and each create runs once."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from openai import AsyncOpenAI, WebSocketConnectionClosedError
from prometheus_client.parser import text_string_to_metric_families as parsed
from websockets.exceptions import ConnectionClosed, WebSocketException

from streamlane_client import AsyncClient, Client, ConnectionLost, link
from tests.gateway import process
from tests.integration.cuts import Wire
from tests.integration.nginx import free_port
from tests.integration.node_client import script

LANES = "abcdef"  # each has a model of its own, and each model words of its own: "a0 a1 a2 …"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What each client asks: on each lane so many answers, one after the other. `pace` is in tokens per second.

    Its connections end after `every` bytes at most, so many times at least.
    """

    seed: int
    answers: int
    tokens: int
    pace: int
    every: int
    least: int

    def text(self, lane: str) -> str:
        return " ".join(f"{lane}{number}" for number in range(self.tokens))

    @property
    def config(self) -> str:
        backends = [
            f'[[backends]]\nname = "{lane}"\nkind = "fake"\nmodels = ["{lane}"]\n'
            f'text = "{self.text(lane)}"\ntokens_per_second = {self.pace}\n'
            for lane in LANES
        ]
        return "limits.default_max_output_tokens = 100000\n" + "".join(backends)


@dataclass(eq=False)
class Heard:
    """One answer as its client hears it; fails at once where an event is lost, repeated, or another's."""

    plan: Plan
    lane: str
    text: str = ""
    number: int = -1
    ended: bool = False

    @property
    def begun(self) -> bool:
        return self.number >= 0

    def take(self, kind: str, number: int, delta: str) -> None:
        assert not self.ended, f"{kind} after the end"
        assert (kind == "response.created") != self.begun, f"{kind} with number {number} after {self.number}"
        assert number > self.number, f"number {number} after {self.number}"
        self.number = number
        if kind == "response.output_text.delta":
            self.text += delta
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            self.ended = True
            assert kind == "response.completed"
            told = self.plan.text(self.lane)
            assert self.text == told, first_difference(self.text, told)

    def take_event(self, event: Any) -> None:
        """As our clients have it."""
        if event["type"].startswith("response."):
            self.take(event["type"], event["sequence_number"], event.get("delta", ""))


def first_difference(text: str, told: str) -> str:
    at = next((at for at, (one, other) in enumerate(zip(text, told, strict=False)) if one != other), len(text))
    near = slice(max(0, at - 20), at + 20)
    return f"{len(text)} characters of {len(told)}; at {at}: {text[near]!r}, not {told[near]!r}"


async def unmodified_sdk(plan: Plan, base_url: str) -> None:
    """What docs/sessions.md says, for several lanes: creates that are not answered yet are sent again."""
    key, last = uuid4().hex, 0
    heard: dict[str, Heard] = {}
    left = dict.fromkeys(LANES, plan.answers)
    sending: set[asyncio.Task[None]] = set()

    async def send(lane: str) -> None:
        create = {"type": "response.create", "model": lane, "input": "hi", "stream_id": lane}
        with suppress(ConnectionClosed, WebSocketConnectionClosedError):  # it is sent again on the next one
            await connection.send({**create, "event_id": f"{lane}{left[lane]}"})

    async def ask(lane: str) -> None:
        left[lane] -= 1
        heard[lane] = Heard(plan, lane)
        await send(lane)

    def again(_: Any) -> Any:
        for lane, each in heard.items():
            if not each.begun:
                task = asyncio.create_task(send(lane))
                sending.add(task)
                task.add_done_callback(sending.discard)
        return {"extra_query": {"sl_session": key, "sl_after": str(last)}}

    async with AsyncOpenAI(base_url=base_url, api_key="sk-local") as sdk:
        opening = sdk.responses.connect(
            extra_query={"sl_session": key},
            on_reconnecting=again,
            max_retries=1000,
            initial_delay=0.005,
            max_delay=0.02,
        )
        while True:
            with suppress(OSError, WebSocketException):  # the first connection is its user's to try again
                connection = await opening.enter()
                break
        try:
            for lane in LANES:
                await ask(lane)
            async for event in connection:
                assert event.type != "error", event
                assert event.sl_seq == last + 1 or last == 0  # the first connection may have taken some, and broken
                last = event.sl_seq
                lane = event.stream_id
                heard[lane].take(event.type, event.sequence_number, getattr(event, "delta", ""))
                if heard[lane].ended:
                    if left[lane]:
                        await ask(lane)
                    elif all(each.ended for each in heard.values()):
                        break
        finally:
            await connection.close()


async def asyncio_client(plan: Plan, base_url: str) -> None:
    async def use(lane: str) -> None:
        left = plan.answers
        while left:
            heard = Heard(plan, lane)
            try:
                async for event in client.create(model=lane, input="hi"):
                    heard.take_event(event)
            except ConnectionLost as error:  # where no connection comes at all, a create was never sent
                assert (error.code, heard.begun) == ("connection_failed", False)
            else:
                assert heard.ended
                left -= 1

    async with AsyncClient(base_url) as client, asyncio.TaskGroup() as group:
        for lane in LANES:
            group.create_task(use(lane))


async def threaded_client(plan: Plan, base_url: str) -> None:
    def use(client: Client, lane: str) -> None:
        left = plan.answers
        while left:
            heard = Heard(plan, lane)
            try:
                for event in client.create(model=lane, input="hi"):
                    heard.take_event(event)
            except ConnectionLost as error:
                assert (error.code, heard.begun) == ("connection_failed", False)
            else:
                assert heard.ended
                left -= 1

    client = Client(base_url)
    try:
        async with asyncio.TaskGroup() as group:
            for lane in LANES:
                group.create_task(asyncio.to_thread(use, client, lane))
    finally:
        await asyncio.to_thread(client.close)  # it says goodbye through our own wire


async def javascript_client(plan: Plan, base_url: str) -> None:
    async with script("fuzz", base_url, LANES=LANES, ANSWERS=str(plan.answers)) as node:
        for _ in range(len(LANES) * plan.answers):
            lane, events = await node.says()
            heard = Heard(plan, lane)
            for event in events:
                heard.take(*event)
            assert heard.ended


async def counted(ops_port: int) -> dict[str, int]:
    """The gateway's own counts: of the requests that each backend got, and of what could not be resumed ("gap")."""
    url = f"http://127.0.0.1:{ops_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        samples = [sample for family in parsed(await answer.text()) for sample in family.samples]
    counts = dict.fromkeys([*LANES, "gap"], 0)
    for sample in samples:
        if sample.name == "streamlane_requests_total":
            counts[sample.labels["backend"]] += int(sample.value)
        elif sample.name == "streamlane_resumes_total" and sample.labels["result"] == "gap":
            counts["gap"] += int(sample.value)
    return counts


@contextmanager
def repeatable(node_id: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(f"Repeat: python -m pytest '{node_id}'. The seed sets the cuts, the clock what was on its way.")
        raise


async def fuzz(plan: Plan) -> str:
    """All clients at once, each on its own wire. What it was like."""
    clients = [unmodified_sdk, threaded_client if plan.seed % 2 else asyncio_client, javascript_client]
    began = time.monotonic()
    ops_port = free_port()
    cuts: list[int] = []

    async def use(client: Any, seed: int) -> None:
        async with Wire(started.base_url, every=plan.every, most=200, seed=seed) as wire:
            await client(plan, wire.base_url)
        assert wire.cuts >= plan.least, f"{client.__name__} was cut only {wire.cuts} times"
        cuts.append(wire.cuts)

    async with process(plan.config, STREAMLANE_OPS_PORT=str(ops_port)) as started:
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(use(client, 3 * plan.seed + number))
        assert await counted(ops_port) == {**dict.fromkeys(LANES, len(clients) * plan.answers), "gap": 0}
    tokens = len(LANES) * plan.answers * plan.tokens
    return f"seed {plan.seed}: {len(clients)} x {tokens:,} tokens, {cuts} cuts, {time.monotonic() - began:.1f} s"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clients are back soon: otherwise all would have been said while they are away."""
    monkeypatch.setattr(link, "FIRST_DELAY", 0.02)


@pytest.mark.needs("node")
@pytest.mark.parametrize("seed", range(4))
async def test_every_token_comes_once(seed: int, request: pytest.FixtureRequest) -> None:
    plan = Plan(seed=seed, answers=3, tokens=280, pace=400, every=60_000, least=8)
    with repeatable(request.node.nodeid):
        print(await fuzz(plan))


@pytest.mark.slow
@pytest.mark.needs("node")
@pytest.mark.parametrize("seed", range(100, 120))
async def test_every_token_comes_once_for_long(
    seed: int, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(seed=seed, answers=5, tokens=1_000, pace=1_000, every=120_000, least=30)
    with repeatable(request.node.nodeid):
        done = await fuzz(plan)
    with capsys.disabled():
        print(f"\n{done}", end=" ", flush=True)
