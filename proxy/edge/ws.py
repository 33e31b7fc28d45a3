"""The socket: frames in, frames out. What they mean is the session's business.

The fast path is a chain of plain calls from where the upstream was read: generation → wake → take → write. It ends when
the socket's buffer is above its mark; then a writer task waits for the client, and what piles up leaves merged.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from socket import SO_SNDBUF, SOL_SOCKET

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from backends.json import dumps
from proxy.attachment import Delivery
from proxy.edge import subprotocol
from proxy.errors import ProxyError, error_event
from proxy.generation import Generation, Generations
from proxy.outcome import Notice, Principal
from proxy.session import Answer, Cancel, Command, Limits, Refuse, Session, Start, State

log = structlog.get_logger()

HIGH_WATER = 64 * 1024  # bytes in the socket's buffer above which we stop writing
UNREAD = 1024 * 1024  # bytes of events that belong to no generation, for a client that is behind
KERNEL_BUFFER = 64 * 1024  # bytes; left alone, Linux hides up to 4 MB from a reader that has stopped
EXTENDED_PROTOCOL = "streamlane.v1"  # the subprotocol of clients that know our extensions
PING = b"\x89\x00"  # RFC 6455 5.5.2: a ping without a payload


@dataclass(frozen=True, slots=True)
class SocketDeadlines:
    """In seconds. A client that does not read for `send`, or says nothing for `ping` + `pong`, is cut."""

    send: float = 10
    ping: float = 20
    pong: float = 60


class Stream:
    """One generation on its way to one socket."""

    __slots__ = ("_socket", "delivery", "generation")

    def __init__(self, socket: "Socket", generation: Generation, stream_id: str | None) -> None:
        self._socket = socket
        self.generation = generation
        self.delivery = Delivery(generation.log, stream_id)

    @property
    def behind(self) -> int:
        return self.delivery.behind

    def wake(self) -> bool:
        """Send what is new, unless the client is behind: then the writer task will, later."""
        socket = self._socket
        if socket.blocked or socket.gone:
            return False
        socket.write(self.delivery.take())
        if self.delivery.ended:
            socket.ended(self)
        return True

    def notice(self, notice: Notice) -> None:
        """For a client that asked for our extensions. Its number is that of the response's last event."""
        if self._socket.extended:
            delivery = self.delivery
            placed = {"response_id": self.generation.id, "sequence_number": max(0, delivery.position - 1)}
            if delivery.stream_id is not None:
                placed["stream_id"] = delivery.stream_id
            self._socket.send({"type": f"streamlane:{notice.kind}", **placed, **notice.data})


class Socket:
    """One client's connection, from the upgrade to its end. A plain connection: when it closes, its responses stop."""

    def __init__(
        self,
        *,
        generations: Generations,
        principal: Principal,
        limits: Limits,
        deadlines: SocketDeadlines,
        max_frame_bytes: int,
        on_refused: Callable[[Exception], None],
        protocol: str | None,
        extended: bool,
    ) -> None:
        self._generations = generations
        self._principal = principal
        self._on_refused = on_refused
        self.extended = extended
        self._session = Session(limits)
        self._deadlines = deadlines
        self._ws = web.WebSocketResponse(
            protocols=(protocol,) if protocol else (),
            autoping=False,
            compress=False,
            decode_text=False,
            max_msg_size=max_frame_bytes,
            timeout=deadlines.send,
        )
        self._streams: dict[str | None, Stream] = {}  # by lane: the response that runs there
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._heard = self._loop.time()
        self.blocked = self._draining = self.gone = False
        self._unread = 0  # bytes of such events since the client is behind
        self._context = copy_context()
        self._transport: asyncio.WriteTransport
        self._writer: AbstractStreamWriter
        self._timer: asyncio.TimerHandle

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, then relay until the client is gone."""
        self._writer = await self._ws.prepare(request)
        if request.transport is None:  # gone during the handshake
            return self._ws
        self._transport = request.transport
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if (raw := self._transport.get_extra_info("socket")) is not None:
            raw.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER)
        self._timer = self._loop.call_later(self._deadlines.ping, self._keep_alive)
        async with self._tasks:
            try:
                await self._read()
            finally:
                self._lost()
        return self._ws

    def drain(self) -> None:
        """Let what runs end, take nothing new, then say goodbye."""
        self._draining = True
        self._obey(self._session.drain())
        self._say_goodbye()

    def lanes(self) -> Counter[State]:
        """How many of its lanes do what."""
        return self._session.lanes()

    def cut(self) -> None:
        """End the connection now."""
        self._transport.abort()

    async def _read(self) -> None:
        while True:
            message = await self._ws.receive()
            self._heard = self._loop.time()
            match message.type:
                case WSMsgType.TEXT:
                    self._obey(self._session.receive(message.data))
                case WSMsgType.BINARY:
                    self._obey(self._session.receive_binary())
                case WSMsgType.PING:
                    with suppress(ConnectionError):  # gone: the next message says so
                        await self._ws.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case _:  # closed by either side, or broken
                    return

    def _obey(self, commands: Iterable[Command]) -> None:
        todo = deque(commands)
        while todo:
            match todo.popleft():
                case Start(create, stream_id):
                    try:
                        generation = self._generations.start(self._principal, create)
                    except ProxyError as error:
                        self._refuse(error, stream_id)
                        todo.extend(self._session.done(stream_id))
                    else:
                        stream = self._streams[stream_id] = Stream(self, generation, stream_id)
                        generation.follow(stream)
                case Cancel(response_id, stream_id):
                    self._cancel(response_id, stream_id)
                case Refuse(error, stream_id):
                    self._refuse(error, stream_id)
                case Answer(event):
                    self.send(event)

    def _cancel(self, response_id: str | None, stream_id: str | None) -> None:
        if response_id is not None:
            try:
                self._generations.cancel(response_id, self._principal)
            except ProxyError as error:
                self._refuse(error, stream_id)
        elif (stream := self._streams.get(stream_id)) is not None:  # nothing runs: it has just ended
            stream.generation.cancel()

    def _refuse(self, error: ProxyError, stream_id: str | None) -> None:
        self._on_refused(error)
        self.send(error_event(error, stream_id))

    def ended(self, stream: Stream) -> None:
        """The lane's terminal event was sent."""
        stream.generation.leave(stream)
        lane = stream.delivery.stream_id
        del self._streams[lane]
        self._obey(self._session.done(lane))
        self._say_goodbye()

    def send(self, event: object) -> None:
        """An event of no generation. Nothing bounds how many a client may cause, so one that reads none is cut."""
        frame = dumps(event)
        self.write([frame])
        self._unread += len(frame) if self.blocked else 0
        if self._unread > UNREAD:
            log.info("deaf_client_cut", principal=self._principal.id)
            self.cut()

    def write(self, frames: list[bytes]) -> None:
        """Send frames, and begin to wait when the client is behind."""
        transport = self._transport
        if self.gone or not frames or transport.is_closing():
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
        for stream in tuple(self._streams.values()):
            stream.wake()
            stream.generation.caught_up()

    def _keep_alive(self) -> None:
        """Ping, so that proxies keep the connection and a client that vanished is noticed."""
        if self.blocked:  # it cannot see a ping; the send deadline watches it
            self._heard = self._loop.time()
        if self._loop.time() - self._heard > self._deadlines.ping + self._deadlines.pong:
            log.info("silent_client_cut", principal=self._principal.id)
            self.cut()
            return
        if not self.blocked and not self._transport.is_closing():
            self._transport.write(PING)
        self._timer = self._loop.call_later(self._deadlines.ping, self._keep_alive)

    def _say_goodbye(self) -> None:
        if self._draining and self._session.idle and not self.gone:
            self._draining = False
            self._tasks.create_task(self._close())

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(self._deadlines.send):
                await self._ws.close(code=WSCloseCode.SERVICE_RESTART, message=b"The gateway is restarting.")
        except TimeoutError:
            self.cut()

    def _lost(self) -> None:
        """The client is gone: nobody waits for its responses."""
        self.gone = True
        self._timer.cancel()
        for stream in self._streams.values():
            stream.generation.leave(stream)
            stream.generation.cancel()
        self._streams.clear()


def asked_for_extensions(request: web.Request) -> bool:
    """Whether a client wants more than OpenAI defines. Any of three ways, so that each kind of client has one."""
    return (
        request.query.get("sl_ext") == "1"
        or request.headers.get("X-Streamlane-Ext") == "1"
        or EXTENDED_PROTOCOL in subprotocol.offered(request.headers)
    )


def text_frame(payload: bytes) -> bytes:
    """An unmasked text frame, as servers send them (RFC 6455 5.2). aiohttp's own way is a coroutine a frame."""
    length = len(payload)
    if length < 126:
        return b"\x81%c%b" % (length, payload)
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2) + payload
    return b"\x81\x7f" + length.to_bytes(8) + payload


class Sockets:
    """Every socket that is open, so that they can be drained."""

    def __init__(
        self,
        *,
        generations: Generations,
        limits: Limits,
        deadlines: SocketDeadlines,
        max_frame_bytes: int,
        on_refused: Callable[[Exception], None],
    ) -> None:
        self._generations = generations
        self._limits = limits
        self._deadlines = deadlines
        self._max_frame_bytes = max_frame_bytes
        self._on_refused = on_refused
        self._open: set[Socket] = set()
        self._none_open = asyncio.Event()

    async def serve(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """One socket, from its upgrade to its end. Raises BadParameter when the client offers only secrets."""
        socket = Socket(
            generations=self._generations,
            principal=principal,
            limits=self._limits,
            deadlines=self._deadlines,
            max_frame_bytes=self._max_frame_bytes,
            on_refused=self._on_refused,
            protocol=subprotocol.selected(request.headers),
            extended=asked_for_extensions(request),
        )
        self._open.add(socket)
        try:
            return await socket.serve(request)
        finally:
            self._open.discard(socket)
            if not self._open:
                self._none_open.set()

    async def drain(self) -> None:
        """Ask every socket to end, and wait until all have."""
        for socket in tuple(self._open):
            socket.drain()
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
