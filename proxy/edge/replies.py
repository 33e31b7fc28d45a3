"""Answers over HTTP that are whole: JSON, and errors in the shape that the route's SDKs read."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from backends.errors import QuotaExhausted
from backends.json import dumps
from proxy.edge.request_facts import REQUEST_ID
from proxy.wire.messages_events import error_object
from proxy.wire_errors import error_body, retry_after, wire

Shape = Callable[[Mapping[str, Any], str | None], dict[str, Any]]
"""From the error's members (type, code, message, param) and the request's id to the whole body."""

# Routes whose clients read errors in another shape than OpenAI's, by the beginning of their path.
SHAPES: Mapping[str, Shape] = MappingProxyType({"/v1/messages": error_object})
PATIENCE = 60.0  # seconds; told to wait for longer, Anthropic's SDKs sleep for hours, and OpenAI's may not wait at all


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps(value), status=status, headers=headers, content_type="application/json")


def error_response(error: Exception, request: web.Request | None = None) -> web.Response:
    """An error with its status, in answer to `request`."""
    seconds = retry_after(error)
    headers = {} if seconds is None else {"Retry-After": seconds}
    row = wire(error)
    if row.status == 409 or in_vain(error):
        headers["X-Should-Retry"] = "false"  # without it SDKs repeat each 409, 429 and 5xx by themselves
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(shaped(error_body(error), request), row.status, headers)


def in_vain(error: Exception) -> bool:
    """Whether a program that tries again by itself would do so for nothing, or would have to wait for very long."""
    seconds = getattr(error, "retry_after", None)
    return isinstance(error, QuotaExhausted) if seconds is None else seconds > PATIENCE


def plain_error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, request: web.Request | None = None
) -> web.Response:
    """An error of HTTP itself: no such path, wrong method."""
    body: dict[str, object] = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return json_response(shaped(body, request), status, headers)


def shaped(body: dict[str, object], request: web.Request | None) -> dict[str, Any]:
    path, request_id = (request.path, request.get(REQUEST_ID)) if request is not None else ("", None)
    for beginning, shape in SHAPES.items():
        if path.startswith(beginning):
            return shape(body, request_id)
    return {"error": body}
