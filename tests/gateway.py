"""Starts gateways for tests: in this process with scripted backends, or the command as a process of its own."""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from backends.base import Backend
from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend
from proxy.app import Gateway, running
from proxy.config_load import load

ROOT = Path(__file__).parents[1]
DONE = [Finished("stop", Usage(3, 2))]
ANSWER: list[Any] = [[TextDelta("Hel"), TextDelta("lo")], [], [TextDelta(" wörld")], DONE]
TERMINAL = {"response.completed", "response.incomplete", "response.failed", "error"}


def answers(name: str = "fake", **options: Any) -> FakeBackend:
    """A backend that says "Hello wörld"."""
    return FakeBackend(name, script=ANSWER, **options)


@asynccontextmanager
async def gateway(text: str = "", backends: Sequence[Backend] = ()) -> AsyncIterator[Gateway]:
    """A gateway in this process, on free ports. `text` is a configuration; `backends` are added to its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "streamlane.toml"
        file.write_text(text)
        environ = {"STREAMLANE_OPS_PORT": "0", "HOME": folder}
        if "data_dir" not in text:
            environ["STREAMLANE_DATA_DIR"] = f"{folder}/data"
        if "server.port" not in text:
            environ["STREAMLANE_SERVER_PORT"] = "0"
        async with running(load(file, environ, Path(folder)).config, backends) as started:
            yield started


class Client:
    """A plain WebSocket client that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, event: object) -> None:
        await self.connection.send(json.dumps(event))

    async def create(self, model: str = "fake", text: str = "hi", **fields: Any) -> None:
        await self.send({"type": "response.create", "model": model, "input": text, **fields})

    async def next(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(await self.connection.recv())
        return event

    async def until(self, *types: str) -> list[dict[str, Any]]:
        """Events up to and with the first of one of `types`; by default of those that end a response."""
        events = []
        while True:
            events.append(await self.next())
            if events[-1]["type"] in (types or TERMINAL):
                return events


@asynccontextmanager
async def connected(base_url: str, query: str = "", **options: Any) -> AsyncIterator[Client]:
    """A socket to the gateway at `base_url`. `options` are websockets' own."""
    url = base_url.replace("http", "ws", 1) + "/responses" + query
    async with connect(url, proxy=None, max_size=None, **options) as connection:
        yield Client(connection)


def client(started: Gateway, **options: Any) -> AbstractAsyncContextManager[Client]:
    """A socket to a gateway in this process."""
    return connected(started.base_url, **options)


def text_of(events: list[dict[str, Any]]) -> str:
    """What the deltas say."""
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


@dataclass(frozen=True)
class Process:
    """The command `streamlane serve` as a process. `pid` is its own; `stderr` what it has logged so far."""

    base_url: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def stderr(self) -> str:
        return self.log.read_text()


@asynccontextmanager
async def process(text: str, *arguments: str, **environ: str) -> AsyncIterator[Process]:
    """`streamlane serve` with a configuration, on free ports; ended with SIGTERM."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "streamlane.toml"
        file.write_text(text)
        log = Path(folder) / "stderr"
        env = {**os.environ, "STREAMLANE_SERVER_PORT": "0", "STREAMLANE_OPS_PORT": "0", **environ}
        env.setdefault("STREAMLANE_DATA_DIR", f"{folder}/data")
        command = [sys.executable, "-m", "proxy", "serve", "--config", str(file), *arguments]
        with log.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE, stderr=stderr
            )
        try:
            yield Process(await announced(child, log), child, log)
        finally:
            if child.returncode is None:
                child.terminate()
            await child.communicate()


async def announced(child: asyncio.subprocess.Process, log: Path, seconds: float = 60) -> str:
    """The base URL that the command prints when it is ready."""
    assert child.stdout is not None
    async with asyncio.timeout(seconds):
        while line := await child.stdout.readline():
            if found := re.search(rb"http://\S+/v1", line):
                return found.group().decode()
    raise AssertionError(f"the gateway did not start:\n{log.read_text()}")
