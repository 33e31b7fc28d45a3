"""Gemini's API as its server reads and writes it: the other side of what our encoder and decoder do.

Source: ai.google.dev/api/generate-content, /function-calling, /thought-signatures, /thinking, read in November 2026.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import dumps, loads
from backends.request import (
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
    Part,
    Reasoning,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tests.providers.base import Writer

BODY = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "labels"}
CONFIG = {
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "stopSequences",
    "candidateCount",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseLogprobs",
    "logprobs",
    "thinkingConfig",
}
DATA = {"text", "inlineData", "functionCall", "functionResponse"}
REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


class BadRequest(Exception):
    """What the API answers with a 400, in its words."""


def request_of(model: str, body: dict[str, Any], *, strict: bool = True) -> Request:
    """A body of generateContent. Raises BadRequest for what the API refuses."""
    if unknown := {*body} - BODY:
        raise BadRequest(f'Invalid JSON payload received. Unknown name "{unknown.pop()}": Cannot find field.')
    config = body.get("generationConfig", {})
    if unknown := {*config} - CONFIG:
        where = "at 'generation_config': Cannot find field."
        raise BadRequest(f'Invalid JSON payload received. Unknown name "{unknown.pop()}" {where}')
    if not body.get("contents"):
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified")
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        raise BadRequest("response_mime_type must be application/json with a response schema")
    if {"thinkingBudget", "thinkingLevel"} <= {*config.get("thinkingConfig", {})}:
        raise BadRequest("You can only set only one of thinking budget and thinking level.")
    messages = [message_of(each, model) for each in body["contents"]]
    if strict:
        check_turns(body["contents"])
    if system := body.get("systemInstruction"):
        messages.insert(0, Message("system", tuple(Text(part["text"]) for part in system["parts"])))
    tools = [each for tool in body.get("tools", ()) for each in tool["functionDeclarations"]]
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {"mode": "AUTO"})
    choice: Any = {"AUTO": "auto", "NONE": "none", "ANY": "required"}[calling["mode"]]
    if names := calling.get("allowedFunctionNames"):
        choice = NamedTool(names[0])
    form = None
    if config.get("responseMimeType") == "application/json":
        form = JsonFormat(config.get("responseJsonSchema"))
    return Request(
        model,
        tuple(messages),
        config.get("maxOutputTokens", 8192),
        tuple(config.get("stopSequences", ())),
        tools=tuple(Tool(tool["name"], tool.get("description"), field(tool, "parametersJsonSchema")) for tool in tools),
        tool_choice=choice,
        format=form,
        top_logprobs=config.get("logprobs", 0) if config.get("responseLogprobs") else None,
    )


def field(value: dict[str, Any], name: str) -> Any:
    """In either spelling, as JSON of protocol buffers may have it: Google's SDK writes mimeType and mime_type."""
    return value.get(name, value.get(re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name)))


def message_of(content: dict[str, Any], model: str) -> Message:
    role = content.get("role", "user")
    if role not in {"user", "model"}:
        raise BadRequest("Please use a valid role: user, model.")
    parts = content.get("parts") or ()
    if not parts:
        raise BadRequest("* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.")
    found = tuple(each for part in parts for each in part_of(part))
    calls = [part for part in parts if "functionCall" in part]
    if calls and "gemini-3" in model and not calls[0].get("thoughtSignature"):
        name = calls[0]["functionCall"]["name"]
        raise BadRequest(f"Function call `{name}` in the 2. content block is missing a `thought_signature`.")
    return Message("assistant" if role == "model" else "user", found)


def part_of(part: dict[str, Any]) -> Iterator[Part]:
    kinds = DATA & {*part}
    if len(kinds) != 1 or {*part} - DATA - {"thought", "thoughtSignature"}:
        raise BadRequest("required oneof field 'data' must have one initialized field")
    signature = part.get("thoughtSignature")
    if signature is not None:
        yield Reasoning(part["text"] if part.get("thought") else "", Opaque("gemini", signature))
    value = part[kinds.pop()]
    if "inlineData" in part:
        kind, data = field(value, "mimeType"), value["data"]
        assert kind
        yield Image(kind, data) if kind.startswith("image/") else File(None, kind, data)
    elif "functionCall" in part:
        yield ToolCall(value.get("id", value["name"]), value["name"], dumps(value["args"]).decode())
    elif "functionResponse" in part:
        inner = [each for inner in value.get("parts", ()) for each in part_of(inner)]
        text = value["response"].get("output") or dumps(value["response"]).decode()
        yield ToolResult(value.get("id", value["name"]), (Text(text), *inner))
    elif not part.get("thought"):
        if not value and signature is None:
            raise BadRequest("Unable to submit request because it must have a text parameter.")
        yield Text(value)


def check_turns(contents: list[dict[str, Any]]) -> None:
    """Each call has its answer in the very next turn, and no answer is without its call."""
    calls: list[str] = []
    for content in contents:
        found = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if sorted(found) != sorted(calls):
            raise BadRequest(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = [part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part]


class Messages(Writer):
    """A streamed answer. A call comes whole, and the usage so far with every message."""

    def __init__(self, model: str, *, ids: bool = True) -> None:
        self._model, self._ids = model, ids
        self._calls: list[dict[str, Any]] = []
        self._signature: str | None = None

    def event(self, event: Event) -> bytes:
        parts = self.parts(event)
        return self.message({"content": {"parts": parts, "role": "model"}, "index": 0}) if parts else b""

    def parts(self, event: Event) -> list[dict[str, Any]]:
        """What can be said now: a call waits for its end."""
        match event:
            case TextDelta(text) | RefusalDelta(text):
                return [{"text": text}]
            case ReasoningDelta(text):
                return [{"text": text, "thought": True}]
            case Signature(_, data) if data.startswith("call:"):
                self._signature = data.removeprefix("call:")
            case Signature(_, data) if data.startswith("text:"):
                return [{"text": "", "thoughtSignature": data.removeprefix("text:")}]
            case Signature(_, data):
                return [{"text": "", "thought": True, "thoughtSignature": data}]
            case ToolCallStart(_, call_id, name):
                call = {"name": name, "args": ""} | ({"id": call_id} if self._ids else {})
                self._calls.append({"functionCall": call})
                if self._signature is not None:
                    self._calls[-1]["thoughtSignature"] = self._signature
                self._signature = None
            case ToolCallDelta(index, arguments):
                self._calls[index]["functionCall"]["args"] += arguments
        return []

    def called(self) -> list[dict[str, Any]]:
        for part in self._calls:
            part["functionCall"]["args"] = loads(part["functionCall"]["args"] or "{}")
        return self._calls

    def finish(self, event: Finished) -> bytes:
        calls = self.called()
        last = {"finishReason": REASONS[event.reason], "index": 0}
        last["content"] = {"parts": calls or [{"text": ""}], "role": "model"}
        return self.message(last, counts(event.usage))

    def error(self) -> bytes:
        return sse({"error": {"code": 503, "message": OVERLOADED, "status": "UNAVAILABLE"}})

    def rubbish(self) -> bytes:
        return b"data: {not json\r\n\r\n"

    def message(self, candidate: Mapping[str, Any], usage: Mapping[str, Any] | None = None) -> bytes:
        return sse(self.whole(candidate, usage or {"promptTokenCount": 5, "totalTokenCount": 5}))

    def whole(self, candidate: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
        common = {"modelVersion": self._model, "responseId": "Il0taoSYJ5Cez7IPwqfa2QY"}
        return {"candidates": [candidate], "usageMetadata": usage} | common


OVERLOADED = "The model is overloaded. Please try again later."


class Whole(Messages):
    """An answer of generateContent."""

    content_type: ClassVar[str] = "application/json"

    def __init__(self, model: str, *, ids: bool = True) -> None:
        super().__init__(model, ids=ids)
        self._parts: list[dict[str, Any]] = []
        self._likely: list[Logprob] = []

    def event(self, event: Event) -> bytes:
        for part in self.parts(event):
            last = self._parts[-1] if self._parts else {}
            if "text" in part and "text" in last and {*part, *last} == {"text"}:
                last["text"] += part["text"]
            else:
                self._parts.append(part)
        if isinstance(event, TextDelta):
            self._likely += event.logprobs or ()
        return b""

    def finish(self, event: Finished) -> bytes:
        content = {"parts": [*self._parts, *self.called()], "role": "model"}
        last = {"content": content, "finishReason": REASONS[event.reason], "index": 0}
        if self._likely:
            tops = [{"candidates": [likely(*top) for top in each.top]} for each in self._likely]
            last["logprobsResult"] = {
                "chosenCandidates": [likely(each.token, each.logprob) for each in self._likely],
                "topCandidates": tops,
            }
        return dumps(self.whole(last, counts(event.usage)))

    def error(self) -> bytes:
        return dumps({"error": {"code": 503, "message": OVERLOADED, "status": "UNAVAILABLE"}})


def likely(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "tokenId": 1, "logProbability": logprob}


def counts(usage: Usage | None) -> dict[str, int]:
    assert usage is not None
    said = usage.output_tokens - usage.reasoning_tokens
    total = usage.input_tokens + usage.output_tokens
    found = {"promptTokenCount": usage.input_tokens, "candidatesTokenCount": said, "totalTokenCount": total}
    if usage.reasoning_tokens:
        found["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.cached_tokens:
        found["cachedContentTokenCount"] = usage.cached_tokens
    return found


def sse(value: object) -> bytes:
    return b"data: " + dumps(value) + b"\r\n\r\n"
