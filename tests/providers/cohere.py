"""Cohere as its documentation (API version 2, November 2026) shows it: chat, models and vectors."""

from typing import Any

from aiohttp import web

from backends.base import Model
from backends.errors import BackendError, ContextLengthExceeded
from backends.events import (
    Citation,
    Event,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import dumps, loads
from backends.request import (
    EmbeddingRequest,
    Image,
    JsonFormat,
    Message,
    Opaque,
    Part,
    Reasoning,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tests.providers.base import Fault, Provider, Refusal, Writer

FIELDS = {
    "model", "stream", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format",
    "safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty", "presence_penalty",
    "k", "p", "logprobs", "tool_choice", "thinking", "priority",
}  # fmt: skip
TRIAL = (
    "You are using a Trial key, which is limited to {}. You can continue to use the Trial key for free or upgrade to a "
    "Production key with higher rate limits at 'https://dashboard.cohere.com/api-keys'."
)


class Cohere(Provider):
    """`url` is what a backend has as its base_url, and the SDK as its own."""

    prefix = ""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/chat", self.chat),
            web.post("/v2/embed", self.embed),
            web.get("/v1/models", self.models),
        ]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if not self.known(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        body = loads(await request.read())
        assert body.keys() <= FIELDS, body.keys() - FIELDS
        asked = request_of(body)
        if body.get("stream"):
            return await self.answer(request, body, asked, CohereWriter())
        return await self.whole(asked)

    async def whole(self, asked: Request) -> web.Response:
        """What a stream would have said, at once."""
        try:
            async with self.behind.stream(asked) as batches:
                events = [event async for batch in batches for event in batch]
        except BackendError as error:
            kind: Refusal = "context_overflow" if isinstance(error, ContextLengthExceeded) else "unknown_model"
            return self.refused(kind, Fault(kind), error)
        end = events[-1]
        assert isinstance(end, Finished)
        message: dict[str, Any] = {"role": "assistant"}
        if text := "".join(event.text for event in events if isinstance(event, TextDelta)):
            message["content"] = [{"type": "text", "text": text}]
        if calls := [event for event in events if isinstance(event, ToolCallStart)]:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": arguments(events, call)},
                }
                for call in calls
            ]
        reason = finish_reason(end, bool(calls))
        return web.json_response({"id": "1", "finish_reason": reason, "message": message, "usage": usage_of(end.usage)})

    async def embed(self, request: web.Request) -> web.Response:
        if not self.known(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        body = loads(await request.read())
        assert body["input_type"] in {"search_document", "search_query", "classification", "clustering"}
        assert 1 <= len(body["texts"]) <= 96
        assert body["embedding_types"] == ["float"]
        try:
            found = await self.behind.embed(
                EmbeddingRequest(body["model"], tuple(body["texts"]), body.get("output_dimension"))
            )
        except BackendError as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)
        meta = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": float(found.input_tokens or 0)}}
        vectors = [list(vector) for vector in found.vectors]
        told = {"id": "1", "embeddings": {"float": vectors}, "texts": body["texts"], "meta": meta}
        return web.json_response(told, headers=self.limits)

    async def models(self, request: web.Request) -> web.Response:
        if not self.known(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        return web.json_response({"models": [entry(model) for model in await self.behind.models()]})

    def known(self, request: web.Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        size = "cannot exceed 4081 - received 4292"
        if isinstance(error, ContextLengthExceeded):
            size = f"cannot exceed {error.context} - received {error.prompt_tokens}"
        status, message = {
            "rate_limited": (429, TRIAL.format("20 API calls / minute")),
            "spent": (429, TRIAL.format("1000 API calls / month")),
            "overloaded": (503, "service unavailable, please try again later"),
            "server_error": (500, "internal server error, this has been reported to our developers."),
            "context_overflow": (400, f"too many tokens: total number of tokens in the prompt {size}."),
            "content_filter": (498, "a deny-listed token was found"),
            "prefill_refused": (400, "invalid request: the last message must be from the user or a tool."),
            "bad_key": (401, "invalid api token"),
            "unknown_model": (404, "model 'x' not found, make sure the correct model ID was used"),
        }[kind]
        return status, {"id": "24e32f6d-b372-4853-85f2-11e65134f032", "message": message}


class CohereWriter(Writer):
    """Blocks are opened and closed around what they hold, as the real one does."""

    def __init__(self) -> None:
        self._open: str | None = None  # "thinking", "text" or "tool-call"
        self._blocks = self._calls = self._cited = 0

    def begin(self) -> bytes:
        empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        return sent("message-start", id="29f14a5a", delta={"message": empty})

    def event(self, event: Event) -> bytes:
        match event:
            case ReasoningDelta(text):
                content = {"message": {"content": {"thinking": text}}}
                return self._block("thinking") + sent("content-delta", index=self._blocks, delta=content)
            case TextDelta(text):
                content = {"message": {"content": {"text": text}}}
                return self._block("text") + sent("content-delta", index=self._blocks, delta=content)
            case ToolCallStart(_, call_id, name):
                closed, self._open = self._close(), "tool-call"
                call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
                return closed + sent("tool-call-start", index=self._calls, delta={"message": {"tool_calls": call}})
            case ToolCallDelta(_, more):
                call = {"function": {"arguments": more}}
                return sent("tool-call-delta", index=self._calls, delta={"message": {"tool_calls": call}})
            case Citation(start, end, text, source, title):
                cited = {
                    "start": start,
                    "end": end,
                    "text": text,
                    "sources": [{"type": "document", "id": source, "document": {"id": source, "title": title}}],
                    "type": "TEXT_CONTENT",
                }
                index, self._cited = self._cited, self._cited + 1
                told = sent("citation-start", index=index, delta={"message": {"citations": cited}})
                return told + sent("citation-end", index=index)
        return b""  # a Signature is ours

    def finish(self, event: Finished) -> bytes:
        delta = {"finish_reason": finish_reason(event, self._open == "tool-call"), "usage": usage_of(event.usage)}
        return self._close() + sent("message-end", id="29f14a5a", delta=delta)

    def done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return sent("message-end", delta={"finish_reason": "ERROR", "error": "the model failed to generate"})

    def _block(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        closed, self._open = self._close(), kind
        return closed + sent(
            "content-start", index=self._blocks, delta={"message": {"content": {"type": kind, kind: ""}}}
        )

    def _close(self) -> bytes:
        closed, self._open = self._open, None
        if closed == "tool-call":
            self._calls += 1
            return sent("tool-call-end", index=self._calls - 1)
        if closed is not None:
            self._blocks += 1
            return sent("content-end", index=self._blocks - 1)
        return b""


def sent(kind: str, **more: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + dumps({"type": kind, **more}) + b"\n\n"


def finish_reason(end: Finished, called: bool) -> str:
    if end.reason == "stop":
        return "TOOL_CALL" if called else "COMPLETE"
    return "MAX_TOKENS"


def usage_of(usage: Usage | None) -> dict[str, Any]:
    assert usage is not None
    counts = {"input_tokens": float(usage.input_tokens), "output_tokens": float(usage.output_tokens)}
    return {"billed_units": counts, "tokens": counts, "cached_tokens": float(usage.cached_tokens)}


def arguments(events: list[Event], call: ToolCallStart) -> str:
    return "".join(
        event.arguments for event in events if isinstance(event, ToolCallDelta) and event.index == call.index
    )


def entry(model: Model) -> dict[str, Any]:
    return {
        "name": model.id,
        "is_deprecated": False,
        "endpoints": ["chat", "embed"],
        "finetuned": False,
        "context_length": None if model.context is None else float(model.context),
        "tokenizer_url": "https://storage.googleapis.com/cohere-public/tokenizers/command.json",
        "default_endpoints": [],
        "features": ["json_mode", "json_schema", "tools", "strict_tools", "vision"],
    }


def request_of(body: dict[str, Any]) -> Request:
    """Raises KeyError and AssertionError for what Cohere would refuse."""
    form = body.get("response_format")
    assert form is None or (form["type"] == "json_object" and "tools" not in body)
    thinking = body.get("thinking")
    assert thinking is None or thinking["type"] in {"enabled", "disabled"}
    choice = body.get("tool_choice")
    assert choice in {None, "REQUIRED", "NONE"}
    return Request(
        body["model"],
        tuple(message_of(message) for message in body["messages"]),
        body.get("max_tokens", 4096),
        tuple(body.get("stop_sequences", ())),
        Sampling(body.get("temperature"), body.get("p"), body.get("k"), seed=body.get("seed")),
        tuple(tool_of(tool) for tool in body.get("tools", ())),
        choice.lower() if choice else "auto",
        format=None if form is None else JsonFormat(form.get("json_schema")),
        reasoning_effort=thinking and thinking["type"],
    )


def tool_of(tool: dict[str, Any]) -> Tool:
    assert tool["type"] == "function"
    function = tool["function"]
    assert function.keys() <= {"name", "description", "parameters"}
    return Tool(function["name"], function.get("description"), function["parameters"])


def message_of(message: dict[str, Any]) -> Message:
    parts: list[Part] = []
    if plan := message.get("tool_plan"):
        parts.append(Reasoning(plan, Opaque("cohere", "plan")))
    content = message.get("content", ())
    if message["role"] == "tool":
        return Message("user", (ToolResult(message["tool_call_id"], (Text(content),)),))
    parts += [Text(content)] if isinstance(content, str) else [part_of(part) for part in content]
    for call in message.get("tool_calls", ()):
        assert call["type"] == "function"
        parts.append(ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"]))
    assert message["role"] in {"system", "user", "assistant"}
    return Message(message["role"], tuple(parts))


def part_of(part: dict[str, Any]) -> Part:
    match part["type"]:
        case "text":
            return Text(part["text"])
        case "thinking":
            return Reasoning(part["thinking"], Opaque("cohere", "thinking"))
        case "image_url":
            media_type, data = part["image_url"]["url"].removeprefix("data:").split(";base64,")
            return Image(media_type, data, part["image_url"].get("detail"))
    raise KeyError(part["type"])
