"""Keeps one session with the gateway: connects, relays, and goes on with the next socket. For one event loop."""

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from streamlane_client import http
from streamlane_client.address import Address
from streamlane_client.errors import ConnectionLost, Refused, StreamlaneError, refused_http
from streamlane_client.lanes import Lanes, Record, gone
from streamlane_client.session import ACK_AFTER, ACK_FRAMES, News, Session

State: TypeAlias = Literal["connecting", "open", "waiting", "closed"]
"""`waiting`: there is no socket, and it is tried again soon. `closed`: not opened yet, refused for good, or closed."""
OnState: TypeAlias = Callable[[State, StreamlaneError | None], None]

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds
TRANSIENT = (408, 429, 500, 502, 503, 504)  # HTTP statuses of a refused upgrade that may be gone in a moment
STABLE = 5.0  # seconds open after which a loss counts as the first one
GOODBYE = 2.0  # seconds for what is left to say when we close
TOO_BIG = 1009  # RFC 6455 7.4.1
RESTART = 1012  # IANA's registry of close codes: Service Restart
FINAL = 4000  # close codes from here on are refusals; RFC 6455 7.4.2
TAKEN = 4409  # the gateway's: a newer connection has the session


class Link:
    """The answers of one client, and the socket they travel on.

    An answer that finds no socket has one tried at once; when that fails, so does the answer, unless others are under
    way. Those wait as long as the gateway keeps their session, and go on with the next socket. A lost socket is tried
    again after growing pauses (full jitter: clients of a gateway that restarts do not come together).
    """

    def __init__(self, address: Address, on_state: OnState | None) -> None:
        self.state: State = "closed"
        self._address = address
        self._on_state = on_state
        self._lanes = Lanes()
        self._session = Session()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._fetching: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._opening: list[asyncio.Future[None]] = []
        self._keeper: asyncio.Task[None] | None = None

    def begin(self, record: Record) -> None:
        """Send an answer's create as soon as that is possible."""
        self._lanes.add(record)
        if self.state != "open":
            self._wake()
        else:
            self._send(self._lanes.fill())

    def cancel(self, record: Record) -> None:
        """Stop an answer."""
        self._send(self._lanes.cancel(record, connected=self.state == "open"))

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
            if self.state == "open":  # a session outlives its socket, and so would what runs
                self._send(self._lanes.cancel_all())
                with suppress(TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await self._outgoing.join()
            keeper.cancel()
            await asyncio.wait([keeper])
            if self._keeper is keeper:  # a task that is cancelled before it began does nothing of what it says
                self._end(closed())

    def _wake(self) -> None:
        self._hurry.set()
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    def _send(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._outgoing.put_nowait(frame)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        end: StreamlaneError = closed()
        lost = 0.0
        try:
            while True:
                self._change("connecting")
                try:
                    connection = await self._connect()
                except StreamlaneError as error:
                    end = error
                    failures += 1
                    if isinstance(error, Refused) and error.status not in TRANSIENT:
                        return  # the same would come again; the next answer tries once more
                    if self._lanes.running and loop.time() - lost > self._session.lifetime:
                        self._lanes.end(error)
                        self._session = Session()
                    if not self._lanes.running:
                        self._refuse(error)
                    self._settle(error)
                else:
                    opened = loop.time()
                    try:
                        moved, code, end = await self._relay(connection)
                    finally:
                        await connection.close()
                    lost = loop.time()
                    if code is not None and code >= FINAL:
                        return
                    self._lanes.lost(end, resumable=self._session.epoch is not None, too_big=code == TOO_BIG)
                    failures = 0 if moved or lost - opened > STABLE else failures + 1
                self._change("waiting", end)
                await self._pause((end.retry_after or 0) + jitter(failures))
                end = closed()
        finally:
            self._end(end)

    def _end(self, error: StreamlaneError) -> None:
        self._keeper = None
        for task in self._fetching:
            task.cancel()
        self._lanes.end(error)
        self._refuse(error)
        self._session = Session()  # the old one would bring what is left of the old answers, on the lanes of new ones
        if self.state != "closed":
            self._change("closed", error)

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until an answer wants to be sent."""
        if self._opening or (self._lanes.waiting and not self._lanes.running):
            return
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _connect(self) -> ClientConnection:
        address = self._address
        try:
            return await _Connect(
                f"{address.socket_url}&{self._session.query}",
                additional_headers=address.headers,
                proxy=None if address.is_loopback else True,
                compression=None,  # the gateway offers none
                close_timeout=GOODBYE,  # on a dead network nobody answers our close
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

    async def _relay(self, connection: ClientConnection) -> tuple[bool, int | None, ConnectionLost]:
        """Until the socket closes. Gives whether an answer moved on, the code it closed with, and why."""
        self._outgoing = asyncio.Queue()  # what was not sent before is in `again`, or of no use now
        self._change("open")
        self._settle(None)
        self._send(self._lanes.reopened())
        if self._session.epoch is None:
            self._send(self._lanes.again())
        self._send(self._lanes.fill())
        writer = asyncio.create_task(self._write(connection))
        moved = False
        try:
            while True:
                moved |= self._receive(await connection.recv())
        except ConnectionClosed as error:
            come_back, self._session.come_back = self._session.come_back, None
            code = error.rcvd.code if error.rcvd else None
            word = "session_taken" if code == TAKEN else "connection_lost"
            return moved, code, ConnectionLost(_why(code), code=word, retry_after=come_back)
        finally:
            writer.cancel()
            if self._ack_timer is not None:
                self._ack_timer.cancel()
                self._ack_timer = None
            self._session.unacked = 0

    def _receive(self, frame: str | bytes) -> bool:
        """One frame of the gateway's. Whether it was an answer's."""
        try:
            event: Any = json.loads(frame)
        except ValueError:
            return False
        if not isinstance(event, dict):
            return False
        session = self._session
        news = session.receive(event)
        if session.unacked >= ACK_FRAMES:
            self._ack()
        elif session.unacked and self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_AFTER, self._ack)
        if news is News.EVENT:
            frames = self._lanes.receive(event)
            self._send(frames)
            return "stream_id" in event
        if news is News.FOUND or news is News.LOST:
            self._send(session.hello())
        if news is News.LOST:
            for record in self._lanes.to_fetch():
                task = asyncio.get_running_loop().create_task(self._fetch(record))
                self._fetching.add(task)
                task.add_done_callback(self._fetching.discard)
        if news is News.SETTLED:  # a create that was refused is not known any more, so refusals must have come before
            self._send(self._lanes.again())
        if news is News.DRAINING:
            self._lanes.held = True
        return False

    def _ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        self._send([self._session.ack()])

    async def _fetch(self, record: Record) -> None:
        """Ask what has become of an answer of which events are lost, until it has ended."""
        assert record.id is not None
        failures = 0
        while not record.ended:
            try:
                held = await asyncio.to_thread(http.response, self._address, record.id, self._session.key)
            except StreamlaneError as error:
                if isinstance(error, Refused) and error.status not in TRANSIENT:
                    message = "The answer cannot go on: the gateway does not hold it any more. Ask again."
                    record.end(gone(message))
                    break
                failures += 1
                await asyncio.sleep(FIRST_DELAY + jitter(failures))
            else:
                if record.catch_up(held):
                    break
                await asyncio.sleep(1)  # it still runs
        frames = self._lanes.fetched(record)
        if self.state == "open":
            self._send(frames)

    async def _write(self, connection: ClientConnection) -> None:
        with suppress(ConnectionClosed):  # the reader sees it too, and says why
            while True:
                await connection.send(await self._outgoing.get(), text=True)
                self._outgoing.task_done()

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


def _why(code: int | None) -> str:
    if code == TOO_BIG:
        return "The gateway closed the connection: the request is larger than it takes (limits.max_frame_bytes)."
    if code == RESTART:
        return "The gateway restarts. Ask again in a moment."
    if code == TAKEN:
        return "Another connection goes on with this session."
    how = "without a word" if code is None else f"with code {code}"
    return f"The connection to the gateway was lost ({how}). Ask again."
