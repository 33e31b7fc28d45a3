"""The reference of the API: OpenAPI, the schemas of the socket's events, and one page for people. Open to everybody."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256

from aiohttp import web

from backends.json import dumps
from proxy.edge.pages import Page, answer, compressed


class Reference:
    """Each document is made when it is first asked for, and kept."""

    def __init__(self) -> None:
        self._made: dict[str, Page] = {}

    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [
            web.get("/docs", self._serving("text/html", written_page)),
            web.get("/openapi.json", self._serving("application/json", openapi_document)),
            web.get("/events.json", self._serving("application/json", events_document)),
        ]

    def _serving(self, kind: str, make: Callable[[], bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            made = self._made.get(request.path)
            if made is None:
                # In a thread: it takes a while, and everybody's tokens would wait for it.
                made = self._made[request.path] = await asyncio.to_thread(page_of, kind, make)
            return answer(request, made)

        return serve


# Each imports what it needs when it is asked for: the types of the whole API would make every start slower.


def written_page() -> bytes:
    """The page for people."""
    from proxy.reference.page import page

    return page().encode()


def openapi_document() -> bytes:
    """The API over HTTP, for programs."""
    from proxy.reference.openapi import document

    return dumps(document())


def events_document() -> bytes:
    """The events of the socket, for programs."""
    from proxy.reference.events import document

    return dumps(document())


def page_of(kind: str, make: Callable[[], bytes]) -> Page:
    """A document as it is sent."""
    body = make()
    return Page((0, 0), kind, sha256(body).hexdigest()[:32], body, compressed(body))
