"""The Responses API as its server reads and writes it: requests taken strictly, answers composed event by event.

Source: developers.openai.com/api/docs/api-reference/responses and responses-streaming, and the types of the official
SDK, read in November 2026.
"""

from collections.abc import Callable, Mapping
from typing import Any

from backends.events import (
    Event,
    Finished,
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
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tests.contract.chat_words import data_url, likely

FIELDS = {
    "model", "input", "instructions", "max_output_tokens", "store", "stream", "temperature", "top_p", "tools",
    "tool_choice", "parallel_tool_calls", "text", "reasoning", "include", "top_logprobs", "metadata", "user",
}  # fmt: skip
ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"


class Invalid(Exception):
    """What the server refuses with a 400."""

    def __init__(self, message: str, param: str, code: str | None = None) -> None:
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
        super().__init__(message)

    def answer(self) -> tuple[int, Any]:
        return 400, self.body


def thinks(model: str) -> bool:
    """Which of the models that tests name reason."""
    return model in {"o4-mini", "gpt-5"}


def request_of(body: Mapping[str, Any]) -> Request:
    """The body of a create. Raises Invalid, or KeyError for what the SDK's types require."""
    if unknown := set(body) - FIELDS:
        raise Invalid(f"Unknown parameter: '{min(unknown)}'.", min(unknown), "unknown_parameter")
    model = body["model"]
    for name in ("temperature", "top_p") if thinks(model) else ():
        if name in body:
            raise Invalid(f"Unsupported parameter: '{name}' is not supported with this model.", name)
    if ENCRYPTED in body.get("include", ()) and not thinks(model):
        raise Invalid("Encrypted content is not supported with this model.", "include")
    if (most := body.get("max_output_tokens", 100)) < 16:
        raise Invalid(
            f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got {most} instead",
            "max_output_tokens",
            "integer_below_min_value",
        )
    form = body.get("text", {}).get("format", {"type": "text"})
    choice = body.get("tool_choice", "auto")
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return Request(
        model,
        tuple(message_of(item) for item in items),
        most,
        tools=tuple(tool_of(tool) for tool in body.get("tools", ())),
        tool_choice=choice if isinstance(choice, str) else NamedTool(choice["name"]),
        format={"text": None, "json_object": JsonFormat(), "json_schema": JsonFormat(form.get("schema"))}[form["type"]],
        top_logprobs=body.get("top_logprobs", 0) if LOGPROBS in body.get("include", ()) else None,
    )


def tool_of(tool: Mapping[str, Any]) -> Tool:
    assert tool["type"] == "function"
    return Tool(tool["name"], tool.get("description"), tool["parameters"], tool["strict"])


def message_of(item: Mapping[str, Any]) -> Message:
    match item.get("type", "message"):
        case "message":
            return Message(item["role"], tuple(parts_of(item["content"], item["role"])))
        case "function_call":
            return Message("assistant", (ToolCall(item["call_id"], item["name"], item["arguments"]),))
        case "function_call_output":
            return Message("user", (ToolResult(item["call_id"], tuple(parts_of(item["output"], "user"))),))
        case "reasoning":
            text = "".join(part["text"] for part in item["summary"])
            data = dumps({"id": item["id"], "encrypted_content": item["encrypted_content"]}).decode()
            return Message("assistant", (Reasoning(text, Opaque("openai", data)),))
    raise Invalid(f"Invalid value: '{item['type']}'.", "input", "invalid_value")


def parts_of(content: str | list[Any], role: str) -> list[Part]:
    return [Text(content)] if isinstance(content, str) else [part_of(part, role) for part in content]


def part_of(part: Mapping[str, Any], role: str) -> Part:
    match part["type"]:
        case "output_text" if role == "assistant":
            return Text(part["text"])
        case "refusal" if role == "assistant":
            return Refusal(part["refusal"])
        case "input_text" if role != "assistant":
            return Text(part["text"])
        case "input_image" if role != "assistant":
            return Image(*data_url(part["image_url"]), part["detail"])
        case "input_file" if role != "assistant":
            return File(part.get("filename"), *data_url(part["file_data"]))
    raise Invalid(f"Invalid value: '{part['type']}'.", "input", "invalid_value")


class Composed:
    """The events of one response, as objects. `new_id` makes the response's id."""

    def __init__(self, body: Mapping[str, Any], new_id: Callable[[], str] = lambda: "resp_1") -> None:
        self._include = set(body.get("include", ()))
        self.response: dict[str, Any] = {
            "id": new_id(), "object": "response", "created_at": 1, "model": body["model"], "status": "in_progress",
            "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": body.get("tools", []),
            "error": None, "incomplete_details": None, "usage": None, "store": body.get("store", True),
        }  # fmt: skip
        self._number = 0
        self._open: dict[str, Any] | None = None  # the message or reasoning item
        self._calls: list[dict[str, Any]] = []

    def begin(self) -> list[Any]:
        return [self._said("created", response=self._whole()), self._said("in_progress", response=self._whole())]

    def event(self, event: Event) -> list[Any]:
        match event:
            case TextDelta(text, logprobs):
                said = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
                events = self._message(said)
                self._part()["text"] += text
                shown = [likely(each) for each in logprobs or ()]
                return [*events, self._content("output_text.delta", delta=text, logprobs=shown)]
            case RefusalDelta(text):
                events = self._message({"type": "refusal", "refusal": ""})
                self._part()["refusal"] += text
                return [*events, self._content("refusal.delta", delta=text)]
            case ReasoningDelta(text):
                events = self._item({"type": "reasoning", "id": f"rs_{self._at()}", "summary": []})
                assert self._open is not None
                if not self._open["summary"]:
                    self._open["summary"].append({"type": "summary_text", "text": ""})
                    part = dict(self._open["summary"][0])
                    events.append(self._of_open("reasoning_summary_part.added", summary_index=0, part=part))
                self._open["summary"][0]["text"] += text
                return [*events, self._of_open("reasoning_summary_text.delta", summary_index=0, delta=text)]
            case Signature(_, data):
                events = self._item({"type": "reasoning", "id": f"rs_{self._at()}", "summary": []})
                assert self._open is not None
                if ENCRYPTED in self._include:
                    self._open["encrypted_content"] = loads(data)["encrypted_content"]
                return events + self._close()
            case ToolCallStart(_, call_id, name):
                events = self._close()
                call = {"type": "function_call", "id": f"fc_{self._at()}", "call_id": call_id, "name": name}
                self._calls.append(call | {"arguments": "", "status": "in_progress"})
                self.response["output"].append(self._calls[-1])
                return [*events, self._of(self._calls[-1], "output_item.added", item=dict(self._calls[-1]))]
            case ToolCallDelta(index, arguments):
                self._calls[index]["arguments"] += arguments
                return [self._of(self._calls[index], "function_call_arguments.delta", delta=arguments)]
        return []

    def finish(self, event: Finished) -> list[Any]:
        events = self._close()
        for call in self._calls:
            call["status"] = "completed"
            events.append(self._of(call, "function_call_arguments.done", arguments=call["arguments"]))
            events.append(self._of(call, "output_item.done", item=call))
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(event.reason)
        self.response |= {"usage": counts(event.usage), "status": "incomplete" if cut else "completed"}
        if cut:
            self.response["incomplete_details"] = {"reason": cut}
        return [*events, self._said("incomplete" if cut else "completed", response=self._whole())]

    def failed(self, code: str = "server_error", message: str = "The server had an error.") -> list[Any]:
        self.response |= {"status": "failed", "error": {"code": code, "message": message}}
        return [self._said("failed", response=self._whole())]

    def _whole(self) -> dict[str, Any]:
        return loads(dumps(self.response))

    def _said(self, kind: str, /, **members: Any) -> dict[str, Any]:
        self._number += 1
        return {"type": f"response.{kind}", "sequence_number": self._number - 1, **members}

    def _at(self) -> int:
        return len(self.response["output"])

    def _of(self, item: Mapping[str, Any], kind: str, /, **members: Any) -> dict[str, Any]:
        return self._said(kind, item_id=item["id"], output_index=self.response["output"].index(item), **members)

    def _of_open(self, kind: str, /, **members: Any) -> dict[str, Any]:
        assert self._open is not None
        return self._of(self._open, kind, **members)

    def _item(self, item: dict[str, Any]) -> list[Any]:
        """Open `item`, where none of its type is open."""
        if self._open is not None and self._open["type"] == item["type"]:
            return []
        events = self._close()
        self._open = item
        self.response["output"].append(item)
        return [*events, self._of_open("output_item.added", item=loads(dumps(item)))]

    def _message(self, part: dict[str, Any]) -> list[Any]:
        empty = {"type": "message", "id": f"msg_{self._at()}", "role": "assistant", "status": "in_progress"}
        events = self._item(empty | {"content": []})
        assert self._open is not None
        if not self._open["content"] or self._open["content"][-1]["type"] != part["type"]:
            self._open["content"].append(part)
            events.append(self._content("content_part.added", part=dict(part)))
        return events

    def _part(self) -> dict[str, Any]:
        assert self._open is not None
        return self._open["content"][-1]

    def _content(self, kind: str, /, **members: Any) -> dict[str, Any]:
        assert self._open is not None
        return self._of_open(kind, content_index=len(self._open["content"]) - 1, **members)

    def _close(self) -> list[Any]:
        item = self._open
        if item is None:
            return []
        events = []
        if item["type"] == "message":
            item["status"] = "completed"
            for index, part in enumerate(item["content"]):
                place = {"content_index": index, "part": part}
                if part["type"] == "output_text":
                    whole = {"content_index": index, "text": part["text"], "logprobs": []}
                    events.append(self._of_open("output_text.done", **whole))
                events.append(self._of_open("content_part.done", **place))
        events.append(self._of_open("output_item.done", item=loads(dumps(item))))
        self._open = None
        return events


def counts(usage: Usage | None) -> dict[str, Any]:
    assert usage is not None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
