"""Servers that others wrote, started for real with the demo model: llama.cpp's own, and llama-cpp-python's own."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from proxy.app import Gateway
from tests.gateway import client, gateway, text_of
from tests.models import models_dir

KEY = "sk-only-the-gateway-knows"
READY = 60  # seconds
ENDLESS = "la " * 30  # the small model sings on until it is stopped
TOKENS = 1500  # take 40 s of a fast core, and more of a slow one
SOON = 10  # seconds of a core; to notice the cancel and to answer the next question took 0.5
# One request at a time in both: the next is answered only when the one before it is over.
LLAMA_CPP = f"""
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {{"smollm2"}}
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, ["{KEY}"]
params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = 1, 2048, 32, 32
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.ui, params.warmup = False, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(3600)
"""
LLAMA_CPP_PYTHON = ["-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", "0", "--api_key", KEY]
LLAMA_CPP_PYTHON += ["--model_alias", "smollm2", "--n_ctx", "2048", "--n_batch", "32", "--n_threads", "1"]
LLAMA_CPP_PYTHON += ["--n_threads_batch", "1", "--interrupt_requests", "False", "--model"]

pytestmark = [pytest.mark.model]


@dataclass(frozen=True)
class Server:
    """A server's process, and where its API begins."""

    process: psutil.Process
    base_url: str

    def behind_a_gateway(self) -> AbstractAsyncContextManager[Gateway]:
        backend = f'name = "real"\nkind = "openai_compatible"\nbase_url = "{self.base_url}"\napi_key = "{KEY}"'
        return gateway(f"[[backends]]\n{backend}")

    def seconds_of_work(self) -> float:
        """Processor time that it has used."""
        used = self.process.cpu_times()
        return used.user + used.system


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(["-c", LLAMA_CPP], id="llama.cpp"),
        pytest.param(LLAMA_CPP_PYTHON, id="llama-cpp-python", marks=pytest.mark.needs("llama-cpp-python")),
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, *request.param, str(models_dir() / "smollm2.gguf")]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "NO_COLOR": "1"})
    try:
        yield Server(psutil.Process(process.pid), f"{announced(process, log)}/v1")
    finally:
        process.kill()
        process.wait()


def announced(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server prints when it is ready."""
    give_up = time.monotonic() + READY
    while process.poll() is None and time.monotonic() < give_up:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found.group()
        threading.Event().wait(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")


async def test_it_is_found_and_knows_the_capital_of_france(server: Server) -> None:
    async with server.behind_a_gateway() as started, client(started) as socket:
        await socket.create("smollm2", "What is the capital of France?", temperature=0, max_output_tokens=24)
        events = await socket.until()
    assert events[-1]["type"] == "response.completed"
    assert "Paris" in text_of(events)
    assert len([event for event in events if event["type"] == "response.output_text.delta"]) > 1


async def test_a_cancel_frees_its_only_slot(server: Server) -> None:
    async with server.behind_a_gateway() as started, client(started) as socket:
        await socket.create("smollm2", ENDLESS, temperature=0, max_output_tokens=TOKENS)
        await socket.until("response.output_text.delta")
        await socket.send({"type": "response.cancel"})
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"
        worked = server.seconds_of_work()
        await socket.create("smollm2", "What is the capital of France?", temperature=0, max_output_tokens=24)
        assert "Paris" in text_of(await socket.until())
    assert server.seconds_of_work() - worked < SOON


async def test_a_wrong_key_is_the_operators_matter(server: Server) -> None:
    wrong = f'name = "real"\nkind = "openai_compatible"\nbase_url = "{server.base_url}"\nmodels = ["smollm2"]'
    async with gateway(f"[[backends]]\n{wrong}") as started, client(started) as socket:
        await socket.create("smollm2", "Hello!")
        [*_, end] = await socket.until()
    assert end["type"] == "response.failed"
    assert "refused this gateway's key (HTTP 401)" in end["response"]["error"]["message"]
