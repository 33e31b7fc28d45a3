"""The tools of a chat completions request, which of them to call, and the form of the answer. Pure.

Chat completions nest under the tool's type what the Responses API has flat; all else is the same.
"""

from typing import Any

from msgspec import Struct

from backends.request import JsonFormat
from proxy.errors import Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.responses_format import Schema, json_format
from proxy.wire.responses_tools import Tools, parse_tools


class SchemaFormat(Struct, frozen=True):
    """Where a JSON schema stands."""

    json_schema: Schema


def chat_tools(tools: list[Any] | None, choice: Any) -> Tools:
    """The tools and the choice among them. Raises BadParameter or Unsupported."""
    return parse_tools([flat(tool) for tool in tools or ()], flat(choice))


def flat(tool: Any) -> Any:
    """A tool or a choice of tools, as the Responses API has it. What is neither is left for its parser to refuse."""
    if not isinstance(tool, dict):
        return tool
    inner = tool.get(tool["type"]) if isinstance(tool.get("type"), str) else None
    if not isinstance(inner, dict):
        return tool
    members = {**inner, "type": tool["type"]}
    if tool["type"] == "allowed_tools" and isinstance(inner.get("tools"), list):
        members["tools"] = [flat(each) for each in inner["tools"]]
    if isinstance(inner.get("format"), dict):
        members["format"] = flat(inner["format"])  # of a custom tool: the grammar is one level down too
    return members


def response_format(given: dict[str, Any] | None) -> JsonFormat | None:
    """The form of the answer; None for plain text. Raises BadParameter or Unsupported."""
    if given is None:
        return None
    match kind_of(given, "response_format"):
        case "text":
            return None
        case "json_object":
            return JsonFormat()
        case "json_schema":
            form = convert(given, SchemaFormat, "response_format").json_schema
            return json_format(form, "response_format.json_schema")
        case kind:
            raise Unsupported(f"The format '{kind}'", "response_format")
