"""The Responses API's socket: one that is kept open, opened anew when it is lost, and done without while it cannot be.

It sends nothing twice: a request that was under way on a lost socket ends with StreamBroken.
"""

import asyncio
import logging
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from backends.errors import BackendError
from backends.forward_proxy import ForwardProxy
from backends.http import Transport
from backends.responses_decode import Decoder
from backends.responses_lanes import Lane, Link

OPEN_DEADLINE = 5.0  # seconds: meanwhile a request waits that HTTP could have
PAUSE = 30.0  # seconds after a socket that did not open, or that was of no use
LIFETIME = 55 * 60.0  # seconds; OpenAI closes a socket after sixty minutes, whatever runs on it
MESSAGE_LIMIT = 16 * 1024 * 1024  # bytes: the last event repeats the whole answer
log = structlog.get_logger()
SILENT = logging.Logger("websockets", logging.CRITICAL + 1)  # its own logger writes the headers, and the key is there


class ResponsesSocket:
    """The way to `url`, an http(s) URL, for the backend `name`.

    `headers` makes those of the handshake; `allowed` says whether the key in the newest of them may still be used;
    `now` is a clock in seconds.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Callable[[], Awaitable[Mapping[str, str]]],
        transport: Transport,
        *,
        allowed: Callable[[], bool],
        now: Callable[[], float],
    ) -> None:
        self._allowed = allowed
        self._name, self._url, self._headers, self._transport, self._now = name, url, headers, transport, now
        self._link: Link | None = None
        self._links: set[Link] = set()
        self._opening: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._not_before = 0.0
        self._closed = False

    def start(self) -> None:
        """Begin to open it."""
        self._closed = False
        self._open_soon()

    async def close(self) -> None:
        """Close every socket. Whoever still reads gets StreamBroken."""
        self._closed = True
        for link in self._links:
            link.abort()
        if self._opening is not None:
            self._opening.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def lane(self, body: Mapping[str, Any], decoder: Decoder) -> Lane | None:
        """A lane on which `body` is asked; None when there is no socket now, or no room on it."""
        link = self._usable()
        if link is None:
            if self._now() >= self._not_before:
                self._open_soon()
            if self._opening is not None:
                await asyncio.wait({self._opening})
            link = self._usable()
        return None if link is None else link.claim(body, decoder)

    def _usable(self) -> Link | None:
        """The socket of now, if it takes requests. One whose key was taken away ends with what it has."""
        link = self._link
        if link is not None and link.usable and not self._allowed():
            link.retire()
        if link is not None and not link.usable:
            self._link = None
        return self._link

    def _open_soon(self) -> None:
        if self._opening is None and not self._closed:
            self._opening = self._spawn(self._open())

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _open(self) -> None:
        try:
            connection = await self._connect()
        except (OSError, UnicodeError, WebSocketException, BackendError) as error:
            self._not_before = self._now() + PAUSE  # who asks goes by HTTP, and learns there what is wrong
            log.warning("socket_not_opened", backend=self._name, reason=type(error).__name__, again_in_s=PAUSE)
        else:
            link = self._link = Link(connection, self._retired)
            self._links.add(link)
            self._spawn(self._serve(link))
        finally:
            self._opening = None

    async def _connect(self) -> ClientConnection:
        tls, proxy = self._transport.way_to(self._url)
        return await Unredirected(
            self._url.replace("http", "ws", 1),
            additional_headers=await self._headers(),
            user_agent_header="streamlane",
            ssl=tls,
            proxy=None if proxy is None else proxy_url(proxy),
            compression=None,
            open_timeout=OPEN_DEADLINE,
            close_timeout=1,
            max_size=MESSAGE_LIMIT,
            logger=SILENT,
        )

    async def _serve(self, link: Link) -> None:
        retire = asyncio.get_running_loop().call_later(LIFETIME, link.retire)
        try:
            await link.run()
        finally:
            retire.cancel()
            self._links.discard(link)
            if not link.served:  # accepted and closed: not again at once
                self._not_before = self._now() + PAUSE
            if self._link is link:
                self._retired()

    def _retired(self) -> None:
        """The socket of now takes no more requests: the next one is opened before it is needed."""
        self._link = None
        if self._now() >= self._not_before:
            self._open_soon()


class Unredirected(connect):
    """A handshake that follows no redirect: it would carry the key elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def proxy_url(proxy: ForwardProxy) -> str:
    """The proxy as websockets wants it, with name and password where it needs them."""
    known = ""
    if proxy.authorization is not None:
        name, _, password = b64decode(proxy.authorization.removeprefix("Basic ")).decode().partition(":")
        known = f"{quote(name, safe='')}:{quote(password, safe='')}@"
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    return f"http://{known}{host}:{proxy.port}"
