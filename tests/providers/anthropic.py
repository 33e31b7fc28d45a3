"""A server that speaks Messages as Anthropic's documentation has them, and refuses what Anthropic refuses.

Source: platform.claude.com/docs/en/api (messages, streaming, errors, models, count tokens) and the types of the
official SDK 2.12, read in November 2026.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound
from backends.events import (
    Citation,
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.fake import FakeBackend, words_in
from backends.json import dumps, loads
from tests.providers.anthropic_words import COUNTED, MEMBERS, SAMPLING, Refused, no_credit, request_of
from tests.providers.base import Fault, Provider, Refusal, Writer

VERSIONS = ("2023-06-01", "2026-10-21")
REDACTED = "redacted."
REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}
REFUSALS: Mapping[Refusal, tuple[int, str, str]] = {
    "rate_limited": (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests.",
    ),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "server_error": (500, "api_error", "Internal server error"),
    "context_overflow": (400, "invalid_request_error", "prompt is too long: {prompt} tokens > {context} maximum"),
    "content_filter": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "prefill_refused": (
        400,
        "invalid_request_error",
        "This model does not support assistant message prefill. The conversation must end with a user message.",
    ),
    "bad_key": (401, "authentication_error", "invalid x-api-key"),
    "unknown_model": (404, "not_found_error", "model: {model}"),
    "spent": (400, "invalid_request_error", no_credit),
}


class Events(Writer):
    """A streamed message: blocks that begin, grow and stop, one after the other."""

    def __init__(self, model: str, prompt_tokens: int) -> None:
        self._model, self._prompt_tokens = model, prompt_tokens
        self._index, self._open, self._called = -1, "", False

    def begin(self) -> bytes:
        usage = {"input_tokens": self._prompt_tokens, "output_tokens": 1}
        message = empty(self._model) | {"usage": usage}
        return said("message_start", message=message) + said("ping")

    def event(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                return self._in("text", {"type": "text", "text": ""}) + self._delta("text_delta", text=text)
            case ReasoningDelta(text):
                block = {"type": "thinking", "thinking": "", "signature": ""}
                return self._in("thinking", block) + self._delta("thinking_delta", thinking=text)
            case Signature(_, data) if data.startswith(REDACTED):
                block = {"type": "redacted_thinking", "data": data.removeprefix(REDACTED)}
                return self._begin("redacted", block) + self._stop()
            case Signature(_, data):
                block = {"type": "thinking", "thinking": "", "signature": ""}
                return self._in("thinking", block) + self._delta("signature_delta", signature=data) + self._stop()
            case Citation():
                return self._delta("citations_delta", citation=location(event))
            case ToolCallStart(_, call_id, name):
                self._called = True
                return self._begin("call", {"type": "tool_use", "id": call_id, "name": name, "input": {}})
            case ToolCallDelta(_, arguments):
                return self._delta("input_json_delta", partial_json=arguments)
        return b""

    def finish(self, event: Finished) -> bytes:
        delta = {"stop_reason": stop_reason(event, self._called), "stop_sequence": None}
        return self._stop() + said("message_delta", delta=delta, usage=counts(event.usage))

    def done(self) -> bytes:
        return said("message_stop")

    def error(self) -> bytes:
        return said("error", error={"type": "overloaded_error", "message": "Overloaded"})

    def rubbish(self) -> bytes:
        return b"event: content_block_delta\ndata: {not json\n\n"

    def _in(self, kind: str, block: dict[str, Any]) -> bytes:
        """In a block of this kind: the one that is open, or a new one."""
        return b"" if self._open == kind else self._begin(kind, block)

    def _begin(self, kind: str, block: dict[str, Any]) -> bytes:
        last = self._stop()
        self._index, self._open = self._index + 1, kind
        return last + said("content_block_start", index=self._index, content_block=block)

    def _delta(self, kind: str, **more: Any) -> bytes:
        return said("content_block_delta", index=self._index, delta={"type": kind, **more})

    def _stop(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        return said("content_block_stop", index=self._index)


class Whole(Writer):
    """A message that is not streamed."""

    content_type: ClassVar[str] = "application/json"

    def __init__(self, model: str) -> None:
        self._model = model
        self._blocks: list[dict[str, Any]] = []
        self._arguments: dict[int, str] = {}

    def event(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                self._in("text", {"type": "text", "text": "", "citations": None})["text"] += text
            case ReasoningDelta(text):
                self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})["thinking"] += text
            case Signature(_, data) if data.startswith(REDACTED):
                self._blocks.append({"type": "redacted_thinking", "data": data.removeprefix(REDACTED)})
            case Signature(_, data):
                self._in("thinking", {"type": "thinking", "thinking": "", "signature": ""})["signature"] += data
            case Citation():
                self._blocks[-1]["citations"] = [*(self._blocks[-1]["citations"] or []), location(event)]
            case ToolCallStart(index, call_id, name):
                self._arguments[index] = ""
                self._blocks.append({"type": "tool_use", "id": call_id, "name": name, "input": {}})
            case ToolCallDelta(index, arguments):
                self._arguments[index] += arguments
        return b""

    def finish(self, event: Finished) -> bytes:
        calls = [block for block in self._blocks if block["type"] == "tool_use"]
        for block, arguments in zip(calls, self._arguments.values(), strict=True):
            block["input"] = loads(arguments or "{}")
        end = {"stop_reason": stop_reason(event, bool(calls)), "usage": counts(event.usage)}
        return dumps(empty(self._model) | {"content": self._blocks} | end)

    def error(self) -> bytes:
        return dumps(problem("api_error", "Internal server error"))

    def _in(self, kind: str, block: dict[str, Any]) -> dict[str, Any]:
        if not self._blocks or self._blocks[-1]["type"] != kind:
            self._blocks.append(block)
        return self._blocks[-1]


class Anthropic(Provider):
    """Anthropic's API, which refuses every key but its own. `page` is how many models it lists at once, at most."""

    def __init__(self, behind: FakeBackend, *, page: int = 1000) -> None:
        super().__init__(behind)
        self.page = page

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.models),
            web.post("/v1/messages", self.messages),
            web.post("/v1/messages/count_tokens", self.count_tokens),
        ]

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        status, type_, words = REFUSALS[kind]
        numbers = {"context": 512, "prompt": 600, "model": "no-such-model"}
        if isinstance(error, ContextLengthExceeded):
            numbers |= {"context": error.context, "prompt": error.prompt_tokens}
        if isinstance(error, ModelNotFound):
            numbers["model"] = error.model
        return status, problem(type_, words.format(**numbers))

    async def models(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        served = list(await self.behind.models())
        after = request.query.get("after_id")
        start = 1 + [model.id for model in served].index(after) if after else 0
        size = min(self.page, int(request.query.get("limit", "20")))
        page = served[start : start + size]
        data = [info(model.id, model.context) for model in page]
        more = start + size < len(served)
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return web.json_response({"data": data, "has_more": more, "first_id": first, "last_id": last})

    async def messages(self, request: web.Request) -> web.StreamResponse:
        body = loads(await request.read())
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        try:
            asked = request_of(body, members_of(request))
        except Refused as error:
            return web.json_response(problem("invalid_request_error", str(error)), status=400)
        writer = Events(asked.model, words_in(asked)) if body.get("stream") else Whole(asked.model)
        return await self.answer(request, body, asked, writer)

    async def count_tokens(self, request: web.Request) -> web.StreamResponse:
        if not self.welcome(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        try:
            asked = request_of(loads(await request.read()), COUNTED)
            return web.json_response({"input_tokens": await self.behind.count_tokens(asked)})
        except Refused as error:
            return web.json_response(problem("invalid_request_error", str(error)), status=400)
        except ModelNotFound as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)

    def welcome(self, request: web.Request) -> bool:
        assert request.headers["anthropic-version"] in VERSIONS
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        return key == self.key


def members_of(request: web.Request) -> set[str]:
    """The newer version knows no temperature any more."""
    return MEMBERS if request.headers["anthropic-version"] == VERSIONS[0] else MEMBERS - SAMPLING


def info(model: str, context: int | None) -> dict[str, Any]:
    abilities = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs", "thinking")
    return {
        "type": "model",
        "id": model,
        "display_name": model,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": context,
        "max_tokens": 64_000,
        "capabilities": {name: {"supported": name != "code_execution"} for name in abilities},
    }


def location(event: Citation) -> dict[str, Any]:
    """Where a citation is from: a result of the web search."""
    kind = "web_search_result_location"
    return {"type": kind, "cited_text": event.text, "url": event.source, "title": event.title, "encrypted_index": "x"}


def empty(model: str) -> dict[str, Any]:
    common = {"id": "msg_01", "type": "message", "role": "assistant", "model": model, "content": []}
    return common | {"stop_reason": None, "stop_sequence": None}


def stop_reason(event: Finished, called: bool) -> str:
    return "tool_use" if called and event.reason == "stop" else REASONS[event.reason]


def counts(usage: Usage | None) -> dict[str, Any]:
    """A part of what was not read from the cache is written to it, as it is with automatic caching."""
    assert usage is not None
    fresh = usage.input_tokens - usage.cached_tokens
    written = fresh // 2 if usage.cached_tokens else 0
    return {
        "input_tokens": fresh - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def problem(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_01"}


def said(kind: str, **more: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps({"type": kind, **more}))
