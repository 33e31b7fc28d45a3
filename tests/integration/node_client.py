"""Runs scenarios of node/client.mjs, which use the JavaScript client, and talks with them."""

import json
import os
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.conftest import NODE


class Script:
    """A running scenario of node/client.mjs."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def says(self) -> Any:
        """The next thing that it prints."""
        assert self._process.stdout is not None
        if line := await self._process.stdout.readline():
            return json.loads(line)
        raise AssertionError((await self._rest()).decode())

    async def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    async def end(self) -> None:
        """It has nothing more to say, and ends by itself: nothing keeps Node alive after close()."""
        rest = await self._rest()
        assert (self._process.returncode, rest) == (0, b"")

    async def _rest(self) -> bytes:
        out, err = await self._process.communicate()
        return out + err


@asynccontextmanager
async def script(scenario: str, base_url: str, *arguments: str, **environ: str) -> AsyncIterator[Script]:
    command = ["node", str(NODE / "client.mjs"), scenario, base_url, *arguments]
    process = await create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, **environ}, limit=2**20
    )
    try:
        running = Script(process)
        yield running
        await running.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
