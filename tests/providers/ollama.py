"""Ollama as its documentation and its source (0.40) show it: chat, generation, models and vectors."""

from typing import Any

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded
from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from backends.fake import FakeBackend
from backends.json import dumps, loads
from backends.request import (
    EmbeddingRequest,
    Image,
    JsonFormat,
    Message,
    Opaque,
    Part,
    Prompt,
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
    "model", "messages", "prompt", "suffix", "raw", "tools", "format", "options", "stream", "think", "keep_alive",
    "logprobs", "top_logprobs", "truncate", "shift", "images", "system", "template", "context",
}  # fmt: skip
TIMES = {"total_duration": 4883583458, "load_duration": 1334875, "prompt_eval_duration": 342546000, "eval_duration": 1}


class Ollama(Provider):
    """Needs no key, as on one's own machine; with `locked`, one as ollama.com does. It knows `levels` of thinking."""

    prefix = ""
    content_type = "application/x-ndjson"

    def __init__(self, behind: FakeBackend, *, locked: bool = False, levels: tuple[Any, ...] = (False, True)) -> None:
        super().__init__(behind)
        self.locked, self.levels = locked, levels

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/chat", self.asked),
            web.post("/api/generate", self.asked),
            web.post("/api/embed", self.embed),
            web.get("/api/tags", self.tags),
            web.post("/api/show", self.show),
            web.get("/api/version", self.version),
        ]

    async def asked(self, request: web.Request) -> web.StreamResponse:
        if not self.known(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        body = loads(await request.read())
        assert body.keys() <= FIELDS, body.keys() - FIELDS
        asked = request_of(body, chat=request.path == "/api/chat")
        writer = OllamaWriter(asked)
        if body.get("stream", True):
            return await self.answer(request, body, asked, writer)
        return await self.whole(asked, writer)

    async def whole(self, asked: Request, writer: "OllamaWriter") -> web.Response:
        """What a stream would have said, in one line."""
        try:
            async with self.behind.stream(asked) as batches:
                events = [event async for batch in batches for event in batch]
        except BackendError as error:
            kind: Refusal = "context_overflow" if isinstance(error, ContextLengthExceeded) else "unknown_model"
            return self.refused(kind, Fault(kind), error)
        told = [loads(line) for event in events[:-1] if (line := writer.event(event))]
        end = events[-1]
        assert isinstance(end, Finished)
        last = [loads(line) for line in writer.finish(end).splitlines()]
        whole = last[-1]
        message = whole["message"]
        for line in (*told, *last[:-1]):
            for name, value in line["message"].items():
                if name != "role" and value:
                    message[name] = message.get(name, type(value)()) + value
        return web.json_response(whole)

    async def embed(self, request: web.Request) -> web.Response:
        body = loads(await request.read())
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        assert all(isinstance(text, str) for text in texts)
        try:
            found = await self.behind.embed(EmbeddingRequest(body["model"], tuple(texts), body.get("dimensions")))
        except BackendError as error:
            return self.refused("unknown_model", Fault("unknown_model"), error)
        vectors = [list(vector) for vector in found.vectors]
        return web.json_response(
            {"model": body["model"], "embeddings": vectors, "prompt_eval_count": found.input_tokens}
        )

    async def tags(self, request: web.Request) -> web.Response:
        if not self.known(request):
            return self.refused("bad_key", Fault("bad_key"), None)
        details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
        models = [
            {
                "name": model.id,
                "model": model.id,
                "modified_at": "2026-05-04T17:37:44.706015396-07:00",
                "size": 3826793677,
                "digest": "a80c4f17acd55265feec403c7aef86be0c25983ab279d83f3bcd3abbcb5b8b72",
                "details": details,
            }
            for model in await self.behind.models()
        ]
        return web.json_response({"models": models})

    async def show(self, request: web.Request) -> web.Response:
        name = loads(await request.read())["model"]
        found = next((model for model in await self.behind.models() if model.id == name), None)
        if found is None:
            return self.refused("unknown_model", Fault("unknown_model"), None)
        information = {"general.architecture": "llama", "general.parameter_count": 8030261248}
        if found.context is not None:
            information["llama.context_length"] = found.context
        return web.json_response(
            {
                "parameters": 'stop                           "<|eot_id|>"',
                "template": "{{ .Prompt }}",
                "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]},
                "model_info": information,
                "capabilities": ["completion", "tools", "vision", "thinking", "embedding", "insert"],
                "thinking": {"values": list(self.levels), "default": self.levels[-1]},
            }
        )

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.40.12"})

    def known(self, request: web.Request) -> bool:
        return not self.locked or request.headers.get("authorization") == f"Bearer {self.key}"

    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        size = (2622, 512)
        if isinstance(error, ContextLengthExceeded):
            size = (error.prompt_tokens or 0, error.context or 0)
        overflow = {
            "code": 400,
            "message": "request ({} tokens) exceeds the available context size ({} tokens), try increasing it".format(
                *size
            ),
            "type": "exceed_context_size_error",
            "n_prompt_tokens": size[0],
            "n_ctx": size[1],
        }
        status, message = {
            "rate_limited": (429, "too many concurrent requests"),
            "spent": (429, "you (me) have reached your weekly usage limit, upgrade: https://ollama.com/upgrade"),
            "overloaded": (503, "server busy, please try again.  maximum pending requests exceeded"),
            "server_error": (500, "the model failed to generate a response"),
            "context_overflow": (400, dumps({"error": overflow}).decode()),
            "content_filter": (400, "invalid request"),  # it has no filter
            "prefill_refused": (400, "invalid request"),  # it goes on with an assistant's turn
            "bad_key": (401, "unauthorized"),
            "unknown_model": (404, "model 'x' not found"),
        }[kind]
        return status, {"error": message}


class OllamaWriter(Writer):
    """A line per token; a tool call is held until it is whole."""

    def __init__(self, asked: Request) -> None:
        self._asked = asked
        self._calls: list[tuple[str, list[str]]] = []

    def event(self, event: Event) -> bytes:
        match event:
            case ReasoningDelta(text):
                return self._line({"content": "", "thinking": text})
            case TextDelta(text, logprobs):
                likely = {} if logprobs is None else {"logprobs": [likely_of(each) for each in logprobs]}
                return self._line({"content": text}, **likely)
            case ToolCallStart(_, _, name):
                held, self._calls = self._held(), [(name, [])]
                return held
            case ToolCallDelta(_, more):
                self._calls[-1][1].append(more)
        return b""

    def finish(self, event: Finished) -> bytes:
        assert event.usage is not None
        counts = {"prompt_eval_count": event.usage.input_tokens, "eval_count": event.usage.output_tokens}
        end = self._line({"content": ""}, done=True, done_reason=event.reason, **TIMES, **counts)
        return self._held() + end

    def error(self) -> bytes:
        return b'{"error":"an error was encountered while running the model"}\n'

    def rubbish(self) -> bytes:
        return b"{not json\n"

    def _held(self) -> bytes:
        calls, self._calls = self._calls, []
        return b"".join(
            self._line(
                {
                    "content": "",
                    "tool_calls": [
                        {"function": {"index": 0, "name": name, "arguments": loads("".join(arguments) or "{}")}}
                    ],
                }
            )
            for name, arguments in calls
        )

    def _line(self, message: dict[str, Any], **more: Any) -> bytes:
        common = {"model": self._asked.model, "created_at": "2026-11-21T19:22:45.499127Z"}
        told: dict[str, Any] = {"message": {"role": "assistant", **message}}
        if self._asked.prompt is not None:
            told = {"response": message["content"]}
        return dumps({**common, **told, "done": False, **more}) + b"\n"


def likely_of(each: Logprob) -> dict[str, Any]:
    top = [{"token": token, "logprob": logprob} for token, logprob in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": list(each.token.encode()), "top_logprobs": top}


def request_of(body: dict[str, Any], *, chat: bool) -> Request:
    """Raises KeyError and AssertionError for what Ollama would refuse or ignore."""
    options = body.get("options") or {}
    form = body.get("format")
    assert body.get("think") in {None, True, False, "low", "medium", "high"}
    given = body["messages"] if chat else ()
    names: list[ToolCall] = []
    return Request(
        body["model"],
        tuple(message_of(message, names) for message in given),
        options.get("num_predict", 4096),
        tuple(options.get("stop", ())),
        Sampling(*(options.get(name) for name in Sampling.__struct_fields__)),
        tuple(tool_of(tool) for tool in body.get("tools") or ()),
        format=None if form is None else JsonFormat(None if form == "json" else form),
        reasoning_effort=None if body.get("think") is None else str(body["think"]),
        top_logprobs=body.get("top_logprobs", 0) if body.get("logprobs") else None,
        prompt=None if chat else Prompt(body["prompt"], body.get("suffix")),
    )


def tool_of(tool: dict[str, Any]) -> Tool:
    assert tool["type"] == "function"
    function = tool["function"]
    return Tool(function["name"], function.get("description"), function["parameters"])


def message_of(message: dict[str, Any], called: list[ToolCall]) -> Message:
    """`called` are the calls of the messages before it."""
    content, role = message.get("content", ""), message["role"]
    assert isinstance(content, str)
    images = [Image("image/png", image) for image in message.get("images", ())]
    assert not any(image.data.startswith("data:") for image in images)
    if role == "tool":
        assert message["tool_name"] in {call.name for call in called}
        return Message("user", (ToolResult(message.get("tool_call_id", ""), (Text(content), *images)),))
    parts: list[Part] = []
    if message.get("thinking"):
        parts.append(Reasoning(message["thinking"], Opaque("ollama", "thinking")))
    parts += [*([Text(content)] if content else []), *images]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        assert isinstance(function["arguments"], dict)
        called.append(ToolCall(call.get("id", ""), function["name"], dumps(function["arguments"]).decode()))
        parts.append(called[-1])
    assert role in {"system", "user", "assistant"}
    return Message(role, tuple(parts))
