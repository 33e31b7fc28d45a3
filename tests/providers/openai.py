"""OpenAI: chat completions as its models take them, embeddings, and the Responses API over HTTP and over a socket.

Source: developers.openai.com/api/docs, api-reference and guides/websocket-mode; the official SDK; and for what models
that reason refuse, the errors as people report them. Read in November 2026.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from backends.errors import BackendError, ModelNotFound
from backends.events import Event, Finished
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import EmbeddingRequest
from tests.contract.chat_words import counts, encoded, raw_request_of, request_of, text_choice, texts
from tests.providers import responses_words
from tests.providers.base import Fault, Refusal, Writer
from tests.providers.chat import Chat, Chunks, Whole
from tests.providers.responses_socket import Socket
from tests.providers.responses_words import Composed, Invalid, thinks

REFUSED = [
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "stop",
]


class Completions(Chunks):
    """A raw completion."""

    def begin(self) -> bytes:
        return b""

    def event(self, event: Event) -> bytes:
        return self.chunk([text_choice(event)])

    def finish(self, event: Finished) -> bytes:
        return self.chunk([text_choice(event)]) + self.chunk([], usage=counts(event.usage))


class Events(Writer):
    """A streamed response. No [DONE] follows."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._composed = Composed(body)

    def begin(self) -> bytes:
        return framed(self._composed.begin())

    def event(self, event: Event) -> bytes:
        return framed(self._composed.event(event))

    def finish(self, event: Finished) -> bytes:
        return framed(self._composed.finish(event))

    def error(self) -> bytes:
        return framed(self._composed.failed())

    def rubbish(self) -> bytes:
        return b"event: response.output_text.delta\ndata: {not json\n\n"


class WholeResponse(Events):
    """A response that is not streamed."""

    content_type: ClassVar[str] = "application/json"

    def begin(self) -> bytes:
        super().begin()
        return b""

    def event(self, event: Event) -> bytes:
        super().event(event)
        return b""

    def finish(self, event: Finished) -> bytes:
        super().finish(event)
        return dumps(self._composed.response)


class OpenAI(Chat):
    """`cancels`: its sockets know response.cancel, as OpenAI's do not. `sockets` False: it refuses the upgrade.

    `open` are the sockets of now, and `opened` counts all that there were.
    """

    def __init__(self, behind: FakeBackend, *, keyed: bool = False, cancels: bool = False) -> None:
        super().__init__(behind, keyed=keyed)
        self.cancels, self.sockets = cancels, True
        self.open: set[Socket] = set()
        self.opened = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/v1/completions", self.completions),
            web.post("/v1/embeddings", self.embeddings),
            web.post("/v1/responses", self.responses),
            web.get("/v1/responses", self.socket),
        ]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        if kind == "content_filter":
            words = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
            return Invalid(words, "", "invalid_prompt").answer()
        return super().refusal(kind, fault, error)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        if thinks(body["model"]) and (refused := [name for name in REFUSED if name in body]):
            words = f"Unsupported parameter: '{refused[0]}' is not supported with this model."
            return invalid(Invalid(words, refused[0], "unsupported_parameter"))
        if unknown := {"top_k", "min_p"} & set(body):
            return invalid(Invalid(f"Unrecognized request argument supplied: {min(unknown)}", ""))
        include_usage = body.get("stream_options", {}).get("include_usage", False)
        stream = body.get("stream")
        writer: Writer = Chunks(body["model"], include_usage) if stream else Whole(body["model"])
        most = body.get("max_completion_tokens", body.get("max_tokens", 100))
        return await self.answer(request, body, request_of(body | {"max_tokens": most}), writer)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        return await self.answer(request, body, raw_request_of(body), Completions(body["model"], True))

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        try:
            asked = EmbeddingRequest(body["model"], texts(body["input"]), body.get("dimensions"))
            answer = await self.behind.embed(asked)
        except ModelNotFound as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)
        data = [
            {"object": "embedding", "index": index, "embedding": encoded(vector, body.get("encoding_format"))}
            for index, vector in enumerate(answer.vectors)
        ]
        usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
        told = {"object": "list", "model": asked.model, "data": data, "usage": usage}
        return web.json_response(told, headers=self.limits)

    async def responses(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        try:
            asked = responses_words.request_of(body)
        except Invalid as error:
            return invalid(error)
        return await self.answer(request, body, asked, Events(body) if body.get("stream") else WholeResponse(body))

    async def socket(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        if not self.sockets:
            raise web.HTTPUpgradeRequired
        socket = Socket(self, request, cancels=self.cancels)
        self.opened += 1
        self.open.add(socket)
        try:
            return await socket.serve()
        finally:
            self.open.discard(socket)


def invalid(error: Invalid) -> web.Response:
    status, body = error.answer()
    return web.json_response(body, status=status)


def framed(events: list[Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (event["type"].encode(), dumps(event)) for event in events)
