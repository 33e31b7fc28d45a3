"""The one outgoing HTTP transport: connections kept per origin, foreign errors translated. Retries nothing.

No redirects, no cookies, no proxies, no compression. The only deadline here is for connecting; those of the first
event, the silence and the whole answer belong to the dispatcher.
"""

import asyncio
import select
import socket
import ssl
from collections import defaultdict
from collections.abc import Mapping
from errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from typing import NamedTuple
from urllib.parse import urlsplit

from backends.errors import BackendError, DeadlineExceeded, Overloaded, Unreachable
from backends.http_connection import Connection, Exchange

CERTIFICATE_FAULTS = {  # OpenSSL's verification codes, x509_vfy.h
    10: "TLS: its certificate has expired",
    18: "TLS: its certificate is signed by itself",
    19: "TLS: its certificate is signed by an unknown authority",
    20: "TLS: its certificate is signed by an unknown authority",
    62: "TLS: its certificate is for another host name",
    64: "TLS: its certificate is for another address",
}


class Origin(NamedTuple):
    """What connections may be shared for."""

    tls: bool
    host: str
    port: int


class Transport:
    """Sends requests over connections that it keeps open between them.

    `connect_deadline` is in seconds. At most `max_idle` connections per origin wait for the next request; with
    `max_connections` open to one origin, a request that needs another raises Overloaded: nothing queues here.
    `tls` None means the system's authorities, read when the first https URL is asked for.
    """

    def __init__(
        self,
        *,
        connect_deadline: float = 10.0,
        max_idle: int = 256,
        max_connections: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connect_deadline, self._max_idle, self._max_connections = connect_deadline, max_idle, max_connections
        self._tls = tls
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._open: defaultdict[Origin, set[Connection]] = defaultdict(set)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
        """One request, sent on entering. Raises ValueError for a URL or header that cannot be sent; on entering
        Unreachable, DeadlineExceeded, Overloaded, StreamBroken or ProtocolViolation."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("expected an http(s) URL")
        origin = Origin(parts.scheme == "https", parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [
            f"{method} {target} HTTP/1.1",
            f"host: {parts.netloc}",
            "user-agent: streamlane",
            "accept-encoding: identity",
        ]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header holds a line break")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return Exchange(lambda: self._checkout(origin), head + body)

    def close(self) -> None:
        """Abort every connection. Whoever still reads gets StreamBroken."""
        for connections in list(self._open.values()):
            for connection in list(connections):
                connection.abort()

    async def _checkout(self, origin: Origin) -> Connection:
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if fresh(connection):
                return connection
            connection.close()
        # A race remains: the server may close a kept connection while our request is under way to it. Whether the
        # request was seen is then unknown, so the error goes to the dispatcher, the only one who may try again.
        return await self._connect(origin)

    async def _connect(self, origin: Origin) -> Connection:
        opened = self._open[origin]
        if self._max_connections is not None and len(opened) >= self._max_connections:
            raise Overloaded

        def kept(connection: Connection) -> None:
            if len(self._idle[origin]) < self._max_idle:
                self._idle[origin].append(connection)
            else:
                connection.close()

        def lost(connection: Connection) -> None:
            opened.discard(connection)
            if connection in self._idle[origin]:
                self._idle[origin].remove(connection)

        connection = Connection(kept, lost)
        opened.add(connection)
        try:
            async with asyncio.timeout(self._connect_deadline) as deadline:
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, origin.host, origin.port, ssl=self._context() if origin.tls else None
                )
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA refuses
            opened.discard(connection)
            if deadline.expired():
                raise DeadlineExceeded("connect", self._connect_deadline) from None
            raise translated(error) from None
        except BaseException:
            opened.discard(connection)
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()  # 20 ms: not before somebody needs it
        return self._tls


def fresh(connection: Connection) -> bool:
    """Whether an idle connection is still open. One that can be read from is at its end, or carries rubbish."""
    if not connection.usable() or not hasattr(select, "poll"):
        return connection.usable()
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not poll.poll(0)


def translated(error: Exception) -> BackendError:
    """Why no connection came about, in our own words."""
    match error:
        case ssl.SSLCertVerificationError():
            return Unreachable(CERTIFICATE_FAULTS.get(error.verify_code, "TLS: its certificate is not valid"))
        case ssl.SSLError():
            return Unreachable("TLS: no handshake; does it speak https?")
        case socket.gaierror() | UnicodeError():
            return Unreachable("name not found")
        case ConnectionResetError() | ConnectionAbortedError():
            return Unreachable("connection closed at once")
    # Several addresses tried: asyncio and uvloop then join the texts, and the numbers stand only there.
    if f"[Errno {ECONNREFUSED}]" in str(error):
        return Unreachable("connection refused")
    if any(f"[Errno {number}]" in str(error) for number in (EHOSTUNREACH, ENETUNREACH)):
        return Unreachable("no route to it")
    return Unreachable("no connection")
