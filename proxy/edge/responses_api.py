"""The Responses API over HTTP: create, stream, follow, cancel, delete. The socket of the same path is `ws.py`.

https://platform.openai.com/docs/api-reference/responses
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from proxy.edge.bodies import Bodies
from proxy.edge.replies import json_response
from proxy.edge.request_facts import PRINCIPAL, REQUEST_ID
from proxy.edge.sse import Streams
from proxy.errors import BadParameter, Draining
from proxy.generation import Generations
from proxy.reader import collect
from proxy.wire.responses_request import parse_create
from proxy.wire.responses_sse import ResponseEvents

PATH = "/v1/responses"


class ResponsesApi:
    """`ready` says whether new responses may begin."""

    def __init__(
        self, *, generations: Generations, streams: Streams, bodies: Bodies, ready: Callable[[], bool]
    ) -> None:
        self._generations = generations
        self._streams = streams
        self._bodies = bodies
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self.create)]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """A response: as JSON when it has ended, or as a stream; in the background, as JSON at once."""
        if not self._ready():
            raise Draining
        body = await self._bodies.json_object(request)
        streamed = flag(body, "stream")
        create = parse_create(body)
        generation = self._generations.start(request[PRINCIPAL], create, request[REQUEST_ID])
        if streamed:
            events = ResponseEvents(generation.log)
            return await self._streams.answer(request, [generation], events, owned=not create.background)
        if not create.background:
            await collect([generation])
        return json_response(generation.response)


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A member that is true or false. Raises BadParameter."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadParameter(f"Invalid value for '{name}': expected true or false.", name)
    return bool(value)
