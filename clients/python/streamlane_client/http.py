"""What is asked over HTTP: which models there are, what is left, and what has become of an answer."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from streamlane_client.address import Address
from streamlane_client.errors import ConnectionLost, refused_http
from streamlane_client.events import Model, Pool

TIMEOUT = 10.0  # seconds without a byte


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: urllib would send the key to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


def models(address: Address) -> list[Model]:
    """The entries of /v1/models. Waits for the network. Raises StreamlaneError."""
    listed: list[Model] = _get(address, "/models", "data", list)
    return listed


def quota(address: Address) -> list[Pool]:
    """The entries of /v1/quota. Waits for the network. Raises StreamlaneError."""
    listed: list[Pool] = _get(address, "/quota", "data", list)
    return listed


def response(address: Address, response_id: str, session: str) -> dict[str, Any]:
    """A response as the gateway holds it now; `session` leads a balancer to the process that made it.

    Waits for the network. Raises StreamlaneError.
    """
    held: dict[str, Any] = _get(address, f"/responses/{response_id}?sl_session={session}", None, dict)
    return held


def _get(address: Address, path: str, member: str | None, kind: type) -> Any:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if address.is_loopback:
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(address.base_url + path, headers=address.headers)  # noqa: S310  # http(s): checked
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
            status, headers, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise refused_http(address.base_url, error.code, error.headers, error.read()) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = (getattr(cause, "strerror", None) or str(cause)).lower()
        message = f"No gateway answers at {address.base_url} ({reason})."
        raise ConnectionLost(message, code="connection_failed") from None
    try:
        found = json.loads(content)
        found = found[member] if member else found
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, kind):
        raise refused_http(address.base_url, status, headers, None)
    return found
