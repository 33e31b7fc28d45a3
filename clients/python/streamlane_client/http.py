"""What is asked over HTTP: which models there are, what is left, what has become of an answer; and its rating."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any, Literal
from urllib.parse import quote

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


def rate(address: Address, response_id: str, rating: Literal["up", "down"] | None, preferred_model: str | None) -> None:
    """Say whether an answer was good; None takes that back. Waits for the network. Raises StreamlaneError."""
    if rating is None:
        _send(address, "DELETE", f"/feedback/{quote(response_id, safe='')}")
        return
    said = {"response_id": response_id, "rating": rating, "preferred_model": preferred_model}
    _send(address, "POST", "/feedback", said)


def _get(address: Address, path: str, member: str | None, kind: type) -> Any:
    status, headers, content = _send(address, "GET", path)
    try:
        found = json.loads(content)
        found = found[member] if member else found
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, kind):
        raise refused_http(address.base_url, status, headers, None)
    return found


def _send(
    address: Address, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, Message, bytes]:
    """The status, the headers and the content of the answer. Raises StreamlaneError, also where it is an error."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if address.is_loopback:
        handlers.append(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    headers = {**address.headers, **({} if data is None else {"Content-Type": "application/json"})}
    url = address.base_url + path
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  # http(s): checked
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            raise refused_http(address.base_url, error.code, error.headers, error.read()) from None
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = (getattr(cause, "strerror", None) or str(cause)).lower()
        message = f"No gateway answers at {address.base_url} ({reason})."
        raise ConnectionLost(message, code="connection_failed") from None
