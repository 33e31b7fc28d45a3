"""The official OpenAI SDK for Node, unmodified, talks to a gateway."""

import asyncio
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway import Gateway, gateway

pytestmark = pytest.mark.needs("node")

CLIENT = Path(__file__).parent / "node" / "responses.mjs"
TEXT = "Grüße, 世界! 👋 " * 20 + "The end."
CONFIG = f"""
[[backends]]
kind = "fake"
name = "fake"
text = "{TEXT}"
"""


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(CONFIG) as running:
        yield running


async def ask(running: Gateway, model: str) -> tuple[int | None, str, str]:
    client = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), running.base_url, model, "Say something.", stdout=PIPE, stderr=PIPE
    )
    out, err = await client.communicate()
    return client.returncode, out.decode(), err.decode()


async def test_it_streams_an_answer(running: Gateway) -> None:
    assert await ask(running, "fake") == (0, TEXT, "")


async def test_it_understands_a_refusal(running: Gateway) -> None:
    status, said, complaint = await ask(running, "no-such-model")
    assert (status, said) == (1, "")
    assert "no-such-model" in complaint
