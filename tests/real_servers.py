"""Servers that others wrote, started for real with the demo model: llama.cpp's own, and llama-cpp-python's own."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import psutil

from tests.models import models_dir

Name: TypeAlias = Literal["llama.cpp", "llama-cpp-python"]

KEY = "sk-only-the-gateway-knows"
READY = 60  # seconds
MODEL = "smollm2"
LLAMA_CPP = f"""
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias = sys.argv[1], {{"{MODEL}"}}
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, ["{KEY}"]
params.n_parallel, params.n_ctx, params.n_batch, params.n_ubatch = int(sys.argv[2]), int(sys.argv[3]), 32, 32
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.ui, params.warmup = False, False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(3600)
"""
LLAMA_CPP_PYTHON = ["-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", "0", "--api_key", KEY]
LLAMA_CPP_PYTHON += ["--model_alias", MODEL, "--n_batch", "32", "--n_threads", "1"]
LLAMA_CPP_PYTHON += ["--n_threads_batch", "1", "--interrupt_requests", "False"]


@dataclass(frozen=True)
class Server:
    """A server's process, and where its API begins. It wants KEY."""

    process: psutil.Process
    base_url: str

    def seconds_of_work(self) -> float:
        """Processor time that it has used."""
        used = self.process.cpu_times()
        return used.user + used.system


@contextmanager
def real_server(name: Name, context: int = 2048, parallel: int = 1) -> Iterator[Server]:
    """One of them, for requests of so many tokens. llama-cpp-python's answers one request at a time."""
    model = str(models_dir() / "smollm2.gguf")
    if name == "llama.cpp":
        command = ["-c", LLAMA_CPP, model, str(parallel), str(context * parallel)]
    else:
        command = [*LLAMA_CPP_PYTHON, "--n_ctx", str(context), "--model", model]
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            environment = {**os.environ, "NO_COLOR": "1"}
            process = subprocess.Popen([sys.executable, *command], stdout=out, stderr=out, env=environment)
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
