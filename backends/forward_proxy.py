"""A forward proxy as it is configured: where it is, what it is told, and which hosts are asked past it. Pure."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """One HTTP proxy. `authorization` is what it is told in Proxy-Authorization; it is shown nowhere.

    `direct` are the hosts that are asked past it, as `no_proxy` has them.
    """

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)
    direct: tuple[str, ...] = ()

    def serves(self, host: str) -> bool:
        """Whether `host`, a name or an address, is asked by way of it."""
        return not any(covers(entry, host) for entry in self.direct)


def forward_proxy(url: str, no_proxy: Sequence[str] = ()) -> ForwardProxy:
    """The proxy at `url`. Raises ValueError, which says nothing of the URL: a password may stand in it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:  # a bracket that does not close, a port that is none
        parts, host, port = urlsplit(""), None, 0
    if parts.scheme != "http" or not host or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("expected http://HOST:PORT, with NAME:PASSWORD@ before HOST where it asks for them")
    authorization = None
    if parts.username is not None:  # RFC 7617
        known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(known.encode()).decode()}"
    return ForwardProxy(host, port, authorization, tuple(no_proxy))


def valid_entry(entry: str) -> bool:
    """Whether `entry` of `no_proxy` can match anything."""
    try:
        ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return bool(entry.strip(".")) and not set(entry) & set("/:*@ ")
    return True


def covers(entry: str, host: str) -> bool:
    """Whether an entry of `no_proxy` means `host`: its own name, a domain that it is in, its address or its network."""
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # one of both is a name
        name, domain = host.lower().rstrip("."), entry.lower().strip(".")
        return name == domain or name.endswith(f".{domain}")
