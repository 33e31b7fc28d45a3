"""Many short processes for tests: forked from one that has imported everything, because starting Python takes longest.

    async with nursery("tests.quota_worker") as start:     # python -m tests.quota_nursery tests.quota_worker PORT
        worker = await start("spend", file, cap=7)         # asyncio.run(tests.quota_worker.spend(file, cap=7))
        await worker.line()                                # what it says, one JSON a line
        await worker.kill()

The one that forks has no threads, no loop and no open file; its children are processes like any other.
"""

import asyncio
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[1]


@dataclass
class Worker:
    """A process. `line` reads what it says next, None at its end; `go` is what `told` waits for there."""

    pid: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def line(self) -> Any:
        try:
            said = await self.reader.readline()
        except ConnectionResetError:  # it died with a `go` unread
            return None
        return json.loads(said) if said else None

    async def go(self) -> None:
        self.writer.write(b"\n")
        await self.writer.drain()

    async def ended(self) -> None:
        """Wait until there is no such process any more."""
        while Path(f"/proc/{self.pid}").exists():
            await asyncio.sleep(0.001)
        self.writer.close()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        await self.ended()


class Start(Protocol):
    async def __call__(self, what: str, file: Path, **options: Any) -> Worker: ...


@asynccontextmanager
async def nursery(module: str, environ: Mapping[str, str] | None = None) -> AsyncIterator[Start]:
    """Starts processes that run a coroutine function of this module; all are killed at the end."""
    connections: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.put_nowait((reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**24)
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, module, str(server.sockets[0].getsockname()[1])),
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
    )
    workers: list[Worker] = []

    async def start(what: str, file: Path, **options: Any) -> Worker:
        assert parent.stdin is not None
        parent.stdin.write(json.dumps([what, str(file), options]).encode() + b"\n")
        reader, writer = await connections.get()
        workers.append(Worker(int(await reader.readline()), reader, writer))
        return workers[-1]

    try:
        yield start
    finally:
        for worker in workers:
            await worker.kill()
        parent.kill()
        await parent.wait()
        server.close()


def say(what: object) -> None:
    """One line to the test. Its socket is our stdin; stdout is for logs."""
    with socket.socket(fileno=os.dup(0)) as test:
        test.sendall(json.dumps(what).encode() + b"\n")


async def told() -> None:
    """Wait for `go`."""
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    name, port = sys.argv[1:]
    module = importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they leave no zombies
    for line in sys.stdin:
        if not os.fork():
            born(module, *json.loads(line), port=int(port))


def born(module: Any, what: str, file: str, options: dict[str, Any], *, port: int) -> None:
    """The life of a child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        os.dup2(connection.fileno(), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # for as long as it lives
    status = 1
    try:
        say(os.getpid())
        asyncio.run(getattr(module, what)(Path(file), **options))
        status = 0
    except Exception:  # noqa: BLE001  # the test sees that nothing more is said, and its output shows why
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
