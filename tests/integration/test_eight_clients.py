"""Eight clients at once on the real model with eight slots, from a cold start: all are served together."""

import asyncio
import time

import pytest

from tests.gateway import Gateway, client, gateway
from tests.models import models_dir

COUNTRIES = ("France", "Spain", "Italy", "Japan", "Peru", "Egypt", "Norway", "Kenya")
TOGETHER = 3.0  # seconds from the first client's first token to the last one's


async def first_token(started: Gateway, country: str) -> float:
    async with client(started) as socket:
        await socket.create("smollm2", f"What is the capital of {country}?", max_output_tokens=24, temperature=0)
        await socket.until("response.output_text.delta")
        came = time.perf_counter()
        assert (await socket.until())[-1]["type"] in ("response.completed", "response.incomplete")
        return came


@pytest.mark.model
async def test_eight_clients_get_their_first_tokens_together_and_all_complete() -> None:
    file = models_dir() / "smollm2.gguf"
    async with gateway(f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{file}"\nparallel = 8') as started:
        came = await asyncio.gather(*(first_token(started, country) for country in COUNTRIES))
    assert max(came) - min(came) < TOGETHER
