"""The Responses API over HTTP: create, stream, follow, cancel, delete. The socket of the same path is `ws.py`.

https://platform.openai.com/docs/api-reference/responses
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from proxy.dispatcher import Dispatcher
from proxy.edge.bodies import Bodies
from proxy.edge.replies import json_response
from proxy.edge.request_facts import GENERATION, PRINCIPAL, REQUEST_ID, brought, extended
from proxy.edge.sse import Streams
from proxy.errors import BadParameter, Draining, EventsGone, UnknownResponse
from proxy.generation import Generation
from proxy.generations import Generations
from proxy.reader import LogReader, collect
from proxy.wire.responses_request import parse_create
from proxy.wire.responses_sse import ResponseEvents
from proxy.wire.usage import estimated_input, plain

PATH = "/v1/responses"
CANCEL = 5.0  # seconds that a cancelled response gets to end before its cancel is answered
MAX_PAGE = 100  # OpenAI's
MAX_NUMBER = 2**53 - 1  # what JavaScript can count to


class ResponsesApi:
    """`ready` says whether new responses may begin. A response is its principal's: to others it does not exist."""

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
        one = PATH + "/{response_id}"
        return [
            web.post(PATH, self.create),
            web.delete(PATH, self.delete_all),
            web.post(PATH + "/input_tokens", self.input_tokens),
            web.get(one, self.retrieve, allow_head=False),
            web.delete(one, self.delete),
            web.post(one + "/cancel", self.cancel),
            web.get(one + "/input_items", self.input_items, allow_head=False),
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """A response: as JSON when it has ended, or as a stream; in the background, as JSON at once."""
        if not self._ready():
            raise Draining
        body = await self._bodies.json_object(request)
        streamed = flag(body, "stream")
        create = parse_create(body, http=True).bringing(brought(request))
        generation = await self._generations.begin(request[PRINCIPAL], create, request[REQUEST_ID])
        request[GENERATION] = generation
        if streamed:
            events = ResponseEvents(generation.log, extended=extended(request))
            return await self._streams.answer(request, [generation], events, owned=not create.background)
        if not create.background:
            await collect([generation])
        return shown(request, generation.response)

    async def input_tokens(self, request: web.Request) -> web.Response:
        """How long a prompt is: counted by the backend where it can, else estimated, and marked so."""
        create = parse_create(await self._bodies.json_object(request), http=True).bringing(brought(request))
        asked = await self._generations.conversation(request[PRINCIPAL], create)
        counted = await self._dispatcher.count_tokens(asked)
        answer: dict[str, Any] = {"object": "response.input_tokens", "input_tokens": counted}
        if counted is None:
            answer |= {"input_tokens": estimated_input(asked), "sl_estimated": True}
        return json_response(answer)

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """The response as it is now; or its events after `starting_after`, and those to come."""
        response_id, principal = request.match_info["response_id"], request[PRINCIPAL]
        stored = await self._generations.get(response_id, principal)
        if not asked_for(request.query, "stream"):
            number(request.query, "starting_after", 0, 0, MAX_NUMBER)  # of no use here, but a wrong one is told
            return shown(request, stored.response)
        try:
            generation = self._generations.find(response_id, principal)
        except UnknownResponse:
            raise EventsGone from None
        position = number(request.query, "starting_after", -1, 0, generation.log.head - 1) + 1
        events = ResponseEvents(generation.log, extended=extended(request))
        return await self._streams.answer(request, [generation], events, position=position, owned=False)

    async def cancel(self, request: web.Request) -> web.Response:
        """Stop a response, however it was asked for. One that has ended stays as it is."""
        response_id, principal = request.match_info["response_id"], request[PRINCIPAL]
        try:
            generation = self._generations.find(response_id, principal)
        except UnknownResponse:  # ended so long ago that only the store knows it
            return shown(request, (await self._generations.get(response_id, principal)).response)
        generation.cancel()
        await settled(generation)
        return shown(request, generation.response)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a response; one that runs is cancelled."""
        response_id = request.match_info["response_id"]
        await self._generations.delete(response_id, request[PRINCIPAL])
        return json_response({"id": response_id, "object": "response", "deleted": True})

    async def delete_all(self, request: web.Request) -> web.Response:
        """Forget every response of the key that asks; those that run are cancelled."""
        deleted = await self._generations.delete_all(request[PRINCIPAL])
        return json_response({"object": "responses.deleted", "deleted": deleted})

    async def input_items(self, request: web.Request) -> web.Response:
        """A page of what was asked."""
        stored = await self._generations.get(request.match_info["response_id"], request[PRINCIPAL])
        return json_response(page(stored.items, request.query))


def shown(request: web.Request, response: Mapping[str, Any]) -> web.Response:
    """A response as JSON."""
    return json_response(response if extended(request) else plain(response))


def flag(body: Mapping[str, Any], name: str) -> bool:
    """A member that is true or false. Raises BadParameter."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadParameter(f"Invalid value for '{name}': expected true or false.", name)
    return bool(value)


def asked_for(query: Mapping[str, str], name: str) -> bool:
    """Whether a query says yes; Python's clients write True. Raises BadParameter."""
    value = query.get(name, "false").lower()
    if value not in ("true", "1", "false", "0"):
        raise BadParameter(f"Invalid value for '{name}': expected true or false.", name)
    return value in ("true", "1")


def number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number in a query. Raises BadParameter."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadParameter(f"Invalid value for '{name}': expected a whole number from {least} to {most}.", name)
    return int(text)


def page(items: tuple[Mapping[str, Any], ...], query: Mapping[str, str]) -> dict[str, Any]:
    """The list that `after`, `limit` and `order` ask for, the newest first by default. Raises BadParameter."""
    limit = number(query, "limit", 20, 1, MAX_PAGE)
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadParameter("Invalid value for 'order': expected asc or desc.", "order")
    ordered = list(items if order == "asc" else reversed(items))
    if (after := query.get("after")) is not None:
        ids = [item.get("id") for item in ordered]
        if after not in ids:
            raise BadParameter("Invalid value for 'after': this response has no item of that id.", "after")
        ordered = ordered[ids.index(after) + 1 :]
    found = ordered[:limit]
    return {
        "object": "list",
        "data": found,
        "first_id": found[0].get("id") if found else None,
        "last_id": found[-1].get("id") if found else None,
        "has_more": len(ordered) > limit,
    }


async def settled(generation: Generation) -> None:
    """Wait until a cancelled generation has ended, for a moment."""
    news = asyncio.Event()
    with LogReader(generation, news, detached=True), suppress(TimeoutError):
        async with asyncio.timeout(CANCEL):
            while not generation.ended:
                news.clear()
                await news.wait()
