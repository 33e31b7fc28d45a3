"""A network that breaks when told: relays TCP to a gateway, and drops connections with all that is in flight."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cutter:
    """`base_url` is the gateway's, through this network."""

    def __init__(self, base_url: str) -> None:
        self._to = urlsplit(base_url)
        self.base_url = base_url
        self.connections = 0
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection: both ends see a reset, and what was on its way is gone."""
        for writer in self._open:
            writer.transport.abort()

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        up_reader, up_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        ends = {writer, up_writer}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer))
                group.create_task(self._pump(up_reader, writer))
        finally:
            self._open -= ends
            for each in ends:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def cutter(base_url: str) -> AsyncIterator[Cutter]:
    """A network before the gateway at `base_url`."""
    network = Cutter(base_url)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await network.relay(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network.base_url = f"http://127.0.0.1:{port}{urlsplit(base_url).path}"
    try:
        yield network
    finally:
        server.close()
        network.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
