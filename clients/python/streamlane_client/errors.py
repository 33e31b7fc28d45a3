"""Why an answer did not come: one closed tree, made from what the gateway says.

StreamlaneError
├── Refused          the gateway said no before the response began
├── Failed           the response began, then failed
├── ConnectionLost   there is no connection, or it broke
└── Cancelled        cancelled, and never sent or without a connection, so there is no last event
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol


class Headers(Protocol):
    """Of HTTP, by name in any case. Three libraries, three classes."""

    def get(self, name: str, /) -> str | None: ...


class StreamlaneError(Exception):
    """The root. `code` is the gateway's word, or one of ours: `connection_failed`, `connection_lost`,
    `client_closed`, `resume_gap`, `session_taken`, `cancelled`.

    `status` is an HTTP status, `param` the field that was wrong, `retry_after` seconds until another try makes sense;
    each is None where it is not known.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status, self.param, self.retry_after = message, code, status, param, retry_after


class Refused(StreamlaneError):
    """The gateway said no before the response began. Retry 429 and 5xx, after `retry_after`; nothing else."""


class Failed(StreamlaneError):
    """The response began, then failed. What was said until then has been given out."""


class ConnectionLost(StreamlaneError):
    """There is no connection (`connection_failed`), or `close` was called, or the answer cannot go on.

    An answer goes on by itself on the next connection. It cannot when the gateway does not hold it any more
    (`resume_gap`), keeps no sessions or stayed away for too long (`connection_lost`), or gave the session to another
    connection (`session_taken`).
    """


class Cancelled(StreamlaneError):
    """Cancelled before it was sent, or the connection was gone before its last event came."""


def refused(event: Mapping[str, Any]) -> Refused:
    """From an `error` event."""
    error = _mapping(event.get("error"))
    headers = {str(name).lower(): value for name, value in _mapping(error.get("headers")).items()}
    return _refused(error, event.get("status"), headers.get("retry-after"))


def refused_http(base_url: str, status: int, headers: Headers, body: bytes | bytearray | None) -> Refused:
    """From an HTTP answer that is not the one we asked for."""
    try:
        error = _mapping(_mapping(json.loads(body or b"")).get("error"))
    except ValueError:  # not JSON, or not UTF-8
        error = {}
    if error:
        return _refused(error, status, headers.get("Retry-After"))
    if 300 <= status < 400:  # never followed: the key would go where nobody sent it
        message = f"{base_url} redirects to {headers.get('Location')}. Use the address that it leads to as base URL."
    else:
        message = f"{base_url} answered with HTTP status {status}. Check that this is a gateway's base URL."
    return Refused(message, code="http_error", status=status, retry_after=_seconds(headers.get("Retry-After")))


def failed(response: Mapping[str, Any]) -> Failed:
    """From the response of a `response.failed`."""
    error = _mapping(response.get("error"))
    return Failed(str(error.get("message") or "The response failed."), code=str(error.get("code") or "unknown"))


def _refused(error: Mapping[str, Any], status: object, retry_after: object) -> Refused:
    param = error.get("param")
    return Refused(
        str(error.get("message") or "The gateway refused, and did not say why."),
        code=str(error.get("code") or "unknown"),
        status=status if isinstance(status, int) else None,
        param=param if isinstance(param, str) else None,
        retry_after=_seconds(retry_after),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _seconds(value: object) -> float | None:
    """A Retry-After in seconds. RFC 9110 10.2.3 allows a date too; the gateway never sends one."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
