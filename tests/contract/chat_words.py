"""Chat completions as a server reads and writes them: the other side of what our encoder and decoder do."""

import base64
import struct
from typing import Any

from backends.base import Vector
from backends.events import (
    Event,
    Finished,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Part,
    Prompt,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)


def request_of(body: dict[str, Any]) -> Request:
    """A chat completion's body. Raises KeyError for what OpenAI would refuse."""
    form = body.get("response_format")
    choice = body.get("tool_choice", "auto")
    return Request(
        body["model"],
        tuple(message_of(message) for message in body["messages"]),
        body["max_tokens"],
        tuple(body.get("stop", ())),
        tools=tuple(tool_of(tool["function"]) for tool in body.get("tools", ())),
        tool_choice=choice if isinstance(choice, str) else NamedTool(choice["function"]["name"]),
        format=None if form is None else JsonFormat(**form.get("json_schema", {})),
        top_logprobs=body.get("top_logprobs", 0) if body.get("logprobs") else None,
    )


def raw_request_of(body: dict[str, Any]) -> Request:
    prompt = Prompt(body["prompt"], body.get("suffix"))
    stop = tuple(body.get("stop", ()))
    return Request(body["model"], (), body["max_tokens"], stop, prompt=prompt, top_logprobs=body.get("logprobs"))


def tool_of(function: dict[str, Any]) -> Tool:
    return Tool(function["name"], function.get("description"), function["parameters"], function.get("strict"))


def message_of(message: dict[str, Any]) -> Message:
    if message["role"] == "tool":
        return Message("user", (ToolResult(message["tool_call_id"], tuple(parts_of(message["content"]))),))
    calls = [
        ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", ())
    ]
    return Message(message["role"], (*parts_of(message["content"]), *calls))


def parts_of(content: str | list[dict[str, Any]] | None) -> list[Part]:
    if content is None or isinstance(content, str):
        return [Text(content)] if content else []
    return [part_of(part) for part in content]


def part_of(part: dict[str, Any]) -> Part:
    value = part[part["type"]]
    match part["type"]:
        case "image_url":
            return Image(*data_url(value["url"]), value.get("detail"))
        case "input_audio":
            return Audio(value["format"], value["data"])
        case "file":
            return File(value.get("filename"), *data_url(value["file_data"]))
        case "text":
            return Text(value)
    raise KeyError(part["type"])


def data_url(url: str) -> tuple[str, str]:
    kind, data = url.removeprefix("data:").split(";base64,")
    return kind, data


def chat_choice(event: Event) -> dict[str, Any]:
    """The one choice of a chunk that says `event`."""
    choice: dict[str, Any] = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}
    match event:
        case TextDelta(text, logprobs):
            choice["delta"] = {"content": text}
            if logprobs is not None:
                choice["logprobs"] = {"content": [likely(each) for each in logprobs], "refusal": None}
        case ReasoningDelta(text):
            choice["delta"] = {"reasoning_content": text}
        case RefusalDelta(text):
            choice["delta"] = {"refusal": text}
        case ToolCallStart(index, call_id, name):
            function = {"name": name, "arguments": ""}
            choice["delta"] = {
                "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]
            }
        case ToolCallDelta(index, arguments):
            choice["delta"] = {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}
        case Finished(reason):
            choice["finish_reason"] = reason
    return choice


def likely(each: Logprob) -> dict[str, Any]:
    top = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": None, "top_logprobs": top}


def text_choice(event: Event) -> dict[str, Any]:
    """As `chat_choice`, for a raw completion."""
    choice: dict[str, Any] = {"index": 0, "text": "", "logprobs": None, "finish_reason": None}
    match event:
        case TextDelta(text, logprobs):
            choice["text"] = text
            if logprobs is not None:
                choice["logprobs"] = {
                    "tokens": [each.token for each in logprobs],
                    "token_logprobs": [each.logprob for each in logprobs],
                    "top_logprobs": [dict(each.top) for each in logprobs],
                    "text_offset": [0] * len(logprobs),
                }
        case Finished(reason):
            choice["finish_reason"] = reason
    return choice


def counts(usage: Usage | None) -> dict[str, int]:
    assert usage is not None
    total = usage.input_tokens + usage.output_tokens
    return {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens, "total_tokens": total}


def texts(given: Any) -> tuple[Any, ...]:
    return (
        (given,) if isinstance(given, str) else tuple(each if isinstance(each, str) else tuple(each) for each in given)
    )


def encoded(vector: Vector, encoding: str | None) -> Any:
    if encoding != "base64":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
