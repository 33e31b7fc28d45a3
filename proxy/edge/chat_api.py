"""Chat completions and completions over HTTP, for clients that know no Responses API.

https://platform.openai.com/docs/api-reference/chat and …/completions
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from proxy.edge.bodies import Bodies
from proxy.edge.replies import json_response
from proxy.edge.request_facts import GENERATION, PRINCIPAL, REQUEST_ID, brought, extended
from proxy.edge.sse import Streams
from proxy.errors import Draining, ResponseCancelled
from proxy.generation import Generation
from proxy.generations import Generations
from proxy.reader import collect
from proxy.wire.chat_chunks import ChatStream, chat_completion
from proxy.wire.chat_request import Choices, parse_chat
from proxy.wire.completions_chunks import CompletionStream, completion
from proxy.wire.completions_request import parse_completion
from proxy.wire.failure import failure


class ChatApi:
    """`ready` says whether new answers may begin."""

    def __init__(
        self, *, generations: Generations, streams: Streams, bodies: Bodies, ready: Callable[[], bool]
    ) -> None:
        self._generations = generations
        self._streams = streams
        self._bodies = bodies
        self._ready = ready

    def routes(self) -> list[web.RouteDef]:
        """Its paths."""
        return [web.post("/v1/chat/completions", self.chat), web.post("/v1/completions", self.completions)]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """A chat completion, whole or as a stream."""
        return await self._answer(request, parse_chat, ChatStream, chat_completion)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """A completion of raw text, whole or as a stream."""
        return await self._answer(request, parse_completion, CompletionStream, completion)

    async def _answer(
        self,
        request: web.Request,
        parse: Callable[[object], Choices],
        stream: type[ChatStream | CompletionStream],
        whole: Callable[..., dict[str, Any]],
    ) -> web.StreamResponse:
        if not self._ready():
            raise Draining
        choices = parse(await self._bodies.json_object(request))
        generations = self._start(request, choices)
        if choices.stream:
            logs = [each.log for each in generations]
            encoder = stream(
                dict(generations[0].response), logs, include_usage=choices.include_usage, extended=extended(request)
            )
            return await self._streams.answer(request, generations, encoder)
        await collect(generations)
        return json_response(whole([ended_well(each.response) for each in generations], extended=extended(request)))

    def _start(self, request: web.Request, choices: Choices) -> list[Generation]:
        """One generation per choice; none when one of them cannot start."""
        started: list[Generation] = []
        try:
            for each in choices.creates:
                create = each.bringing(brought(request))
                started += [self._generations.start(request[PRINCIPAL], create, request[REQUEST_ID])]
        except BaseException:
            for generation in started:
                generation.cancel()
            raise
        request[GENERATION] = started[0]
        return started


def ended_well(response: Mapping[str, Any]) -> dict[str, Any]:
    """A response that can be shown as whole. Raises ResponseCancelled; one that failed has been refused before."""
    if failure(response) is not None:
        raise ResponseCancelled
    return dict(response)
