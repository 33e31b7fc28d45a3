"""What is known of a request before its route is asked: who sends it, its id, and keys that it brings.

The id is the client's own where it may be logged, else a new one; every response gives it back.
"""

import re
from secrets import token_hex

from aiohttp import web

from proxy.create import NOTHING_BROUGHT, Brought
from proxy.edge.caller_keys import PREFIX
from proxy.generation import Generation
from proxy.outcome import Principal

HEADER = "X-Request-Id"
ANTHROPIC_HEADER = "Request-Id"  # where its SDKs look for it
FIT = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
PRINCIPAL = web.RequestKey("principal", Principal)
REQUEST_ID = web.RequestKey("request_id", str)
BROUGHT = web.RequestKey("brought", Brought)
EXTENSIONS_HEADER = "X-Streamlane-Ext"
ROUTE_HEADER = "X-Streamlane-Route"
GENERATION = web.RequestKey("generation", Generation)  # what answers it, the first of several


def request_id(request: web.Request) -> str:
    """The id to log and to give back. One that looks like a key, or holds the request's own, must not reach the log."""
    given = request.headers.get(HEADER, "")
    _, _, key = request.headers.get("Authorization", "").partition(" ")
    callers = (value for name, value in request.headers.items() if name.lower().startswith(PREFIX.lower()))
    keys = (key, request.headers.get("X-Api-Key", ""), *callers)
    if FIT.fullmatch(given) and "sk-" not in given and not any(key and key in given for key in keys):
        return given
    return new_request_id()


def brought(request: web.Request) -> Brought:
    """The caller's own keys, and the headers that rules look at."""
    found: Brought = request.get(BROUGHT, NOTHING_BROUGHT)
    return found


def extended(request: web.Request) -> bool:
    """Whether it asks for our extensions."""
    return request.headers.get(EXTENSIONS_HEADER) == "1"


def new_request_id() -> str:
    """An id of our own."""
    return f"req_{token_hex(16)}"


def give_back(app: web.Application) -> None:
    """Let each answer of `app` carry its request's id, and which model answers it."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if (known := request.get(REQUEST_ID)) is not None:
            response.headers[HEADER] = known
            response.headers[ANTHROPIC_HEADER] = known
        generation = request.get(GENERATION)
        route = None if generation is None else generation.route
        if route is not None and route.isascii() and route.isprintable():
            response.headers[ROUTE_HEADER] = route

    app.on_response_prepare.append(prepare)
