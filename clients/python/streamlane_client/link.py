"""Keeps one socket to the gateway: connects, relays, and connects again when it was lost. For one event loop."""

import asyncio
import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from streamlane_client.address import Address
from streamlane_client.errors import ConnectionLost, Refused, StreamlaneError, refused_http
from streamlane_client.lanes import Lanes, Record

State: TypeAlias = Literal["connecting", "open", "waiting", "closed"]
"""`waiting`: there is no socket, and it is tried again soon. `closed`: not opened yet, refused for good, or closed."""
OnState: TypeAlias = Callable[[State, StreamlaneError | None], None]

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds
TRANSIENT = (408, 429, 500, 502, 503, 504)  # HTTP statuses of a refused upgrade that may be gone in a moment
TOO_BIG = 1009  # RFC 6455 7.4.1
RESTART = 1012  # IANA's registry of close codes: Service Restart


class Link:
    """The answers of one client, and the socket they travel on.

    An answer that finds no socket has one tried at once; when that fails, so does the answer. Beside that, a lost
    socket is tried again after growing pauses (full jitter: clients of a gateway that restarts do not come together).
    """

    def __init__(self, address: Address, on_state: OnState | None) -> None:
        self.state: State = "closed"
        self._address = address
        self._on_state = on_state
        self._lanes = Lanes()
        self._hurry = asyncio.Event()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._opening: list[asyncio.Future[None]] = []
        self._keeper: asyncio.Task[None] | None = None

    def begin(self, record: Record) -> None:
        """Send an answer's create as soon as that is possible."""
        self._lanes.add(record)
        if self.state == "open":
            self._send(self._lanes.fill())
        else:
            self._wake()

    def cancel(self, record: Record) -> None:
        """Stop an answer."""
        self._send(self._lanes.cancel(record))

    async def open(self) -> None:
        """Return when the socket is open. Raises StreamlaneError."""
        if self.state != "open":
            opened = asyncio.get_running_loop().create_future()
            self._opening.append(opened)
            self._wake()
            await opened

    async def close(self) -> None:
        """Close the socket. Answers that have not ended raise ConnectionLost."""
        if self._keeper is not None:
            keeper = self._keeper
            keeper.cancel()
            await asyncio.wait([keeper])
            self._end(closed())  # a task that is cancelled before it began does nothing of what it says

    def _wake(self) -> None:
        self._hurry.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def _send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._outgoing.put_nowait(frame)

    async def _keep(self) -> None:
        failures = 0
        end: StreamlaneError = closed()
        try:
            while True:
                self._change("connecting")
                heard = False
                try:
                    connection = await self._connect()
                except StreamlaneError as error:
                    end = error
                    if isinstance(error, Refused) and error.status not in TRANSIENT:
                        return  # the same would come again; the next answer tries once more
                    self._refuse(error)
                else:
                    try:
                        heard, end = await self._relay(connection)
                    finally:
                        await connection.close()
                    self._lanes.lost(end)
                failures = 0 if heard else failures + 1
                self._change("waiting", end)
                await self._pause((end.retry_after or 0) + jitter(failures))
                end = closed()
        finally:
            self._end(end)

    def _end(self, error: StreamlaneError) -> None:
        self._keeper = None
        self._lanes.lost(error)
        self._refuse(error)
        if self.state != "closed":
            self._change("closed", error)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until an answer wants to be sent."""
        if not self._lanes.waiting and not self._opening:
            self._hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()

    async def _connect(self) -> ClientConnection:
        address = self._address
        try:
            return await _Connect(
                address.socket_url,
                additional_headers=address.headers,
                proxy=None if address.is_loopback else True,
                compression=None,  # the gateway offers none
                max_queue=None,  # every frame is taken at once; and a full queue would hold up the answer to our close
                max_size=None,  # one frame holds a whole answer at its end, and merged deltas of a reader that was slow
            )
        except InvalidStatus as error:
            response = error.response
            raise refused_http(address.base_url, response.status_code, response.headers, response.body) from None
        except TimeoutError:
            reason = "it did not answer in time"
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not trusted: {error.verify_message}"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        except (WebSocketException, EOFError):
            reason = "what is there does not speak WebSocket"
        except ImportError as error:  # a SOCKS proxy in the environment
            reason = str(error)
        raise ConnectionLost(f"No gateway answers at {address.base_url} ({reason}).", code="connection_failed")

    async def _relay(self, connection: ClientConnection) -> tuple[bool, ConnectionLost]:
        """Until the socket closes. Gives whether anything came on it, and why it closed."""
        self._outgoing = asyncio.Queue()  # what an earlier socket has not sent concerned that one only
        self._change("open")
        self._settle(None)
        self._send(self._lanes.fill())
        writer = asyncio.create_task(self._write(connection))
        heard = False
        try:
            while True:
                frame = await connection.recv()
                heard = True
                self._send(self._lanes.receive(frame))
        except ConnectionClosed as error:
            return heard, ConnectionLost(_why(error), code="connection_lost")
        finally:
            writer.cancel()

    async def _write(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # the reader sees it too, and says why
            while True:
                await connection.send(await self._outgoing.get(), text=True)

    def _refuse(self, error: StreamlaneError) -> None:
        self._lanes.refuse(error)
        self._settle(error)

    def _settle(self, error: StreamlaneError | None) -> None:
        """Tell those who wait in `open`, unless they have given up."""
        while self._opening:
            opened = self._opening.pop()
            if error is None and not opened.done():
                opened.set_result(None)
            elif not opened.done() and error is not None:
                opened.set_exception(error)

    def _change(self, state: State, error: StreamlaneError | None = None) -> None:
        self.state = state
        if self._on_state is not None:
            self._on_state(state, error)


class _Connect(connect):
    """Follows no redirects: websockets 15 would send the key to wherever they lead."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def closed() -> ConnectionLost:
    """For answers whose client was closed under them."""
    return ConnectionLost("The client was closed.", code="client_closed")


def jitter(failures: int) -> float:
    """Seconds to wait: anything between none and a bound that doubles with each failure in a row."""
    return random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10)))  # noqa: S311  # no secret


def _why(error: ConnectionClosed) -> str:
    code = error.rcvd.code if error.rcvd else None
    if code == TOO_BIG:
        return "The gateway closed the connection: the request is larger than it takes (limits.max_frame_bytes)."
    if code == RESTART:
        return "The gateway restarts. Ask again in a moment."
    how = "without a word" if code is None else f"with code {code}"
    return f"The connection to the gateway was lost ({how}). Ask again."
