"""The tools of a chat completions request, which of them to call, and the form of the answer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.json import dumps
from backends.request import JsonFormat, NamedTool, Tool, ToolChoice
from proxy.errors import BadParameter, Unsupported
from proxy.wire.fields import convert, kind_of

FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
Name = Annotated[str, Meta(min_length=1, max_length=256)]


class Function(Struct, frozen=True, kw_only=True):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Custom(Struct, frozen=True, kw_only=True):
    name: Name
    description: str | None = None
    format: dict[str, Any] | None = None


class FunctionTool(Struct, frozen=True):
    function: Function


class CustomTool(Struct, frozen=True):
    custom: Custom


class Named(Struct, frozen=True):
    name: Name


class Choice(Struct, frozen=True, kw_only=True):
    type: Literal["function", "custom"]
    function: Named | None = None
    custom: Named | None = None


class Allowed(Struct, frozen=True, kw_only=True):
    mode: Literal["auto", "required"]
    tools: list[Choice]


class AllowedTools(Struct, frozen=True):
    allowed_tools: Allowed


class Schema(Struct, frozen=True, kw_only=True):
    name: Name
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class SchemaFormat(Struct, frozen=True):
    json_schema: Schema


@dataclass(frozen=True, slots=True)
class Tools:
    """What may be called; `custom` names those that take free text at the client."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    custom: frozenset[str]


def chat_tools(given: list[dict[str, Any]] | None, chosen: str | dict[str, Any] | None) -> Tools:
    """The tools and the choice among them. Raises BadParameter or Unsupported."""
    tools: dict[str, Tool] = {}
    custom = set()
    for index, each in enumerate(given or ()):
        path = f"tools[{index}]"
        kind = kind_of(each, path)
        if kind == "function":
            tool = Tool(**as_dict(convert(each, FunctionTool, path).function))
        elif kind == "custom":
            tool = free_text(convert(each, CustomTool, path).custom, path)
            custom.add(tool.name)
        else:
            raise Unsupported(f"A tool of type '{kind[:50]}'", path)
        if tool.name in tools:
            raise BadParameter(f"Two tools have the name '{tool.name}'.", f"{path}.{kind}.name")
        tools[tool.name] = tool
    choice, allowed = tool_choice(chosen, tools)
    return Tools(allowed, choice, frozenset(custom))


def free_text(tool: Custom, path: str) -> Tool:
    """A custom tool as models see it: a function of one string."""
    if tool.format and tool.format.get("type") != "text":
        raise Unsupported("A grammar for a custom tool", f"{path}.custom.format")
    return Tool(tool.name, tool.description, FREE_TEXT)


def tool_choice(chosen: str | dict[str, Any] | None, tools: Mapping[str, Tool]) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """The choice, and the tools that are left to choose from."""
    every = tuple(tools.values())
    if chosen is None or chosen in ("auto", "none"):
        return ("none" if chosen == "none" else "auto"), every
    if not tools:
        raise BadParameter("'tool_choice' needs 'tools'.", "tool_choice")
    if chosen == "required":
        return "required", every
    if isinstance(chosen, str):
        raise BadParameter("'tool_choice' must be \"auto\", \"none\", \"required\" or a tool.", "tool_choice")
    if chosen.get("type") == "allowed_tools":
        allowed = convert(chosen, AllowedTools, "tool_choice").allowed_tools
        named = {known(each, tools) for each in allowed.tools}
        return allowed.mode, tuple(tool for tool in every if tool.name in named)
    return NamedTool(known(convert(chosen, Choice, "tool_choice"), tools)), every


def known(choice: Choice, tools: Mapping[str, Tool]) -> str:
    """The name of a tool that there is."""
    named = choice.function if choice.type == "function" else choice.custom
    if named is None or named.name not in tools:
        raise BadParameter("'tool_choice' names no tool of 'tools'.", "tool_choice")
    return named.name


def response_format(given: dict[str, Any] | None) -> JsonFormat | None:
    """The form of the answer; None for plain text."""
    if given is None:
        return None
    match kind_of(given, "response_format"):
        case "text":
            return None
        case "json_object":
            return JsonFormat()
        case "json_schema":
            schema = convert(given, SchemaFormat, "response_format").json_schema
            return JsonFormat(schema.schema, schema.name, schema.description, schema.strict)
        case kind:
            raise Unsupported(f"An answer of the form '{kind[:50]}'", "response_format")


def wrapped(text: str) -> str:
    """The arguments of a custom tool's call as models see them."""
    return dumps({"input": text}).decode()


def as_dict(value: Struct) -> dict[str, Any]:
    """The members of a Struct by name."""
    return {name: getattr(value, name) for name in value.__struct_fields__}
