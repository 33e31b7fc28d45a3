"""Vectors and counts that clients no longer wait for, with a scripted engine in place of llama.cpp."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends.errors import Overloaded
from backends.json import dumps
from backends.llama_cpp.backend import COUNTERS, MOST_COUNTS, LlamaCpp
from backends.llama_cpp.engine import Put
from backends.request import EmbeddingRequest, Request, said
from tests.gguf_files import tiny_model

ASK = Request("tiny", (said("user", "Hi."),), max_output_tokens=10)
TEXT = EmbeddingRequest("tiny", ("a",))


class HeldEngine:
    """Stays in `embed` and `count` until `let_out` is set."""

    slots, tools = 1, False

    def __init__(self) -> None:
        self.let_out, self.closed = threading.Event(), False
        self.entered = 0
        self.inside = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def generate(self, body: dict[str, Any], put: Put) -> None:
        raise AssertionError("nothing is generated here")

    def _enter(self) -> None:
        self.entered += 1
        self._loop.call_soon_threadsafe(self.inside.set)
        self.let_out.wait()

    def close(self) -> None:
        self.closed = True

    def embed(self, body: dict[str, Any]) -> bytes:
        self._enter()
        return dumps({"data": [{"embedding": [1.0]}]})

    def count(self, body: dict[str, Any]) -> int:
        self._enter()
        return 3


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[tuple[LlamaCpp, HeldEngine]]:
    engine = HeldEngine()
    tiny_model(tmp_path / "tiny.gguf")
    backend = LlamaCpp("local", model="tiny", models_dir=tmp_path, parallel=1, load=lambda *_: engine)
    await backend.start()
    yield backend, engine
    engine.let_out.set()
    await backend.close()
    assert engine.closed


async def turns(number: int = 10) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_request_for_vectors_holds_its_slot_until_its_thread_is_out(held: tuple[LlamaCpp, HeldEngine]) -> None:
    backend, engine = held
    embedding = asyncio.create_task(backend.embed(TEXT))
    await engine.inside.wait()
    embedding.cancel()
    await turns()
    assert not embedding.done()
    for refused in (backend.embed(TEXT), backend.stream(ASK).__aenter__()):
        with pytest.raises(Overloaded):
            await refused
    engine.let_out.set()
    with pytest.raises(asyncio.CancelledError):
        await embedding
    assert (await backend.embed(TEXT)).vectors


async def test_counts_that_nobody_waits_for_are_never_begun_and_leave_the_loops_own_threads_alone(
    held: tuple[LlamaCpp, HeldEngine],
) -> None:
    backend, engine = held
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    counting = [asyncio.create_task(backend.count_tokens(ASK)) for _ in range(MOST_COUNTS)]
    await engine.inside.wait()
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(str, 1) == "1"  # as a look-up of a name does
    with pytest.raises(Overloaded):
        await backend.count_tokens(ASK)
    for task in counting:
        task.cancel()
    await turns()
    last = asyncio.create_task(backend.count_tokens(ASK))
    await turns()
    engine.let_out.set()
    assert await last == 3
    assert engine.entered <= COUNTERS + 1
