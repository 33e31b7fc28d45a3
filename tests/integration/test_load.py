"""Twice and ten times what a backend can do, through a whole gateway: goodput, refusals, recovery, and who runs.

The arithmetic of it is in tests/unit/proxy/test_load.py, in virtual time; here it is the clock's own.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend, Step
from backends.request import Request
from tests.gateway import DONE, client, gateway, process

SLOTS, SERVICE = 4, 0.2  # answers at once; seconds that one takes
PEAK = SLOTS / SERVICE
WAIT = 1000  # milliseconds until the first token, at most


@dataclass
class Seen:
    """What became of requests. Times are in seconds from when each was sent."""

    firsts: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)  # by the clock
    refused: list[float] = field(default_factory=list)
    late: int = 0
    pings: list[float] = field(default_factory=list)  # of another request, that asks no backend


async def ask(session: aiohttp.ClientSession, base_url: str, seen: Seen) -> None:
    body = {"model": "fake", "input": "hi", "stream": True, "sl_route": {"deadline_ms": WAIT}, "max_output_tokens": 20}
    began = time.perf_counter()
    async with session.post(f"{base_url}/responses", json=body) as answer:
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await answer.json())["error"]["retry_after_ms"] >= 1000
            seen.refused.append(time.perf_counter() - began)
            return
        if answer.status == 504:  # it waited as long as it wanted to
            seen.late += 1
            return
        assert answer.status == 200
        text = b""
        async for line in answer.content:
            if b"output_text.delta" not in text and line.startswith(b"event: response.output_text.delta"):
                seen.firsts.append(time.perf_counter() - began)
            text += line
    assert b"event: response.completed" in text
    seen.ended.append(time.perf_counter())


async def ping(session: aiohttp.ClientSession, base_url: str, seen: Seen) -> None:
    began = time.perf_counter()
    async with session.get(f"{base_url}/models") as answer:
        await answer.read()
    seen.pings.append(time.perf_counter() - began)


async def offer(session: aiohttp.ClientSession, base_url: str, times: float, seconds: float) -> Seen:
    """Requests at an even pace, however they fare."""
    seen, began = Seen(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(times * PEAK * seconds)):
            await asyncio.sleep(began + number / (times * PEAK) - time.perf_counter())
            group.create_task(ask(session, base_url, seen))
            if number % 10 == 0:
                group.create_task(ping(session, base_url, seen))
        ends = time.perf_counter()
    seen.ended = [each for each in seen.ended if each <= ends]
    return seen


async def saturated(session: aiohttp.ClientSession, base_url: str, seconds: float) -> float:
    """Answers per second when there is always just enough to do."""
    seen, ends = Seen(), time.perf_counter() + seconds

    async def one_after_the_other() -> None:
        while time.perf_counter() < ends:
            await ask(session, base_url, seen)

    async with asyncio.TaskGroup() as group:
        for _ in range(SLOTS):
            group.create_task(one_after_the_other())
    return sum(each <= ends for each in seen.ended) / seconds


async def recovered(session: aiohttp.ClientSession, base_url: str) -> float:
    """Seconds until an answer takes no longer than it does alone."""
    began = time.perf_counter()
    while True:
        seen, sent = Seen(), time.perf_counter()
        await ask(session, base_url, seen)
        if seen.ended and time.perf_counter() - sent < 3 * SERVICE:
            return time.perf_counter() - began


def at(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


class Mixed(FakeBackend):
    """Short answers; and long ones to who asks for them, a word every 20 ms."""

    def answer(self, request: Request) -> list[Step]:
        if "long" not in str(request.messages):
            return [[TextDelta("Hi")], SERVICE, DONE]
        return [step for _ in range(200) for step in ([TextDelta("x ")], 0.02)] + [DONE]


async def test_overload_costs_nothing_but_the_requests_that_are_too_many() -> None:
    backend = Mixed("fake", slots=SLOTS + 2)
    async with (
        gateway(backends=[backend]) as started,
        client(started) as socket,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        for lane in "ab":
            await socket.create(text="long", stream_id=lane)
        peak = await saturated(session, started.base_url, 1)
        for times, seconds in ((2, 1.0), (10, 1.5)):
            seen = await offer(session, started.base_url, times, seconds)
            served = len(seen.ended) / seconds
            assert served >= 0.8 * peak, "of a second and a half; the slow test wants nine tenths"
            assert median(seen.firsts) <= 2 * WAIT / 1000
        assert len(seen.refused) > len(seen.firsts), "most of ten times too many"
        assert median(seen.refused) < 0.02 + 5 * median(seen.pings), "as soon as anything is answered"
        assert await recovered(session, started.base_url) < 5
        texts = {"a": 0, "b": 0}
        done = set[str]()
        while len(done) < 2:
            event = json.loads(await socket.connection.recv())
            if event["type"] == "response.output_text.delta":
                texts[event["stream_id"]] += event["delta"].count("x")
            elif event["type"] == "response.completed":
                done.add(event["stream_id"])
        assert texts == {"a": 200, "b": 200}, "who ran already is left alone"
        async with session.get(f"{started.base_url}/queue") as answer:
            [row] = (await answer.json())["data"]
        assert (row["running"], sum(row["waiting"].values()), row["queued_tokens"]) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_two_minutes_of_it() -> None:
    text = f"""
        [[backends]]
        kind = "fake"
        name = "fake"
        slots = {SLOTS}
        text = "{"word " * 10}"
        tokens_per_second = {10 / SERVICE}
    """
    async with (
        process(text) as started,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        peak = await saturated(session, started.base_url, 10)
        for times in (2, 10):
            seen = await offer(session, started.base_url, times, 120)
            served = len(seen.ended) / 120
            firsts, refused = sorted(seen.firsts), sorted(seen.refused)
            print(
                f"{times} x: {served:.1f} of {peak:.1f} answers/s, {len(refused)} refused, {seen.late} waited in vain"
            )
            print(f"first token: p50 {at(firsts, 0.5):.3f} s, p95 {at(firsts, 0.95):.3f} s")
            print(
                f"refusals: p50 {at(refused, 0.5):.4f} s, p95 {at(refused, 0.95):.4f} s, p99 {at(refused, 0.99):.4f} s"
            )
            assert served >= 0.9 * peak
            assert at(seen.firsts, 0.95) <= 1.2 * WAIT / 1000
            assert at(seen.refused, 0.5) < 0.02
            assert at(seen.refused, 0.95) < 0.06
            assert await recovered(session, started.base_url) < 5
