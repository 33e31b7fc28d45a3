"""A ledger in a process of its own, asked over its input and output: one JSON line each way, with the time in it.

python -m tests.quota_process FILE
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import convert, to_builtins

from quota import sqlite_ledger
from quota.ledger import Attempt, Denied, Granted, Observation
from quota.pool import HOUR, Pool
from tests.quota_traffic import World


class RemoteLedger:
    """What a client needs of a ledger (tests/quota_traffic.py), in another process."""

    def __init__(self, world: World, process: asyncio.subprocess.Process) -> None:
        self._world, self._process = world, process
        self._turn = asyncio.Lock()

    async def call(self, name: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps([self._world.wall(), name, *arguments]).encode() + b"\n")
            return json.loads(await self._process.stdout.readline())

    async def define(self, pools: list[Pool]) -> None:
        await self.call("define", to_builtins(pools, enc_hook=dict))

    async def reserve(self, attempt: Attempt, amounts: Mapping[str, int], tag: str = "") -> Granted | Denied:
        answer = await self.call("reserve", attempt, amounts, tag)
        return convert(answer, Denied if "why" in answer else Granted)

    async def settle(self, attempt: Attempt, used: Mapping[str, int], answered: float | None = None) -> None:
        await self.call("settle", attempt, used, answered)

    async def release(self, attempt: Attempt, why: str) -> bool:
        released: bool = await self.call("release", attempt, why)
        return released

    async def observe(self, observation: Observation) -> None:
        await self.call("observe", to_builtins(observation))

    async def reconcile(self) -> list[str]:
        found: list[str] = await self.call("reconcile")
        return found


@asynccontextmanager
async def remote_ledger(world: World, file: Path) -> AsyncIterator[RemoteLedger]:
    """The ledger in that file, in a process that ends with the context."""
    pipe, root = asyncio.subprocess.PIPE, Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.quota_process", str(file)]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=root)
    assert process.stdin is not None
    try:
        yield RemoteLedger(world, process)
    finally:
        process.stdin.close()
        status = await process.wait()
    assert status == 0


async def serve(file: Path) -> None:
    """Until the input ends."""
    now = 0
    reading = asyncio.get_running_loop().run_in_executor
    line = await reading(None, sys.stdin.readline)
    now = json.loads(line)[0]
    async with sqlite_ledger.opened(file, synchronous="normal", ttl=10 * HOUR, now=lambda: now) as ledger:
        while line:
            now, name, *arguments = json.loads(line)
            match name:
                case "define":
                    arguments = [convert(arguments[0], list[Pool])]
                case "observe":
                    arguments = [convert(arguments[0], Observation)]
                case "reserve" | "settle" | "release":
                    arguments[0] = Attempt(*arguments[0])
            answer = await getattr(ledger, name)(*arguments)
            print(json.dumps(to_builtins(answer)), flush=True)
            line = await reading(None, sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
