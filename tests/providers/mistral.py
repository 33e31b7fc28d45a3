"""Mistral: chat completions that refuse every field they do not know, and give their usage without being asked.

Source: docs.mistral.ai/api and the types of the official SDK 3.7; the texts of refusals as users of the API posted them.
Read in November 2026.
"""

from typing import Any

from aiohttp import web
from mistralai.client.models import ChatCompletionRequest

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Event, Finished, ReasoningDelta
from backends.json import dumps, loads
from tests.contract.chat_words import chat_choice, counts, request_of
from tests.providers.base import Fault, Refusal, Writer
from tests.providers.chat import Chat, Chunks, Whole, choice, message

FIELDS = frozenset(ChatCompletionRequest.model_fields)
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
    """A streamed completion. The last chunk has the reason and the usage; thoughts are parts of the content."""

    def event(self, event: Event) -> bytes:
        if isinstance(event, ReasoningDelta):
            return self.chunk([choice({"content": thought(event.text)})])
        return super().event(event)

    def finish(self, event: Finished) -> bytes:
        return self.chunk([chat_choice(event) | {"delta": {"content": ""}}], usage=counts(event.usage))

    def error(self) -> bytes:
        return message({"object": "error", "message": "Internal server error", "type": "internal_server_error"})


class Completion(Whole):
    """One that is not streamed."""

    def finish(self, event: Finished) -> bytes:
        if text := self._message.pop("reasoning_content", None):
            said = self._message["content"]
            self._message["content"] = thought(text) + ([{"type": "text", "text": said}] if said else [])
        return super().finish(event)


class Mistral(Chat):
    """Its API, whose limits are those of one key."""

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
            faults = [fault(name, body[name]) for name in unknown]
            told = {"object": "error", "message": {"detail": faults}, "type": "invalid_request_error", "param": None}
            return web.Response(status=422, body=dumps(told | {"code": None}), content_type="application/json")
        writer: Writer = Pieces(body["model"], True) if body.get("stream") else Completion(body["model"])
        return await self.answer(request, body, request_of({"max_tokens": 100, **body}), writer)


def fault(name: str, value: Any) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": value}
