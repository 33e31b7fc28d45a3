"""The socket: frames in, frames out. What they mean is its client's business.

The fast path is a chain of plain calls from where the upstream was read: generation → wake → take → write. It ends when
the socket's buffer is above its mark; then a writer task waits for the client, and what piles up leaves merged.
"""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from socket import SO_SNDBUF, SOL_SOCKET
from struct import Struct

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from proxy.clients import Clients
from proxy.create import NOTHING_BROUGHT, Brought
from proxy.edge import subprotocol
from proxy.edge.request_facts import extended
from proxy.errors import BadParameter, ProxyError
from proxy.outcome import Principal
from proxy.session import Resume, State

log = structlog.get_logger()

HIGH_WATER = 64 * 1024  # bytes in the socket's buffer above which we stop writing
UNREAD = 1024 * 1024  # bytes of events that belong to no generation, for a client that is behind
KERNEL_BUFFER = 64 * 1024  # bytes; left alone, Linux hides up to 4 MB from a reader that has stopped
EXTENDED_PROTOCOL = "streamlane.v1"  # the subprotocol of clients that know our extensions
MEDIUM = Struct(">BBH").pack  # the head of a frame of 126 to 65535 bytes
PING = b"\x89\x00"  # RFC 6455 5.5.2: a ping without a payload
NUMBER = re.compile(r"[0-9]{1,15}")
REPLACED = 4409  # the close code: another connection has taken over the session
FAREWELLS = 0.005  # seconds between two sockets that close because the gateway stops: not all shall come back at once
ALL_FAREWELLS = 3.0  # seconds that they may take together
COME_BACK = 1000  # milliseconds after which the first of them may


@dataclass(frozen=True, slots=True)
class SocketDeadlines:
    """In seconds. A client that does not read for `send`, or says nothing for `ping` + `pong`, is cut."""

    send: float = 10
    ping: float = 20
    pong: float = 60


class Socket:
    """One client's connection, from the upgrade to its end: the outlet of a client. `wanted` is its session, if any.

    `brought` is what came with it: for what is created by this connection.
    """

    def __init__(
        self,
        *,
        clients: Clients,
        principal: Principal,
        deadlines: SocketDeadlines,
        max_frame_bytes: int,
        protocol: str | None,
        extended: bool,
        wanted: Resume | None,
        brought: Brought,
    ) -> None:
        self._clients = clients
        self._principal = principal
        self._extended = extended
        self._wanted = wanted
        self._brought = brought
        self._deadlines = deadlines
        self._ws = web.WebSocketResponse(
            protocols=(protocol,) if protocol else (),
            autoping=False,
            compress=False,
            decode_text=False,
            max_msg_size=max_frame_bytes,
            timeout=deadlines.send,
        )
        self._client = clients.plain(principal, extended)
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._heard = self._loop.time()
        self.blocked = self._leaving = self._closing = self._gone = False
        self._draining: dict[str, object] | None = None  # what is said about it
        self._farewell = 0.0  # seconds to wait before the close that follows a drain
        self._unread = 0  # bytes of such events since the client is behind
        self._context = copy_context()
        self._transport: asyncio.WriteTransport
        self._writer: AbstractStreamWriter
        self._timer: asyncio.TimerHandle

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, then relay until the client is gone."""
        if request.transport is None:  # gone before the handshake
            return web.Response()
        self._transport = request.transport  # first of all: `cut` may come during the handshake
        self._writer = await self._ws.prepare(request)
        if self._transport.is_closing():
            return self._ws
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if (raw := self._transport.get_extra_info("socket")) is not None:
            raw.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER)
        self._timer = self._loop.call_later(self._deadlines.ping, self._keep_alive)
        async with self._tasks:
            try:
                if self._wanted is None:
                    self._client.outlet = self
                else:
                    self._client = self._clients.attach(self._principal, self._wanted, self, self._extended)
                self._end_if_draining()
                await self._read()
            finally:
                self._lost()
        return self._ws

    def resume(self, wanted: Resume) -> None:
        """The connection has said in its first frame which session it is of."""
        try:
            self._clients.admit(self._principal, wanted.key)
        except ProxyError as error:
            self._client.refuse(error)
        else:
            self._client.outlet = None
            self._client = self._clients.attach(self._principal, wanted, self, self._extended)
            self._end_if_draining()

    def drain(self, deadline: float, farewell: float) -> None:
        """Let what runs end within `deadline` seconds, take nothing new, then close, `farewell` seconds later."""
        if self._draining is None:
            self._farewell = farewell
            retry = COME_BACK + round(1000 * farewell)
            self._draining = {"type": "streamlane:session.draining", "deadline_s": deadline, "retry_after_ms": retry}
            self._end_if_draining()

    def lanes(self) -> Counter[State]:
        """How many of its lanes do what."""
        return self._client.lanes()

    def cut(self) -> None:
        """End the connection now."""
        self._transport.abort()

    async def _read(self) -> None:
        while True:
            message = await self._ws.receive()
            if self._gone:  # replaced: what it says now is not obeyed
                return
            self._heard = self._loop.time()
            match message.type:
                case WSMsgType.TEXT if is_utf8(message.data):
                    self._client.receive(message.data, self._brought)
                case WSMsgType.TEXT:  # RFC 6455 8.1: the connection must fail
                    self._gone = self._closing = True
                    await self._close(WSCloseCode.INVALID_TEXT, b"A text frame must be UTF-8.")
                    return
                case WSMsgType.BINARY:
                    self._client.receive_binary()
                case WSMsgType.PING:
                    with suppress(ConnectionError):  # gone: the next message says so
                        await self._ws.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case _:  # closed by either side, or broken
                    return

    def tell(self, frame: bytes) -> None:
        """A frame of no response. Nothing bounds how many a client may cause, so one that reads none is cut."""
        self.write([frame])
        self._unread += len(frame) if self.blocked else 0
        if self._unread > UNREAD:
            log.info("deaf_client_cut", principal=self._principal.id)
            self.cut()

    def write(self, frames: list[bytes]) -> None:
        """Send frames, and begin to wait when the client is behind."""
        transport = self._transport
        if self._gone or not frames or transport.is_closing():
            return
        transport.write(b"".join([text_frame(each) for each in frames]) if len(frames) > 1 else text_frame(frames[0]))
        if transport.get_write_buffer_size() > HIGH_WATER and not self.blocked:
            self.blocked = True
            # In the socket's own context: this is called from another request's.
            self._tasks.create_task(self._until_drained(), context=self._context)

    async def _until_drained(self) -> None:
        """The writer task: waits for the client to read, and cuts it when it does not."""
        unread = self._transport.get_write_buffer_size()
        while self.blocked:
            try:
                async with asyncio.timeout(self._deadlines.send):
                    await self._writer.drain()
                self.blocked = False
                self._unread = 0
            except TimeoutError:
                left = self._transport.get_write_buffer_size()
                if left >= unread:
                    log.info("slow_reader_cut", principal=self._principal.id, seconds=self._deadlines.send)
                    self.cut()
                    return
                unread = left  # slow, but reading
            except ConnectionError:
                return  # gone: the reader sees it too
        self._client.drained()

    def _keep_alive(self) -> None:
        """Ping, so that proxies keep the connection and a client that vanished is noticed."""
        if self.blocked:  # it cannot see a ping; the send deadline watches it
            self._heard = self._loop.time()
        if self._loop.time() - self._heard > self._deadlines.ping + self._deadlines.pong:
            log.info("silent_client_cut", principal=self._principal.id)
            self.cut()
            return
        if not self.blocked and not self._gone and not self._transport.is_closing():
            self._transport.write(PING)
        self._timer = self._loop.call_later(self._deadlines.ping, self._keep_alive)

    def _end_if_draining(self) -> None:
        """Also for who connected or resumed just before the drain, or in it."""
        if self._draining is not None and self._client.outlet is self:
            if self._extended:
                self._client.tell(self._draining)
            self._client.drain()
            self.settle()

    def settle(self) -> None:
        """A lane has nothing to send any more. If none has, a socket that drains closes."""
        if self._draining is not None and self._idle and not self._leaving:
            self._leaving = True
            self._tasks.create_task(self._leave(), context=self._context)

    @property
    def _idle(self) -> bool:
        """Never while it becomes the connection of a session, nor when it was replaced."""
        return self._client.outlet is self and self._client.idle

    async def _leave(self) -> None:
        """Say farewell when its turn comes, unless it has become the connection of a session that is at work."""
        await asyncio.sleep(self._farewell)
        self._leaving = False
        if self._idle and not self._closing:
            self._closing = True
            await self._close(WSCloseCode.SERVICE_RESTART, b"The gateway is restarting.")

    def replace(self) -> None:
        """Another connection has taken over the session: from here on this one sends nothing."""
        self._gone = True
        if not self._closing:
            self._closing = True
            replaced = self._close(REPLACED, b"A newer connection has taken over this session.")
            self._tasks.create_task(replaced, context=self._context)

    async def _close(self, code: int, reason: bytes) -> None:
        try:
            async with asyncio.timeout(self._deadlines.send):
                await self._ws.close(code=code, message=reason)
        except TimeoutError:
            self.cut()

    def _lost(self) -> None:
        """The client is gone."""
        self._gone = True
        self._timer.cancel()
        self._client.leave(self)


def asked_for_extensions(request: web.Request) -> bool:
    """Whether a client wants more than OpenAI defines. Any of three ways, so that each kind of client has one."""
    return (
        request.query.get("sl_ext") == "1"
        or extended(request)
        or EXTENDED_PROTOCOL in subprotocol.offered(request.headers)
    )


def asked_for_session(request: web.Request) -> Resume | None:
    """The session that a client names in its address. Raises BadParameter."""
    key, after = request.query.get("sl_session"), request.query.get("sl_after")
    if after is not None and not NUMBER.fullmatch(after):
        raise BadParameter("'sl_after' must be a whole number: the last 'sl_seq' that arrived.", "sl_after")
    return None if key is None else Resume(key, None if after is None else int(after), None)


def is_utf8(payload: bytes) -> bool:
    """Whether a text frame is text."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_frame(payload: bytes) -> bytes:
    """An unmasked text frame, as servers send them (RFC 6455 5.2). aiohttp's own way is a coroutine a frame."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65536:
        return MEDIUM(0x81, 0x7E, length) + payload
    return b"\x81\x7f" + length.to_bytes(8) + payload


class Sockets:
    """Every socket that is open, so that they can be drained."""

    def __init__(
        self,
        *,
        clients: Clients,
        deadlines: SocketDeadlines,
        max_frame_bytes: int,
    ) -> None:
        self._clients = clients
        self._deadlines = deadlines
        self._max_frame_bytes = max_frame_bytes
        self._open: set[Socket] = set()
        self._none_open = asyncio.Event()

    async def serve(
        self, request: web.Request, principal: Principal, brought: Brought = NOTHING_BROUGHT
    ) -> web.StreamResponse:
        """One socket, from its upgrade to its end. `brought` is what came with it.

        Raises BadParameter when the client offers only secrets as subprotocols, BadSessionKey or TooManySessions.
        """
        wanted = asked_for_session(request)
        if wanted is not None:
            self._clients.admit(principal, wanted.key)
        socket = Socket(
            clients=self._clients,
            principal=principal,
            deadlines=self._deadlines,
            max_frame_bytes=self._max_frame_bytes,
            protocol=subprotocol.selected(request.headers),
            extended=asked_for_extensions(request),
            wanted=wanted,
            brought=brought,
        )
        self._open.add(socket)
        try:
            return await socket.serve(request)
        finally:
            self._open.discard(socket)
            if not self._open:
                self._none_open.set()

    async def drain(self, seconds: float) -> None:
        """Ask every socket to end, and wait until all have. `seconds` is what the clients are told."""
        self._clients.drain()
        pause = min(FAREWELLS, ALL_FAREWELLS / max(1, len(self._open)))
        for number, socket in enumerate(tuple(self._open)):
            socket.drain(seconds, number * pause)
        while self._open:
            self._none_open.clear()
            await self._none_open.wait()

    def lanes(self) -> Counter[State]:
        """How many lanes of all sockets do what."""
        return sum((socket.lanes() for socket in self._open), Counter())

    def __len__(self) -> int:
        return len(self._open)

    def cut(self) -> None:
        """End every connection now."""
        for socket in tuple(self._open):
            socket.cut()
