"""What `/health` says of the whole and of each component, and to whom."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest

import proxy
from tests.gateway import answers, client, connected, gateway, process

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
DEAD = '[[backends]]\nname = "dead"\nkind = "openai_compatible"\nbase_url = "http://127.0.0.1:1/v1"\n'


async def health(url: str, key: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health", headers=headers) as answer:
        return answer.status, await answer.json()


async def test_when_all_is_well() -> None:
    async with gateway(backends=[answers(models=("one", "two"))]) as started, client(started):
        status, body = await health(started.ops_url)
    assert status == 200
    assert body["status"] == "ok"
    assert "reason" not in body
    assert body["version"] == proxy.__version__
    assert body["uptime_seconds"] >= 0
    components = body["components"]
    assert components["backends"] == {"fake": {"status": "up", "models": 2}}
    assert components["sockets"] == {"status": "ok", "open": 1, "responses": 0}
    assert components["event_loop"]["status"] in {"ok", "slow"}
    assert components["event_loop"]["longest_pause_seconds"] >= 0


async def test_a_backend_that_is_down_degrades_and_none_that_is_up_makes_unavailable() -> None:
    async with gateway(DEAD, [answers()]) as started:
        status, body = await health(started.ops_url)
    assert (status, body["status"], body["reason"]) == (200, "degraded", "Not up: dead.")
    dead = body["components"]["backends"]["dead"]
    assert (dead["status"], dead["models"]) == ("down", 0)
    assert dead["reason"]
    async with gateway(DEAD) as started:
        status, body = await health(started.ops_url)
    assert (status, body["status"], body["reason"]) == (503, "unavailable", "No backend is up.")


@pytest.mark.parametrize("listener", ["public", "ops"])
async def test_with_keys_it_is_told_to_who_has_one(listener: str) -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        url = started.ops_url if listener == "ops" else started.base_url.removesuffix("/v1")
        status, body = await health(url)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        status, body = await health(url, KEY)
        assert (status, body["status"]) == (200, "ok")


async def test_a_gateway_that_drains_is_unavailable() -> None:
    text = '[[backends]]\nname = "f"\nkind = "fake"\ntokens_per_second = 0.1'
    async with process(text) as started, connected(started.base_url) as socket, asyncio.timeout(10):
        await socket.create()
        await socket.until("response.output_text.delta")
        url = started.base_url.removesuffix("/v1")
        assert (await health(url))[0] == 200
        started.process.send_signal(signal.SIGTERM)
        while (found := await health(url))[0] == 200:
            pass
    status, body = found
    assert (status, body["status"], body["reason"]) == (503, "unavailable", "The gateway is shutting down.")
    assert body["components"]["sockets"] == {"status": "draining", "open": 1, "responses": 1}
