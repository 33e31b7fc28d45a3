"""A server that speaks chat completions as OpenAI's documentation has them: what "OpenAI-compatible" servers agree on.

Source: platform.openai.com/docs/api-reference/chat (streaming, errors), read in November 2026.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import Event, Finished, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStart
from backends.fake import FakeBackend
from backends.json import dumps, loads
from tests.contract.chat_words import chat_choice, counts, likely, request_of
from tests.providers.base import Fault, Provider, Refusal, Writer

DONE = b"data: [DONE]\n\n"
REFUSALS: Mapping[Refusal, tuple[int, str, str | None, str]] = {  # status, type, code, message
    "rate_limited": (429, "requests", "rate_limit_exceeded", "Rate limit reached for fake in organization org-1."),
    "overloaded": (503, "server_error", None, "The engine is currently overloaded, please try again later."),
    "server_error": (500, "server_error", None, "The server had an error while processing your request. Sorry."),
    "context_overflow": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is {context} tokens. However, your messages resulted in {prompt} tokens.",
    ),
    "content_filter": (  # Azure's, which has the filter before the prompt
        400,
        "invalid_request_error",
        "content_filter",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    ),
    "prefill_refused": (  # vLLM's
        400,
        "invalid_request_error",
        None,
        "Cannot set `add_generation_prompt` to True when the last message is from the assistant.",
    ),
    "bad_key": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-wron********ey."),
    "unknown_model": (404, "invalid_request_error", "model_not_found", "The model `{model}` does not exist."),
    "spent": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
}


class Chunks(Writer):
    """A streamed completion. Its usage comes in a chunk of its own, where the request asks for it."""

    def __init__(self, model: str, include_usage: bool) -> None:
        self._model, self._include_usage = model, include_usage

    def begin(self) -> bytes:
        return self.chunk([choice({"role": "assistant", "content": ""})])

    def event(self, event: Event) -> bytes:
        said = chat_choice(event)
        return self.chunk([said]) if said["delta"] else b""

    def finish(self, event: Finished) -> bytes:
        last = self.chunk([chat_choice(event)])
        return last + self.chunk([], usage=counts(event.usage)) if self._include_usage else last

    def done(self) -> bytes:
        return DONE

    def error(self) -> bytes:
        return message({"error": {"message": "The server had an error.", "type": "server_error", "code": None}})

    def chunk(self, choices: list[Any], **more: Any) -> bytes:
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self._model}
        return message(common | {"choices": choices} | more)


class Whole(Writer):
    """A completion that is not streamed."""

    content_type: ClassVar[str] = "application/json"

    def __init__(self, model: str) -> None:
        self._model = model
        self._message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self._calls: list[dict[str, Any]] = []
        self._likely: list[Any] = []

    def event(self, event: Event) -> bytes:
        said = self._message
        match event:
            case TextDelta(text, logprobs):
                said["content"] = (said["content"] or "") + text
                self._likely += [likely(each) for each in logprobs or ()]
            case ReasoningDelta(text):
                said["reasoning_content"] = said.get("reasoning_content", "") + text
            case RefusalDelta(text):
                said["refusal"] = (said["refusal"] or "") + text
            case ToolCallStart(_, call_id, name):
                function = {"name": name, "arguments": ""}
                self._calls.append({"id": call_id, "type": "function", "function": function})
                said["tool_calls"] = self._calls
            case ToolCallDelta(index, arguments):
                self._calls[index]["function"]["arguments"] += arguments
        return b""

    def finish(self, event: Finished) -> bytes:
        end = {"index": 0, "message": self._message, "finish_reason": event.reason}
        end["logprobs"] = {"content": self._likely} if self._likely else None
        common = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": self._model}
        return dumps(common | {"choices": [end], "usage": counts(event.usage)})

    def error(self) -> bytes:
        return dumps({"error": {"message": "The server had an error.", "type": "server_error", "code": None}})


class Chat(Provider):
    """One such server. With `keyed`, it refuses every key but its own."""

    def __init__(self, behind: FakeBackend, *, keyed: bool = False) -> None:
        super().__init__(behind)
        self.keyed = keyed

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/models", self.models), web.post("/v1/chat/completions", self.chat)]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        status, type_, code, words = REFUSALS[kind]
        numbers = {"context": 512, "prompt": 600, "model": "no-such-model"}
        if isinstance(error, ContextLengthExceeded):
            numbers |= {"context": error.context, "prompt": error.prompt_tokens}
        if isinstance(error, ModelNotFound):
            numbers["model"] = error.model
        return status, {"error": {"message": words.format(**numbers), "type": type_, "param": None, "code": code}}

    async def models(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        served = [
            {"id": model.id, "object": "model", "created": 1, "owned_by": "fake", "max_model_len": model.context}
            for model in await self.behind.models()
        ]
        return web.json_response({"object": "list", "data": served})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        writer: Writer = Whole(body["model"])
        if body.get("stream"):
            writer = Chunks(body["model"], body.get("stream_options", {}).get("include_usage", False))
        return await self.answer(request, body, request_of(body), writer)

    def welcome(self, request: web.Request) -> bool:
        return not self.keyed or request.headers.get("authorization") == f"Bearer {self.key}"


def choice(delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}


def message(value: object) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"
