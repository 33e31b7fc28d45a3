"""A forward proxy for tests: CONNECT tunnels and absolute-form requests, with a name and a password if it is told."""

import asyncio
from base64 import b64encode
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """On a free port while entered. `seen` are the first lines of what it was asked, `heads` the whole heads.

    `answer` is sent to each request instead of what it asks for: a refusal, or rubbish.
    """

    def __init__(self, login: str | None = None, answer: bytes | None = None) -> None:
        self._wanted = None if login is None else f"basic {b64encode(login.encode()).decode()}".lower()
        self._answer = answer
        self._login = login
        self.seen: list[str] = []
        self.heads: list[str] = []
        self.url = ""
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{f'{self._login}@' if self._login else ''}{self.address}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here = asyncio.current_task()
        assert here is not None
        self._open[here] = writer
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._forward(reader, writer)
        writer.close()
        del self._open[here]

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.seen.append(lines[0])
        self.heads.append(head.decode("latin-1"))
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if self._answer is not None:
            writer.write(self._answer)
            await writer.drain()
            return
        if self._wanted is not None and headers.get("proxy-authorization", "").lower() != self._wanted:
            writer.write(b"HTTP/1.1 407 Who are you\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            return
        method, target, _ = lines[0].split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            up_reader, up_writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            kept = [line for line in lines[1:] if not line.lower().startswith("proxy-")]
            up_writer.write("\r\n".join([f"{method} {parts.path or '/'} HTTP/1.1", *kept]).encode("latin-1"))
        async with asyncio.TaskGroup() as both:
            both.create_task(pipe(reader, up_writer))
            both.create_task(pipe(up_reader, writer))


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes until it ends."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
