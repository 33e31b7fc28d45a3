"""Who waits and who is refused, as clients see it: `GET /v1/queue`, the error with its time, and the notice."""

import asyncio
from typing import Any

import aiohttp
import msgspec

from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.reference.answers import Queue
from tests.gateway import DONE, client, gateway

ALICE, BOB = "sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb"
KEYS = f'server.api_keys = ["{ALICE}", "{BOB}"]\n'


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def stuck(slots: int = 1) -> FakeBackend:
    return FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event(), DONE], slots=slots)


async def queue(base_url: str, key: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{base_url}/queue", headers=bearer(key)) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        body = await answer.read()
    msgspec.json.decode(body, type=Queue, strict=True)  # as the reference says
    found: list[dict[str, Any]] = msgspec.json.decode(body)["data"]
    return found


async def test_each_key_sees_how_busy_backends_are_and_only_its_own_requests() -> None:
    free = FakeBackend("free", models=("other",))
    async with (
        gateway(KEYS, [stuck(), free]) as started,
        client(started, additional_headers=bearer(ALICE)) as alice,
        client(started, additional_headers=bearer(BOB)) as bob,
    ):
        await alice.create(stream_id="a")
        await alice.until("response.output_text.delta")
        await alice.create(stream_id="b", sl_route={"work": "batch"}, max_output_tokens=100)
        waits = (await alice.until("response.in_progress"))[-1]["response"]["id"]
        await bob.create(stream_id="a", max_output_tokens=100)
        other = (await bob.until("response.in_progress"))[-1]["response"]["id"]
        while (seen := await queue(started.base_url, ALICE))[0]["queued_tokens"] < 202:
            await asyncio.sleep(0.01)
        at, idle = seen
        assert (at["backend"], at["running"], at["limit"]) == ("fake", 1, 1)
        assert at["waiting"] == {"interactive": 1, "agent": 0, "batch": 1}
        assert at["yours"] == [{"id": waits, "priority": "batch", "place": 2, "estimated_wait": None}]
        assert (idle["limit"], idle["min_running"], idle["max_running"], idle["estimated_wait"]) == (None, 4, None, 0.0)
        [ours] = (await queue(started.base_url, BOB))[0]["yours"]
        assert (ours["id"], ours["place"]) == (other, 1)
    async with aiohttp.ClientSession() as session, gateway(KEYS, [stuck()]) as started:
        assert (await session.get(f"{started.base_url}/queue")).status == 401


async def test_who_is_refused_for_load_is_told_when_to_come_again_on_every_way() -> None:
    async with gateway("load.queue = 0", [stuck()]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        await socket.until("response.output_text.delta")
        await socket.create(stream_id="b")
        error = (await socket.until())[-1]["response"]["error"]
        assert (error["code"], error["retry_after_ms"]) == ("backend_overloaded", 1000)
        for path, body in {
            "responses": {"model": "fake", "input": "hi"},
            "chat/completions": {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "stream": True},
        }.items():
            async with aiohttp.ClientSession() as session:
                answer = await session.post(f"{started.base_url}/{path}", json=body)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                error = (await answer.json())["error"]
                assert (error["code"], error["retry_after_ms"]) == ("backend_overloaded", 1000)
                assert "already wait" in error["message"]


async def test_who_could_not_be_served_in_time_is_refused_at_once() -> None:
    """What is known of how long an answer takes is enough to say no."""
    backend = FakeBackend("fake", script=[[TextDelta("x")], 0.3, DONE], slots=1)
    async with gateway(backends=[backend]) as started, client(started, query="?sl_ext=1") as socket:
        await socket.create(stream_id="a")
        await socket.until()
        await socket.create(stream_id="a")
        await socket.until("response.output_text.delta")
        await socket.create(stream_id="b")
        told = (await socket.until("streamlane:route"))[-1]
        assert told["queue_position"] == 1
        assert 0.3 <= told["estimated_wait"] < 3
        await socket.create(stream_id="c", sl_route={"deadline_ms": 400})
        ends = {}
        while "c" not in ends:
            end = (await socket.until())[-1]
            ends[end["stream_id"]] = end["response"]
        assert ends["c"]["status"] == "failed", "two would go before it"
        assert ends["c"]["error"]["retry_after_ms"] >= 1000
        assert "the wait for it would be about" in ends["c"]["error"]["message"]


async def test_an_operator_bounds_single_backends() -> None:
    text = "[load]\nmax_running = 5\n[load.backends.fake]\nmax_running = 2\nadaptive = false\n"
    async with gateway(text, [stuck(slots=8), FakeBackend("free", models=("other",))]) as started:
        async with aiohttp.ClientSession() as session:
            data = (await (await session.get(f"{started.base_url}/queue")).json())["data"]
    assert [(row["limit"], row["min_running"], row["max_running"]) for row in data] == [(2, 2, 2), (5, 4, 5)]
