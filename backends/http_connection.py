"""One HTTP/1.1 connection and the exchange that runs on it. Knows no pool, opens nothing, retries nothing.

Our own because a token stream pays per chunk: here a network read costs one parser call and at most one future, and
what has already come is taken without a suspension. `httptools` (llhttp) reads the bytes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import httptools

from backends.errors import BackendError, ProtocolViolation, StreamBroken, Unreachable

HEAD_LIMIT = 64 * 1024  # bytes without a byte of body among them: a head, trailers, chunk extensions
HIGH_WATER = 256 * 1024  # bytes that wait to be read; more stops reading from the socket
BODY_LIMIT = 1024 * 1024  # of a body that is read whole: an error, a list of models
KEEP_ALIVE = 4.0  # seconds; common servers close an idle connection after five
LINGER = 1.0  # seconds in which the end of a body that nobody needs must come
PROXY_REFUSES = "the proxy refuses our name and password"


class Connection(asyncio.Protocol):
    """One connection of a pool: carries one exchange at a time.

    `on_idle` is called when it may carry the next one, `on_lost` when it is no more. Idle for too long, it closes.
    """

    __slots__ = (
        "_alive",
        "_exchange",
        "_loop",
        "_on_idle",
        "_on_lost",
        "_timer",
        "transport",
    )

    def __init__(self, on_idle: Callable[["Connection"], None], on_lost: Callable[["Connection"], None]) -> None:
        self._on_idle, self._on_lost = on_idle, on_lost
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._alive = False
        self.transport: asyncio.Transport  # since connection_made

    def begin(self, exchange: "Exchange", payload: bytes) -> None:
        """Send a request; from now on what comes belongs to `exchange`."""
        self._stop_timer()
        self._exchange = exchange
        self.transport.write(payload)

    def release(self, keep_alive: float) -> None:
        """The exchange is over. The connection may idle for `keep_alive` seconds, 0 if it cannot be used again."""
        self._stop_timer()
        self._exchange = None
        # Bytes of the request that were not sent yet: the server answered without reading them, so it will not read on.
        if keep_alive <= 0 or not self.usable() or self.transport.get_write_buffer_size():
            self.close()
        else:
            self._timer = self._loop.call_later(keep_alive, self.close)
            self._on_idle(self)

    def linger(self) -> None:
        """Wait a moment for the end of a body that nobody reads any more."""
        self._timer = self._loop.call_later(LINGER, self.abort)

    def usable(self) -> bool:
        return self._alive and not self.transport.is_closing()

    @property
    def ending(self) -> bool:
        """Whether it is being closed. One with TLS may take its time for that."""
        return self._alive and self.transport.is_closing()

    def pause(self, paused: bool) -> None:
        if self.usable():
            (self.transport.pause_reading if paused else self.transport.resume_reading)()

    def close(self) -> None:
        self._stop_timer()
        if self._alive:
            self.transport.close()

    def abort(self) -> None:
        """Close now, whatever is under way. The server sees it at once."""
        self._stop_timer()
        if self._alive:
            self.transport.abort()
        if self._exchange is not None:
            self._exchange.lost(clean=False)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._alive = True
        self.transport = transport  # type: ignore[assignment]  # a stream socket's transport is a Transport

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()  # a server that speaks unasked cannot be trusted with the next request
        else:
            self._exchange.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._alive = False
        if self._exchange is not None:
            self._exchange.lost(clean=exc is None)
        self._on_lost(self)


class Exchange:
    """One request and its response: entered when the response's head has come, iterated for its body.

    `status` is the HTTP status, `headers` has lower-case names. Leaving before the body's end aborts the connection.
    Raises ProtocolViolation, StreamBroken, and on entering Unreachable and what `connect` raises.
    """

    __slots__ = (
        "_bare",
        "_complete",
        "_connect",
        "_connection",
        "_error",
        "_forgone",
        "_head",
        "_keep_alive",
        "_left",
        "_loop",
        "_on_read",
        "_parser",
        "_parts",
        "_paused",
        "_payload",
        "_waiter",
        "_waiting",
        "headers",
        "heard_at",
        "on_body",
        "over",
        "status",
    )

    def __init__(self, connect: Callable[[], Awaitable[Connection]], payload: bytes) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connect, self._payload = connect, payload
        self._connection: Connection | None = None
        self._parts: list[bytes] = []
        self.on_body = self._parts.append  # what the parser calls; once per token, so nothing of ours in between
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiting = 0  # bytes in _parts
        self._bare = 0  # bytes received since the last byte of a body
        self._paused = False
        self._head = self._complete = self._left = self._forgone = False
        self._keep_alive = 0.0
        self._error: BackendError | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._on_read: Callable[[], None] | None = None
        self.heard_at = 0.0  # the loop's time of the last read
        self.over = False  # nothing will come any more, in order or not

    async def __aenter__(self) -> Self:
        connection = await self._connect()
        self._connection = connection
        try:
            if self._error is not None:  # aborted while it connected
                raise self._error
            connection.begin(self, self._payload)
            self._payload = b""
            while not self._head:
                if self._error is not None:
                    raise self._error
                await self._more()
            self._check_head()
        except BaseException:
            self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes of the body, all that have come; never empty."""
        while (data := self.take()) == b"":
            await self._more()
        if data is None:
            raise StopAsyncIteration
        return data

    def take(self) -> bytes | None:
        """The bytes of the body that have come since the last time; None at its end. Raises what ended it early."""
        parts = self._parts
        if not parts:
            if self._complete:
                return None
            if self._error is not None:
                raise self._error
            return b""
        if len(parts) == 1:
            data = parts.pop()
        else:
            data = b"".join(parts)
            parts.clear()
        self._waiting = 0
        if self._paused:
            self.pause(False)
        return data

    def listen(self, on_read: Callable[[], None] | None) -> None:
        """Call `on_read` whenever `take` may have something new, instead of waking whoever iterates."""
        self._on_read = on_read

    async def read(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body. Raises ProtocolViolation when it is longer than `limit` bytes."""
        body = bytearray()
        async for data in self:
            body += data
            if len(body) > limit:
                raise ProtocolViolation(f"an answer longer than {limit} bytes where a short one was expected")
        return bytes(body)

    def forgo(self) -> None:
        """What matters of the body has come: leaving waits for its end in the background, to keep the connection."""
        self._forgone = True

    def abort(self) -> None:
        """End the exchange from outside: whoever waits for it gets StreamBroken."""
        self._error = self._error or StreamBroken()
        if self._connection is not None and not self._left:
            self._connection.abort()

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._on_read is not None:
            self._on_read()
        elif self._waiter is not None and not self._waiter.done():  # done: woken, or its reader was cancelled
            self._waiter.set_result(None)

    def _check_head(self) -> None:
        if self.status == 407:  # RFC 9110, 15.5.8: only a proxy says so
            raise Unreachable(PROXY_REFUSES)
        if 300 <= self.status < 400:
            raise ProtocolViolation(f"a redirect (HTTP {self.status}), and redirects are not followed")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolViolation("a compressed answer that was not asked for")

    def pause(self, paused: bool) -> None:
        """Stop reading from the socket, or go on."""
        self._paused = paused
        if self._connection is not None:
            self._connection.pause(paused)

    def _leave(self) -> None:
        if self._left or self._connection is None:
            return
        self._left = True
        self._parts.clear()
        if self._paused:
            self.pause(False)
        if self._complete:
            self._end(self._connection)
        elif self._forgone and self._error is None:
            self._connection.linger()
        else:
            self._connection.abort()

    def _end(self, connection: Connection) -> None:
        """Complete and left: the connection is free."""
        connection.release(self._keep_alive)
        self._parser = None  # it holds our methods: without it nothing is left to the garbage collector

    # What the connection calls.

    def feed(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        self.heard_at = self._loop.time()
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("bytes that are not HTTP/1.1")
        if self._on_read is not None and self._parts:  # nearly always: somebody takes it at once
            self._bare = 0
            self._on_read()
            return
        if not self._parts:
            self._bare += len(data)
            if self._bare > HEAD_LIMIT:
                self._fail(f"a head longer than {HEAD_LIMIT} bytes")
        elif self._left:
            self._parts.clear()
        else:
            self._bare = 0
            self._waiting += len(data)
            if self._waiting > HIGH_WATER and not self._paused:
                self.pause(True)
        if self._on_read is not None:
            self._on_read()
        elif self._left and self._complete and self._connection is not None:
            self._end(self._connection)
        else:
            self._wake()

    def lost(self, *, clean: bool) -> None:
        """The connection is no more. `clean` when the server closed it in order."""
        if clean and self._head and self._until_eof():
            self._complete = self.over = True
        self.over = True
        if not self._complete and self._error is None:
            self._error = StreamBroken()
        self._keep_alive = 0.0
        self._parser = None
        self._wake()

    def _fail(self, what: str) -> None:
        self._keep_alive = 0.0
        if not self._complete:  # rubbish behind a complete answer costs the connection, not the answer
            self._error = self._error or ProtocolViolation(what)
            self.over = True

    def _until_eof(self) -> bool:
        """RFC 9112, 6.3: without either header the body goes on until the connection is closed."""
        return "content-length" not in self.headers and "chunked" not in self.headers.get("transfer-encoding", "")

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second answer")  # ends the parsing: what follows is nobody's

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head:  # trailers are dropped
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser is None or self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim response (RFC 9110, 15.2): the real one follows
            self.headers.clear()
        else:
            self.status, self._head = status, True

    def on_message_complete(self) -> None:
        if self._parser is not None and self._head and not self._complete:
            self._complete = self.over = True
            self._keep_alive = keep_alive(self.headers) if self._parser.should_keep_alive() else 0.0


def keep_alive(headers: dict[str, str]) -> float:
    """Seconds that the connection may idle: a second less than the server says, else our default."""
    for option in headers.get("keep-alive", "").split(","):
        name, _, value = option.partition("=")
        if name.strip().lower() == "timeout" and value.strip().isdecimal():
            return max(0.0, min(float(value) - 1.0, 60.0))
    return KEEP_ALIVE
