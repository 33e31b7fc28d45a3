"""How a connection comes about: straight to its origin or by way of a forward proxy, in time, verified."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from errno import ECONNREFUSED, EHOSTUNREACH, ENETUNREACH
from pathlib import Path
from typing import NamedTuple

import httptools

from backends.errors import BackendError, DeadlineExceeded, Unreachable
from backends.forward_proxy import ForwardProxy
from backends.http_connection import HEAD_LIMIT, PROXY_REFUSES, Connection

CERTIFICATE_FAULTS = {  # OpenSSL's verification codes, x509_vfy.h
    9: "TLS: its certificate is not valid yet",
    10: "TLS: its certificate has expired",
    18: "TLS: its certificate is signed by itself",
    19: "TLS: its certificate is signed by an unknown authority",
    20: "TLS: its certificate is signed by an unknown authority",
    62: "TLS: its certificate is for another host name",
    64: "TLS: its certificate is for another address",
}
TUNNEL_FAULTS = {  # what a proxy means with a status, RFC 9110, 15
    403: "the proxy forbids it",
    407: PROXY_REFUSES,
    502: "the proxy cannot reach it",
    503: "the proxy cannot reach it",
    504: "the proxy cannot reach it",
}


class Origin(NamedTuple):
    """What connections may be shared for."""

    tls: bool
    host: str
    port: int

    @property
    def authority(self) -> str:
        """HOST:PORT, with the brackets that an IPv6 address needs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connector:
    """Opens connections. `deadline` is in seconds, for the whole way: name, proxy and handshake.

    `tls` None means the system's authorities, read when the first https origin is asked for. `proxy` None means none:
    no variable of the environment is read.
    """

    def __init__(self, deadline: float, tls: ssl.SSLContext | None, proxy: ForwardProxy | None) -> None:
        self._deadline, self._tls, self._proxy = deadline, tls, proxy

    def by_proxy(self, origin: Origin) -> ForwardProxy | None:
        """The proxy that `origin` is asked by way of; None when it is asked itself."""
        return self._proxy if self._proxy is not None and self._proxy.serves(origin.host) else None

    async def connect(self, origin: Origin, connection: Connection) -> None:
        """Make `connection` one to `origin`. Raises Unreachable or DeadlineExceeded."""
        proxy = self.by_proxy(origin)
        try:
            async with asyncio.timeout(self._deadline) as deadline:
                if proxy is None:
                    context = self.context() if origin.tls else None
                    await opened(lambda: connection, origin.host, origin.port, context)
                elif origin.tls:
                    await self._tunnel(proxy, origin, connection)
                else:
                    await opened(lambda: connection, proxy.host, proxy.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA refuses
            if deadline.expired():
                raise DeadlineExceeded("connect", self._deadline) from None
            raise translated(error, by_proxy=proxy is not None and not isinstance(error, ssl.SSLError)) from None

    def context(self) -> ssl.SSLContext:
        """What TLS is verified against."""
        if self._tls is None:
            self._tls = ssl.create_default_context()  # 20 ms: not before somebody needs it
        return self._tls

    async def _tunnel(self, proxy: ForwardProxy, origin: Origin, connection: Connection) -> None:
        """CONNECT (RFC 9110, 9.3.6), then TLS through it to the origin itself."""
        tunnel = Tunnel()
        transport = await opened(lambda: tunnel, proxy.host, proxy.port)
        tunnel.transport = transport
        try:
            lines = [f"CONNECT {origin.authority} HTTP/1.1", f"host: {origin.authority}", "user-agent: streamlane"]
            if proxy.authorization is not None:
                lines.append(f"proxy-authorization: {proxy.authorization}")
            transport.write("\r\n".join(lines).encode() + b"\r\n\r\n")
            await tunnel.open
            if tunnel.early:  # TLS servers do not speak first
                raise ssl.SSLError
            secured = await asyncio.get_running_loop().start_tls(
                transport, connection, self.context(), server_hostname=origin.host
            )
        except BaseException:
            transport.abort()
            raise
        if secured is None:  # gone during the handshake
            raise ConnectionResetError
        connection.connection_made(secured)


class Tunnel(asyncio.Protocol):
    """The proxy's answer to CONNECT. `open` is done once it was a yes, and has Unreachable when it was a no.

    `early` when bytes came behind it that nobody can have asked for.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.early = False
        self.open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._read = 0

    def data_received(self, data: bytes) -> None:
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.early = True
            self._end(Unreachable("the proxy does not speak HTTP"))
        if self._read > HEAD_LIMIT:
            self._end(Unreachable("the proxy does not speak HTTP"))

    def on_headers_complete(self) -> None:
        """What the parser calls."""
        status = self._parser.get_status_code()
        if status >= 300:
            self._end(Unreachable(TUNNEL_FAULTS.get(status, f"the proxy answers HTTP {status}")))
        elif status >= 200:
            self.transport.pause_reading()  # what comes now is for TLS, which begins in the next turn of the loop
            self._end(None)

    def on_body(self, _: bytes) -> None:
        """What the parser calls."""
        self.early = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Unreachable("the proxy closed the connection"))

    def _end(self, error: Unreachable | None) -> None:
        if self.open.done():
            return
        if error is None:
            self.open.set_result(None)
        else:
            self.open.set_exception(error)


async def opened(
    protocol: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None = None
) -> asyncio.Transport:
    """The connection to the first address of `host` that takes one. Raises OSError or UnicodeError."""
    loop = asyncio.get_running_loop()
    # Looked up here: uvloop's create_connection forgets its own look-up when it is cancelled, whose failure then is
    # reported as an exception that nobody retrieved.
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failures: list[OSError] = []
    name = None if tls is None else host
    for address in dict.fromkeys(str(at[0]) for *_, at in found):
        try:
            transport, _ = await loop.create_connection(protocol, address, port, ssl=tls, server_hostname=name)
        except ssl.SSLError:
            raise
        except OSError as error:
            failures.append(error)
        else:
            return transport
    raise failures[0] if len(failures) == 1 else OSError("; ".join(map(str, failures)))


def trusting(ca_file: Path) -> ssl.SSLContext:
    """The system's authorities, and those in `ca_file`. Raises OSError, or ValueError where none is in it."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError("no certificate in PEM is in it") from None
    return context


def translated(error: Exception, *, by_proxy: bool = False) -> BackendError:
    """Why no connection came about, in our own words. `by_proxy`: it was the proxy that was asked."""
    who = "the proxy: " if by_proxy else ""
    match error:
        case ssl.SSLCertVerificationError():
            return Unreachable(CERTIFICATE_FAULTS.get(error.verify_code, "TLS: its certificate is not valid"))
        case ssl.SSLError():
            return Unreachable("TLS: no handshake; does it speak https?")
        case socket.gaierror() | UnicodeError():
            return Unreachable(f"{who}name not found")
        case ConnectionResetError() | ConnectionAbortedError():
            return Unreachable(f"{who}connection closed at once")
    # Several addresses tried: asyncio and uvloop then join the texts, and the numbers stand only there.
    if f"[Errno {ECONNREFUSED}]" in str(error):
        return Unreachable(f"{who}connection refused")
    if any(f"[Errno {number}]" in str(error) for number in (EHOSTUNREACH, ENETUNREACH)):
        return Unreachable(f"{who}no route to it")
    return Unreachable(f"{who}no connection")
