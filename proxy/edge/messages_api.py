"""Anthropic's Messages API over HTTP, for clients of its SDK.

https://docs.anthropic.com/en/api/messages and …/messages-count-tokens
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from proxy.dispatcher import Dispatcher
from proxy.edge.bodies import Bodies
from proxy.edge.chat_api import ended_well
from proxy.edge.replies import json_response
from proxy.edge.request_facts import GENERATION, PRINCIPAL, REQUEST_ID, brought, extended
from proxy.edge.sse import Streams
from proxy.errors import Draining
from proxy.generations import Generations
from proxy.reader import collect
from proxy.wire.messages_events import MessageStream, message
from proxy.wire.messages_request import parse_count, parse_messages
from proxy.wire.usage import estimated_input

PATH = "/v1/messages"


class MessagesApi:
    """`ready` says whether new answers may begin."""

    def __init__(
        self,
        *,
        generations: Generations,
        dispatcher: Dispatcher,
        streams: Streams,
        bodies: Bodies,
        ready: Callable[[], bool],
    ) -> None:
        self._generations = generations
        self._dispatcher = dispatcher
        self._streams = streams
        self._bodies = bodies
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [web.post(PATH, self.create), web.post(f"{PATH}/count_tokens", self.count_tokens)]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """A message, whole or as a stream."""
        if not self._ready():
            raise Draining
        create, streamed = parse_messages(await self._bodies.json_object(request))
        create = create.bringing(brought(request))
        generation = self._generations.start(request[PRINCIPAL], create, request[REQUEST_ID])
        request[GENERATION] = generation
        if streamed:
            encoder = MessageStream(
                dict(generation.response), generation.log, request[REQUEST_ID], extended=extended(request)
            )
            return await self._streams.answer(request, [generation], encoder)
        await collect([generation])
        return json_response(message(ended_well(generation.response), extended=extended(request)))

    async def count_tokens(self, request: web.Request) -> web.Response:
        """How long a prompt is: counted by the backend where it can, else estimated, and marked so."""
        asked = replace(parse_count(await self._bodies.json_object(request)), keys=brought(request).keys)
        counted = await self._dispatcher.count_tokens(asked)
        answer: dict[str, Any] = {"input_tokens": counted}
        if counted is None:
            answer = {"input_tokens": estimated_input(asked), "sl_estimated": True}
        return json_response(answer)
