"""Where the gateway is and what opens it: base URL and key, checked before anything is sent."""

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_BASE_URL = "http://127.0.0.1:8765/v1"


@dataclass(frozen=True, slots=True)
class Address:
    """A gateway. `base_url` is without a slash at its end."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)

    @property
    def socket_url(self) -> str:
        """Where the socket is. `sl_ext=1` asks for the gateway's own events (`streamlane:…`) too."""
        return f"ws{self.base_url.removeprefix('http')}/responses?sl_ext=1"

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, where no proxy of the environment can help."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def address(base_url: str | None, api_key: str | None) -> Address:
    """What is given, else $STREAMLANE_BASE_URL and $STREAMLANE_API_KEY. Raises ValueError, without the key."""
    url = (base_url or os.environ.get("STREAMLANE_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"The base URL must look like {DEFAULT_BASE_URL}, got {url!r}.")
    key = api_key or os.environ.get("STREAMLANE_API_KEY") or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("The API key holds characters that no key has. Copy it again.")
    return Address(url, key)
