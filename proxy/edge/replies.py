"""Answers over HTTP that are whole: JSON, and errors in the shape that the route's SDKs read."""

from collections.abc import Callable

from aiohttp import web

from backends.json import dumps
from proxy.errors import error_body, retry_after, wire

Shape = Callable[[dict[str, object]], dict[str, object]]
"""From the error's members (type, code, message, param) to the whole body."""

# Routes whose clients read errors in another shape than OpenAI's, by the beginning of their path.
SHAPES: dict[str, Shape] = {}


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps(value), status=status, headers=headers, content_type="application/json")


def error_response(error: Exception, path: str = "") -> web.Response:
    """An error with its status, for a request of `path`."""
    seconds = retry_after(error)
    headers = {} if seconds is None else {"Retry-After": f"{max(1, round(seconds))}"}
    row = wire(error)
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(shaped(error_body(error), path), row.status, headers)


def plain_error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, path: str = ""
) -> web.Response:
    """An error of HTTP itself: no such path, wrong method."""
    body: dict[str, object] = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
    return json_response(shaped(body, path), status, headers)


def shaped(body: dict[str, object], path: str) -> dict[str, object]:
    for beginning, shape in SHAPES.items():
        if path.startswith(beginning):
            return shape(body)
    return {"error": body}
