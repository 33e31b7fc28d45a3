"""Mistral: chat completions that refuse every field they do not know, and give their usage without being asked.

Source: docs.mistral.ai/api and the types of the official SDK 3.7; the texts of refusals as users of the API posted
them. Read in November 2026.
"""

from typing import Any

from aiohttp import web
from mistralai.client.models import ChatCompletionRequest, EmbeddingRequest

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Event, Finished, ReasoningDelta, ToolCallDelta, ToolCallStart
from backends.json import loads
from tests.contract.chat_words import chat_choice, counts, request_of
from tests.providers.base import Fault, Refusal, Writer
from tests.providers.chat import Chunks, Whole, choice, message
from tests.providers.openai import OpenAI

FIELDS = frozenset(ChatCompletionRequest.model_fields)
VECTOR_FIELDS = frozenset(field.alias or name for name, field in EmbeddingRequest.model_fields.items())
REFUSALS: dict[Refusal, tuple[int, str, str | None, str]] = {  # status, type, code, message
    "rate_limited": (429, "rate_limited", "1300", "Rate limit exceeded"),
    "overloaded": (429, "service_tier_capacity_exceeded", "3505", "Service tier capacity exceeded for this model."),
    "server_error": (500, "unreachable_backend", "1000", "Internal server error"),
    "context_overflow": (
        400,
        "invalid_request_error",
        "3051",
        "Prompt contains {prompt} tokens and 0 draft tokens, too large for model with {context} maximum context length",
    ),
    "prefill_refused": (
        400,
        "invalid_request_message_order",
        "3230",
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    ),
    "unknown_model": (400, "invalid_model", "1500", "Invalid model: {model}"),
    "spent": (402, "payment_required", None, "Payment required"),
}


def thought(text: str) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]


class Pieces(Chunks):
    """A streamed completion. The last chunk has the calls, each whole, the reason and the usage.

    Thoughts are parts of the content.
    """

    def __init__(self, model: str) -> None:
        super().__init__(model, include_usage=True)
        self._calls: list[dict[str, Any]] = []

    def event(self, event: Event) -> bytes:
        match event:
            case ReasoningDelta(text):
                return self.chunk([choice({"content": thought(text)})])
            case ToolCallStart(index, call_id, name):
                self._calls.append({"id": call_id, "index": index, "function": {"name": name, "arguments": ""}})
                return b""
            case ToolCallDelta(index, arguments):
                self._calls[index]["function"]["arguments"] += arguments
                return b""
        return super().event(event)

    def finish(self, event: Finished) -> bytes:
        last = chat_choice(event) | {"delta": {"content": ""}}
        if self._calls:
            last |= {"delta": {"content": "", "tool_calls": self._calls}, "finish_reason": "tool_calls"}
        return self.chunk([last], usage=counts(event.usage))

    def error(self) -> bytes:
        return message({"object": "error", "message": "Internal server error", "type": "internal_server_error"})


class Completion(Whole):
    """One that is not streamed."""

    def finish(self, event: Finished) -> bytes:
        if text := self._message.pop("reasoning_content", None):
            said = self._message["content"]
            self._message["content"] = thought(text) + ([{"type": "text", "text": said}] if said else [])
        return super().finish(event)


class Mistral(OpenAI):
    """Its API: chat completions and embeddings."""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/embeddings", self.embeddings),
        ]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        if kind == "bad_key":
            return 401, {"detail": "Unauthorized"}
        if kind not in REFUSALS:
            return super().refusal(kind, fault, error)
        status, type_, code, words = REFUSALS[kind]
        numbers: dict[str, Any] = {"context": 512, "prompt": 600, "model": "no-such-model"}
        if isinstance(error, ContextLengthExceeded):
            numbers |= {"context": error.context, "prompt": error.prompt_tokens}
        if isinstance(error, ModelNotFound):
            numbers["model"] = error.model
        told = {"object": "error", "message": words.format(**numbers), "type": type_, "param": None, "code": code}
        return status, told | {"raw_status_code": status}

    async def models(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        able = {"completion_chat": True, "function_calling": True, "completion_fim": False, "vision": True}
        served = [
            {"id": model.id, "object": "model", "created": 1, "owned_by": "mistralai", "type": "base"}
            | {"capabilities": able, "max_context_length": model.context or 32768}
            for model in await self.behind.models()
        ]
        return web.json_response({"object": "list", "data": served})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        if unknown := sorted(set(body) - FIELDS):
            return faulty([fault("extra_forbidden", [name], "Extra inputs are not permitted") for name in unknown])
        writer: Writer = Pieces(body["model"]) if body.get("stream") else Completion(body["model"])
        return await self.answer(request, body, request_of({"max_tokens": 100, **body}), writer)

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if unknown := sorted(set(body) - VECTOR_FIELDS):
            return faulty([fault("extra_forbidden", [name], "Extra inputs are not permitted") for name in unknown])
        if any(not isinstance(each, str) for each in body["input"]):
            return faulty([fault("string_type", ["input", 0], "Input should be a valid string")])
        return await super().embeddings(request)


def fault(type_: str, place: list[str | int], words: str) -> dict[str, Any]:
    return {"type": type_, "loc": ["body", *place], "msg": words, "input": None}


def faulty(faults: list[dict[str, Any]]) -> web.Response:
    told = {"object": "error", "message": {"detail": faults}, "type": "invalid_request_error", "param": None}
    return web.json_response(told | {"code": None}, status=422)
