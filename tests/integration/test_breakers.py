"""A model that fails again and again is left alone, which clients, `/health` and `/metrics` say; and it comes back."""

import asyncio
from typing import Any

import aiohttp
import pytest

from backends.errors import RateLimited, ServerFailed
from backends.fake import FakeBackend
from proxy.app import Gateway
from tests.gateway import ANSWER, answers, client, gateway

ALONE = """
deadlines.retry = 0.001
[health]
failures = 3
open_seconds = 60
"""
PAIR = """
[health]
failures = 3
open_seconds = 0.02
longest_open_seconds = 0.02
slow_start_seconds = 0.5
[[backends]]
name = "first"
kind = "fake"
[[backends]]
name = "second"
kind = "fake"
[models.fast]
targets = ["first/fake", "second/fake"]
"""


async def ask(started: Gateway, model: str, **more: Any) -> tuple[int, Any, str | None]:
    """Its status, body and Retry-After."""
    body = {"model": model, "input": "hi", **more}
    async with aiohttp.ClientSession() as session, session.post(f"{started.base_url}/responses", json=body) as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def ops(started: Gateway, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{started.ops_url}/{path}") as answer:
        return await answer.text()


async def test_one_that_is_alone_is_refused_at_once_and_everybody_sees_why() -> None:
    broken = FakeBackend("fake", script=[ServerFailed(500)])
    async with gateway(ALONE, [broken]) as started:
        while len(broken.requests) < 3:
            assert (await ask(started, "fake"))[1]["error"]["code"] != "internal_error"
        status, body, wait = await ask(started, "fake")
        assert (status, body["error"]["code"]) == (503, "backend_circuit_open")
        assert "failed again and again" in body["error"]["message"]
        assert wait is not None
        assert 40 < int(wait) <= 60
        assert len(broken.requests) == 3  # nobody was asked
        metrics, health = await ops(started, "metrics"), await ops(started, "health")
    assert 'streamlane_breaker_state{backend="fake",model="fake"} 2.0' in metrics
    assert '"reason":"Not asked now, since they failed: fake/fake."' in health.replace('": "', '":"')
    assert '"breaker":"open"' in health.replace('": "', '":"')


async def test_another_target_answers_meanwhile_and_the_first_one_comes_back() -> None:
    first, second = FakeBackend("first", script=[ServerFailed(500)]), answers("second")
    async with gateway(PAIR, [first, second]) as started, client(started) as socket:
        for _ in range(3):
            await socket.create("fast")
            assert (await socket.until())[-1]["type"] == "response.completed"
        assert len(first.requests) == 3
        first.script = ANSWER
        async with asyncio.timeout(20):
            while len(first.requests) < 8:  # a probe, and then more and more
                await socket.create("fast")
                assert (await socket.until())[-1]["type"] == "response.completed"


async def test_a_rate_limit_is_told_to_who_comes_while_it_holds() -> None:
    limited = FakeBackend("fake", script=[RateLimited(60.0)])
    async with gateway(ALONE, [limited]) as started:
        for _ in range(2):
            status, body, wait = await ask(started, "fake")
            assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
            assert wait in {"59", "60"}
        metrics = await ops(started, "metrics")
    assert len(limited.requests) == 1
    assert 'streamlane_cooldown_seconds{backend="fake",model="fake",scope="model"} 5' in metrics
    assert 'streamlane_breaker_state{backend="fake",model="fake"} 0.0' in metrics


@pytest.mark.parametrize(("own", "code"), [("", None), ("[privacy]\nown_backends = []", "no_model_fits")])
async def test_confidential_texts_go_to_own_machines_only(own: str, code: str | None) -> None:
    here = answers()
    async with gateway(own, [here]) as started:
        _, body, _ = await ask(started, "fake", sl_route={"data": "confidential"})
    assert (body["error"] and body["error"]["code"]) == code
    assert len(here.requests) == (0 if code else 1)
