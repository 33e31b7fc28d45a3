"""The one outgoing HTTP transport: one pool of connections per origin, foreign errors translated. Retries nothing.

No redirects, no cookies, no compression, and no proxy but the one that it is given. The only deadline here is for
connecting; those of the first event, the silence and the whole answer belong to the dispatcher.
"""

import ssl
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from backends.forward_proxy import ForwardProxy
from backends.http_connect import Connector, Origin
from backends.http_connection import Exchange
from backends.http_pool import Pool, PoolState


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
        proxy: ForwardProxy | None = None,
    ) -> None:
        self._max_idle, self._max_connections = max_idle, max_connections
        self._connector = Connector(connect_deadline, tls, proxy)
        self._pools: dict[Origin, Pool] = {}

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
        """One request, sent on entering. Raises ValueError for a URL or header that cannot be sent; on entering
        Unreachable, DeadlineExceeded, Overloaded, StreamBroken or ProtocolViolation."""
        parts, origin = urlsplit(url), origin_of(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        proxy = None if origin.tls else self._connector.by_proxy(origin)
        lines = [
            # RFC 9112, 3.2.2: a proxy is told the whole URL.
            f"{method} {target if proxy is None else f'http://{parts.netloc}{target}'} HTTP/1.1",
            f"host: {parts.netloc}",
            "user-agent: streamlane",
            "accept-encoding: identity",
        ]
        if proxy is not None and proxy.authorization is not None:
            lines.append(f"proxy-authorization: {proxy.authorization}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header holds a line break")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return Exchange(self._pool(origin).checkout, head + body)

    def way_to(self, url: str) -> tuple[ssl.SSLContext | None, ForwardProxy | None]:
        """What TLS to `url` is verified against, None without TLS, and the proxy that it is asked by way of.

        For a library that connects by itself, as those for WebSockets do.
        """
        origin = origin_of(url)
        return self._connector.context() if origin.tls else None, self._connector.by_proxy(origin)

    def states(self) -> Mapping[str, PoolState]:
        """What the connections to each origin do, by HOST:PORT. Only what the configuration names is ever asked."""
        found: dict[str, PoolState] = {}
        for origin, pool in self._pools.items():
            before = found.get(origin.authority, PoolState())  # the same port may be asked with and without TLS
            found[origin.authority] = PoolState(*map(sum, zip(before, pool.state, strict=True)))
        return found

    def close(self) -> None:
        """Abort every connection. Whoever still reads gets StreamBroken."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, origin: Origin) -> Pool:
        if origin not in self._pools:
            self._pools[origin] = Pool(origin, self._connector, self._max_connections, self._max_idle)
        return self._pools[origin]


@lru_cache  # the URLs are few, and one is asked for with every request
def origin_of(url: str) -> Origin:
    """Raises ValueError for a URL that is none of http(s)."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an http(s) URL")
    return Origin(parts.scheme == "https", parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
