"""Streams responses as server-sent events: a status until something was said, then bytes, heartbeats and one end.

An API brings an `Encoder`, which turns entries of the logs into its own messages, and calls

    return await streams.answer(request, [generation], encoder)

- Headers leave with the first content of any of the generations, or after `heartbeat` seconds. A generation that fails
  before raises `Unanswered`, which becomes an error with its HTTP status, so that SDKs can try again.
- Later failures are in the log, as its terminal `response.failed`: the encoder says them in the stream's own format.
- A stream that says nothing for `heartbeat` seconds sends a comment, which every parser skips.
- A client that leaves ends its generations. One that reads nothing is cut after `send` seconds, and until then its
  generations wait for it as they do for a socket.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from socket import SO_SNDBUF, SOL_SOCKET
from typing import NoReturn, Protocol

import structlog
from aiohttp import web
from aiohttp.http import StreamWriter

from proxy.generation import Generation
from proxy.reader import LogReader, has_content, refuse_unanswered
from proxy.response_log import Entry
from proxy.wire.failure import failure

log = structlog.get_logger()
HIGH_WATER = 64 * 1024  # bytes in the connection's buffer above which we wait for the client
KERNEL_BUFFER = 64 * 1024  # bytes; left alone, Linux hides up to 4 MB from a reader that has stopped
HEARTBEAT = b": still here\n\n"
HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx: pass each piece on at once
}


class Encoder(Protocol):
    """The words of one API for what its generations say; made for one stream.

    `index` numbers the generations as they were given. What it returns is whole server-sent messages, or b"" where the
    API has no word for it. Entries come in the order of each log, a backlog merged.
    """

    def frames(self, index: int, entries: Sequence[Entry]) -> bytes:
        """What `entries` are, the terminal one too."""

    def end(self) -> bytes:
        """What follows when every generation has ended, such as `data: [DONE]`."""

    def failed(self, error: Exception) -> bytes:
        """The stream ends here by a fault of ours: an error in the stream's own format."""


class Streams:
    """Answers requests with streams. All times are in seconds."""

    def __init__(self, *, send: float, heartbeat: float = 10) -> None:
        self._send = send
        self._heartbeat = heartbeat

    async def answer(
        self,
        request: web.Request,
        generations: Sequence[Generation],
        encoder: Encoder,
        *,
        position: int = 0,
        owned: bool = True,
    ) -> web.StreamResponse:
        """Stream until every generation has ended. Raises Unanswered while there is still a status to give.

        Generations that are not `owned` go on when the client leaves, and have a status already: headers leave at once.
        `position` is where to begin in their logs.
        """
        news = asyncio.Event()
        with ExitStack() as stack:
            for each in generations if owned else ():
                stack.callback(each.cancel)  # one that has ended stays as it is
            readers = [stack.enter_context(LogReader(each, news, position)) for each in generations]
            batches = await self._first(readers, news) if owned else [reader.take() for reader in readers]
            sending = Sending(request, self._send)
            with suppress(ConnectionError):  # the client is gone
                await sending.begin()
                await self._relay(sending, readers, batches, encoder)
                await sending.finish()
        return sending.response

    async def _first(self, readers: Sequence[LogReader], news: asyncio.Event) -> list[list[Entry]]:
        """What each has said when headers must leave. Raises Unanswered."""
        batches: list[list[Entry]] = [[] for _ in readers]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat):
                while True:
                    news.clear()
                    for batch, reader in zip(batches, readers, strict=True):
                        batch.extend(reader.take())
                    if any(has_content(batch) for batch in batches):
                        break
                    refuse_unanswered(readers)
                    if all(reader.ended for reader in readers):
                        break
                    await news.wait()
        return batches

    async def _relay(
        self, sending: "Sending", readers: Sequence[LogReader], batches: list[list[Entry]], encoder: Encoder
    ) -> None:
        news = readers[0].news
        with Silence(self._heartbeat, news.set) as silence:
            while True:
                try:
                    data = b"".join([encoder.frames(index, batch) for index, batch in enumerate(batches) if batch])
                    if ended := over(readers):
                        data += encoder.end()
                except Exception as error:
                    log.exception("encoding_failed")
                    await sending.write(encoder.failed(error))
                    return
                if data or silence.lasts:
                    silence.broken()
                    await sending.write(data or HEARTBEAT)
                if ended:
                    return
                await news.wait()
                news.clear()
                batches = [reader.take() for reader in readers]


class Silence:
    """Calls `wake` each time that nothing was sent for `seconds`; `lasts` is True from its beginning until then.

    One timer asks now and then, so that what is sent costs nothing.
    """

    def __init__(self, seconds: float, wake: Callable[[], None]) -> None:
        self._seconds = seconds
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._check)
        self.lasts = True

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def broken(self) -> None:
        """Something is sent now."""
        self._since = self._loop.time()
        self.lasts = False

    def _check(self) -> None:
        left = self._since + self._seconds - self._loop.time()
        if left <= 0:
            self.lasts = True
            self._wake()
            left = self._seconds
        self._timer = self._loop.call_later(left, self._check)


def over(readers: Sequence[LogReader]) -> bool:
    """Whether a stream has said all: every generation has ended, or one did not end well, which an encoder says as the
    last word for them all.
    """
    ended = [reader for reader in readers if reader.ended]
    return len(ended) == len(readers) or any(failure(reader.generation.response) is not None for reader in ended)


class Sending:
    """One stream's bytes on their way to a client that may be slow. Raises ConnectionError when it is gone."""

    def __init__(self, request: web.Request, seconds: float) -> None:
        self._request = request
        self._seconds = seconds
        self.response = web.StreamResponse(headers=HEADERS)
        self._writer: StreamWriter
        self._transport: asyncio.Transport

    async def begin(self) -> None:
        """Send the headers."""
        if self._request.transport is None:
            raise ConnectionResetError
        self._transport = self._request.transport
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        if (raw := self._transport.get_extra_info("socket")) is not None:
            raw.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER)
        writer = await self.response.prepare(self._request)
        assert isinstance(writer, StreamWriter)
        self._writer = writer

    async def finish(self) -> None:
        """Send the end of the body."""
        try:
            async with asyncio.timeout(self._seconds):
                await self.response.write_eof()
        except TimeoutError:
            self._cut()

    async def write(self, data: bytes) -> None:
        """Send `data`, and wait while the client is behind. One that reads nothing in time is cut."""
        await self._writer.write(data, drain=False)
        while (unread := self._transport.get_write_buffer_size()) > HIGH_WATER:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._writer.drain()
            except TimeoutError:
                if self._transport.get_write_buffer_size() >= unread:
                    self._cut()

    def _cut(self) -> NoReturn:
        log.info("slow_reader_cut", seconds=self._seconds)
        self._transport.abort()
        raise ConnectionResetError
