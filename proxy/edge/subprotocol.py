"""What a WebSocket client offers as subprotocols: names to choose from, and perhaps a key. Pure."""

import re
from collections.abc import Mapping

from proxy.errors import BadParameter

HEADER = "Sec-WebSocket-Protocol"
KEY = "openai-insecure-api-key."  # OpenAI's name for the one place where a browser's page can put a key
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2


def offered(headers: Mapping[str, str]) -> list[str]:
    """The names, in the client's order of preference (RFC 6455 11.3.4)."""
    return [name for each in headers.get(HEADER, "").split(",") if (name := each.strip())]


def key(headers: Mapping[str, str]) -> str | None:
    """The key among them."""
    return next((name.removeprefix(KEY) for name in offered(headers) if name.startswith(KEY)), None)


def selected(headers: Mapping[str, str]) -> str | None:
    """The one that goes back to the client: the first that is no secret. None when none was offered.

    Raises BadParameter when only secrets were: browsers drop a socket for which nothing is selected.
    """
    names = offered(headers)
    public = (name for name in names if TOKEN.fullmatch(name) and not name.lower().startswith("openai-insecure-"))
    chosen = next(public, None)
    if names and chosen is None:
        message = "A key never goes back. Offer a second subprotocol beside it, such as 'streamlane.v1'."
        raise BadParameter(message, HEADER)
    return chosen
