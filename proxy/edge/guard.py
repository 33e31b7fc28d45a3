"""Who may come in: Host, Origin and key of one request, before anything else is looked at."""

import hmac
from collections.abc import Collection, Mapping
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from proxy.edge import subprotocol
from proxy.edge.tickets import Tickets
from proxy.errors import ForbiddenHost, ForbiddenOrigin, InvalidTicket, Unauthorized
from proxy.outcome import ANONYMOUS, Principal

# Routes that need no key. Probes come by any name and tell nothing; pages and the reference are the same everywhere,
# and what the pages ask for is not open.
OPEN = frozenset({"/", "/static/{name}", "/docs", "/openapi.json", "/events.json", "/health/live", "/health/ready"})


class Guard:
    """Checks requests. Without keys everyone on this machine may come in, but no web page that is not ours."""

    def __init__(
        self,
        *,
        api_keys: Collection[str],
        allowed_origins: Collection[str],
        allowed_hosts: Collection[str],
        bind: str,
        tickets: Tickets,
    ) -> None:
        self._tickets = tickets
        self._keys = {digest(key): Principal(f"key_{sha256(key.encode()).hexdigest()[:12]}") for key in api_keys}
        self.origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        self._hosts = frozenset({bind.lower(), *(hostname(host) for host in allowed_hosts)})
        # Only a page can be made to name a foreign Host (DNS rebinding), and no page knows a key: with keys, any name
        # that leads here may be used until the operator lists some.
        self._any_host = bool(api_keys) and not allowed_hosts

    def check(self, headers: Mapping[str, str]) -> None:
        """Host and Origin. Raises ForbiddenHost or ForbiddenOrigin."""
        host = headers.get("Host", "")
        if not self._any_host and not self._ours(hostname(host)):
            raise ForbiddenHost
        origin = headers.get("Origin")
        # No Origin: not a browser, or a page of ours. A page in a sandbox says "null", and is nobody's.
        if origin is None or origin.lower() in self.origins:
            return
        if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise ForbiddenOrigin

    def principal(self, headers: Mapping[str, str], ticket: str | None = None) -> Principal:
        """Whose ticket or key it is; a ticket is used up. Raises InvalidTicket or Unauthorized.

        The header comes last: a browser may send one of its own, for a proxy before us that asks for a password.
        """
        if not self._keys:
            return ANONYMOUS
        if ticket is not None:
            if (owner := self._tickets.redeem(ticket)) is None:
                raise InvalidTicket(self._tickets.seconds)
            return owner
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if (sent := headers.get("X-Api-Key")) is not None:  # Anthropic's SDKs
            scheme, key = "bearer", sent
        if (offered := subprotocol.key(headers)) is not None:
            scheme, key = "bearer", offered
        given = digest(key.strip()) if scheme.lower() == "bearer" else b""
        for known, principal in self._keys.items():
            if hmac.compare_digest(known, given):
                return principal
        raise Unauthorized(given=bool(scheme))

    def _ours(self, host: str) -> bool:
        return host in self._hosts or host == "localhost" or is_loopback(host)


def digest(key: str) -> bytes:
    """Keys are compared by hash: equal length, constant time."""
    return sha256(key.encode(errors="surrogateescape")).digest()


def hostname(host: str) -> str:
    """A host without its port and brackets, lower case; "" when it is none."""
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether it is an address of this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
