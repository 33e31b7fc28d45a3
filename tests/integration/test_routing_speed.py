"""What `auto` adds to the time to the first token, beside the same backend asked by its own name."""

import time
from statistics import median
from typing import Any

import pytest

from tests.gateway import Client, connected, gateway
from tests.integration.test_routing import CONFIG

QUESTION = "A train leaves Boston at 9:15 going 60 miles an hour, and another one Albany at 10:00 going 75. " * 4
ROUNDS = 300


async def first_token(socket: Client, model: str, question: str) -> float:
    began = time.perf_counter()
    await socket.create(model, question, store=False)
    while (await socket.next())["type"] != "response.output_text.delta":
        pass
    seconds = time.perf_counter() - began
    await socket.until()
    return seconds


@pytest.mark.slow
@pytest.mark.parametrize(("length", "most"), [(1, 3.0), (10, 9.0)])
async def test_auto_adds_a_few_milliseconds(length: int, most: float, record_property: Any) -> None:
    """In turns on one socket, so that a busy machine slows both. For 400 characters, and for 4,000: in a thread."""
    async with gateway(CONFIG) as started, connected(started.base_url) as socket:
        plain, auto = list[float](), list[float]()
        for _ in range(ROUNDS // length):
            plain.append(await first_token(socket, "small/fake", QUESTION * length))
            auto.append(await first_token(socket, "auto:never", QUESTION * length))
    added = (median(auto) - median(plain)) * 1000
    record_property("added_ms", round(added, 3))
    assert added < most, f"{added:.2f} ms"
