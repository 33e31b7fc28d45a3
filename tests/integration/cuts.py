"""A wire to a gateway that a test can cut: when it wants, or by itself at random bytes, with frames in flight."""

import asyncio
from random import Random


class Wire:
    """Relays TCP connections to the gateway at `base_url`, one after the other or at once; use its own `base_url`.

    With `every`, each connection carries a random number of bytes to the client, at most that many, and is then cut: in
    the middle of a frame or of the handshake, and what was on its way is lost. At `most` so many times; `cuts` counts.
    """

    def __init__(self, base_url: str, *, every: int = 0, most: int = 0, seed: int = 0) -> None:
        self._host, port = base_url.split("/")[2].split(":")
        self._port = int(port)
        self._every, self._most, self._random = every, most, Random(seed)
        self._ends: set[asyncio.StreamWriter] = set()
        self._up = True
        self.base_url = ""
        self.cuts = 0

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Every connection that there is."""
        for end in tuple(self._ends):
            end.transport.abort()

    def down(self) -> None:
        """Cut, and let nobody through before `up`."""
        self._up = False
        self.cut()

    def up(self) -> None:
        """Let connections through again."""
        self._up = True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:  # no gateway
            writer.transport.abort()
            return
        ends = {writer, back}
        self._ends |= ends
        await asyncio.gather(self._pump(reader, back, None), self._pump(there, writer, self._bytes()))
        self._ends -= ends

    def _bytes(self) -> int | None:
        return self._random.randint(1, self._every) if self._every and self.cuts < self._most else None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        try:
            while data := await reader.read(65536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    self.cuts += 1
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
        except ConnectionError:
            pass
        writer.transport.abort()
