"""Groq: chat completions with its own words about limits, and the usage once more in `x_groq`.

Source: console.groq.com/docs (openai, rate-limits, errors) and the types of the official SDK 1.7; the texts of refusals
as users of the API posted them. Read in November 2026.
"""

from typing import Any, ClassVar

from aiohttp import web
from groq.types.chat.completion_create_params import CompletionCreateParams

from backends.errors import BackendError, ModelNotFound
from backends.events import Event, Finished, ReasoningDelta
from backends.json import loads
from tests.contract.chat_words import chat_choice, counts, request_of
from tests.providers.base import Fault, Refusal, Writer
from tests.providers.chat import Chat, Chunks, Whole, choice

FIELDS = frozenset(CompletionCreateParams.__annotations__) | {"stream_options"}
UNSUPPORTED = ("logprobs", "top_logprobs", "logit_bias")
LIMIT = "Rate limit reached for model `fake` in organization `org_1` service tier `on_demand` on tokens per "
REFUSALS: dict[Refusal, tuple[int, str, str | None, str]] = {  # status, type, code, message
    "rate_limited": (
        429,
        "tokens",
        "rate_limit_exceeded",
        f"{LIMIT}minute (TPM): Limit 12000, Used 11000, Requested 2000. Please try again in 5s. Need more tokens?",
    ),
    "spent": (
        429,
        "tokens",
        "rate_limit_exceeded",
        f"{LIMIT}day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s. Need more tokens?",
    ),
    "overloaded": (503, "internal_server_error", None, "fake is currently over capacity. Please try again."),
    "server_error": (500, "internal_server_error", None, "Internal Server Error"),
    "context_overflow": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "Please reduce the length of the messages or completion.",
    ),
    "bad_key": (401, "invalid_request_error", "invalid_api_key", "Invalid API Key"),
    "unknown_model": (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
}
TOO_LARGE = (
    "Request too large for model `fake` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): "
    "Limit {limit}, Requested {requested}, please reduce your message size and try again. Need more tokens?"
)


class Pieces(Chunks):
    """A streamed completion: `x_groq` is in the first chunk and in the last ones."""

    def begin(self) -> bytes:
        return self.chunk([choice({"role": "assistant", "content": ""})], x_groq={"id": "req_1"})

    def event(self, event: Event) -> bytes:
        if isinstance(event, ReasoningDelta):
            return self.chunk([choice({"reasoning": event.text})])
        return super().event(event)

    def finish(self, event: Finished) -> bytes:
        usage = {**counts(event.usage), "queue_time": 0.01, "prompt_time": 0.01, "completion_time": 0.01}
        more = {"x_groq": {"id": "req_1", "usage": usage}}
        last = self.chunk([chat_choice(event)], **more)
        return last + self.chunk([], usage=usage, **more) if self._include_usage else last


class Groq(Chat):
    """Its API. A request that needs more than `per_minute` tokens is too large for the account."""

    prefix: ClassVar[str] = "/openai/v1"
    per_minute = 1_000_000

    def routes(self) -> list[web.RouteDef]:
        here = self.prefix
        return [web.get(f"{here}/models", self.models), web.post(f"{here}/chat/completions", self.chat)]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        if kind not in REFUSALS:
            return super().refusal(kind, fault, error)
        status, type_, code, words = REFUSALS[kind]
        model = error.model if isinstance(error, ModelNotFound) else "no-such-model"
        return status, said(words.format(model=model), type_, code)

    async def models(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        served = [
            {"id": model.id, "object": "model", "created": 1, "owned_by": "Meta", "active": True}
            | {"context_window": model.context or 131072, "max_completion_tokens": 32768}
            for model in await self.behind.models()
        ]
        return web.json_response({"object": "list", "data": served})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        if unknown := sorted(set(body) - FIELDS):
            return refused(400, f"property '{unknown[0]}' is unsupported", "invalid_request_error")
        if refusing := [name for name in UNSUPPORTED if name in body]:
            return refused(400, f"`{refusing[0]}` is not supported with this model", "invalid_request_error")
        most = body.get("max_completion_tokens", body.get("max_tokens", 100))
        if (requested := most + len(str(body["messages"])) // 4) > self.per_minute:
            words = TOO_LARGE.format(limit=self.per_minute, requested=requested)
            return refused(413, words, "tokens", "rate_limit_exceeded")
        asked = request_of({**body, "max_tokens": most})
        include_usage = body.get("stream_options", {}).get("include_usage", False)
        writer: Writer = Pieces(body["model"], include_usage) if body.get("stream") else Whole(body["model"])
        return await self.answer(request, body, asked, writer)


def said(words: str, type_: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": words, "type": type_} | ({} if code is None else {"code": code})}


def refused(status: int, words: str, type_: str, code: str | None = None) -> web.Response:
    return web.json_response(said(words, type_, code), status=status)
