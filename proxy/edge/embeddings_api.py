"""Embeddings over HTTP, as OpenAI has them.

https://platform.openai.com/docs/api-reference/embeddings
"""

from collections.abc import Callable

from aiohttp import web
from msgspec.structs import replace

from backends.unhurried import unhurried
from proxy.dispatcher import Dispatcher
from proxy.edge.bodies import Bodies
from proxy.edge.request_facts import PRINCIPAL, REQUEST_ID, brought, extended
from proxy.errors import Draining
from proxy.outcome import Call
from proxy.wire.embeddings import embedding_objects, embeddings_body, parse_embeddings
from proxy.wire.usage import COST


class EmbeddingsApi:
    """`ready` says whether new calls may begin."""

    def __init__(self, *, dispatcher: Dispatcher, bodies: Bodies, ready: Callable[[], bool]) -> None:
        self._dispatcher = dispatcher
        self._bodies = bodies
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        """Its path."""
        return [web.post("/v1/embeddings", self.create)]

    async def create(self, request: web.Request) -> web.Response:
        """One vector per input."""
        if not self._ready():
            raise Draining
        asked, base64 = parse_embeddings(await self._bodies.json_object(request))
        asked = replace(asked, keys=brought(request).keys)
        made, cost = await self._dispatcher.embed(Call(request[PRINCIPAL], request[REQUEST_ID]), asked)
        data = await unhurried(embedding_objects(made.vectors, base64=base64))
        more = {COST: {"usd_micros": cost}} if extended(request) else {}
        body = embeddings_body(asked, data, made.input_tokens, more)
        return web.Response(body=body, content_type="application/json")
