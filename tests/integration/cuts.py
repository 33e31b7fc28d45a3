"""A wire to a gateway that a test can cut: when it wants, or by itself at random bytes, with frames in flight."""

import asyncio
import socket
import struct
from random import Random

HANDSHAKE = 400  # bytes: about as many as go either way before the first frame
ASKED = 1500  # bytes: of a handshake and a few creates
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 seconds: close() sends a reset instead of an end


class Wire:
    """Relays TCP connections to the gateway at `base_url`, one after the other or at once; use its own `base_url`.

    With `every`, each connection carries a random number of bytes to the client, at most that many, and is then cut: in
    the middle of a frame or of the handshake, and what was on its way is lost. Some are cut by what the client says, in
    the middle of that. At `most` so many times; `cuts` counts them, and `connections` all that came.
    """

    def __init__(self, base_url: str, *, every: int = 0, most: int = 0, seed: int = 0) -> None:
        self._host, port = base_url.split("/")[2].split(":")
        self._port = int(port)
        self._every, self._most, self._random = every, most, Random(seed)
        self._ends: set[asyncio.StreamWriter] = set()
        self._up = True
        self.base_url = ""
        self.connections = self.cuts = 0

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
        self.connections += 1
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
        asked, said = self._lengths()
        await asyncio.gather(self._pump(reader, back, asked), self._pump(there, writer, said))
        self._ends -= ends

    def _lengths(self) -> tuple[int | None, int | None]:
        """After how many bytes of the client or of the gateway the next connection ends; None: not because of them."""
        if not self._every or self.cuts >= self._most:
            return None, None
        dice = self._random
        match dice.randrange(8):
            case 0:
                return None, dice.randint(1, HANDSHAKE)
            case 1:
                return dice.randint(1, ASKED), dice.randint(1, self._every)
            case _:
                return None, dice.randint(1, self._every)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        try:
            while data := await reader.read(65536):
                if left is not None and len(data) >= left:
                    writer.write(data[:left])
                    self._cut_here(writer)
                    break
                left = None if left is None else left - len(data)
                writer.write(data)
        except ConnectionError:
            pass
        writer.transport.abort()

    def _cut_here(self, writer: asyncio.StreamWriter) -> None:
        """Networks end connections with a reset or, as when a proxy dies, with an end that nobody announced."""
        self.cuts += 1
        if self._random.random() < 0.5:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
