"""`tools` and `tool_choice` of a Responses create. Pure."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, structs

from backends.request import NamedTool, Tool, ToolChoice
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.tool_limits import MAX_SCHEMA_BYTES, checked_name, checked_schema, checked_tools, custom_tool
from proxy.wire.tool_names import model_name

Described = Annotated[str, Meta(max_length=MAX_SCHEMA_BYTES)]

WORDS: tuple[Literal["auto", "none", "required"], ...] = ("auto", "none", "required")


class Function(Struct, frozen=True, kw_only=True):
    """A function that the client runs."""

    name: str
    description: Described | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Format(Struct, frozen=True, kw_only=True):
    """What a custom tool's text looks like."""

    type: Literal["text", "grammar"] = "text"
    syntax: Literal["lark", "regex"] | None = None
    definition: Described | None = None


class Custom(Struct, frozen=True, kw_only=True):
    """A tool of the client that takes free text."""

    name: str
    description: Described | None = None
    format: Format | None = None


class Namespace(Struct, frozen=True, kw_only=True):
    """Functions and custom tools that belong together."""

    name: str
    description: Described = ""
    tools: list[Any]


class Named(Struct, frozen=True, kw_only=True):
    """The choice of one tool."""

    name: str


class Allowed(Struct, frozen=True, kw_only=True):
    """The choice among some of the tools."""

    mode: Literal["auto", "required"]
    tools: list[Any]


class Tools(Struct, frozen=True):
    """What a model may call. `shown` and `shown_choice` are how the response object repeats it.

    `custom` and `namespaces` (tool to namespace) have the names that the model sees.
    """

    tools: tuple[Tool, ...] = ()
    custom: frozenset[str] = frozenset()
    namespaces: Mapping[str, str] = {}
    choice: ToolChoice = "auto"
    shown: Sequence[dict[str, Any]] = ()
    shown_choice: Any = "auto"


NO_TOOLS = Tools(shown=[])


def parse_tools(tools: list[Any] | None, choice: Any) -> Tools:
    """Raises BadParameter, or Unsupported for a hosted tool, which it names."""
    if not tools and choice is None:
        return NO_TOOLS
    read: list[tuple[Tool, dict[str, Any]]] = []
    all_shown: list[dict[str, Any]] = []
    namespaces: dict[str, str] = {}
    for index, given in enumerate(tools or ()):
        path = f"tools[{index}]"
        if kind_of(given, path) == "namespace":
            inside, group = parse_namespace(given, path)
            namespaces |= {tool.name: group["name"] for tool, _ in inside}
            read += inside
            all_shown.append(group)
        else:
            read.append(parse_tool(given, path))
            all_shown.append(read[-1][1])
    found = Tools(
        tools=checked_tools(tuple(tool for tool, _ in read), "tools"),
        custom=frozenset(tool.name for tool, shown in read if shown["type"] == "custom"),
        namespaces=namespaces,
        shown=all_shown,
    )
    return found if choice is None else choose(found, choice)


def parse_namespace(given: Any, path: str) -> tuple[list[tuple[Tool, dict[str, Any]]], dict[str, Any]]:
    """Its tools, under the names that models see, and how the response object shows the whole."""
    space = convert(given, Namespace, path)
    name = checked_name(space.name, f"{path}.name")
    read = []
    for index, each in enumerate(space.tools):
        inner = f"{path}.tools[{index}]"
        tool, shown = parse_tool(each, inner)
        read.append((structs.replace(tool, name=checked_name(model_name(name, tool.name), f"{inner}.name")), shown))
    tools = [shown for _, shown in read]
    return read, {"type": "namespace", "name": name, "description": space.description, "tools": tools}


def parse_tool(tool: Any, path: str) -> tuple[Tool, dict[str, Any]]:
    """The tool that the model sees, and the one that the response object shows."""
    match kind_of(tool, path):
        case "function":
            return parse_function(tool, path)
        case "custom":
            return parse_custom(tool, path)
        case kind:
            raise Unsupported(f"The hosted tool '{kind}'", path, "Give the model a function of your own.")


def parse_function(tool: dict[str, Any], path: str) -> tuple[Tool, dict[str, Any]]:
    """A function, flat as this API has it, or under `function` as chat completions have it."""
    nested = isinstance(tool.get("function"), dict) and "name" not in tool
    function = convert(tool["function"] if nested else tool, Function, f"{path}.function" if nested else path)
    name = checked_name(function.name, f"{path}.name")
    parameters = checked_schema(function.parameters, f"{path}.parameters")
    shown = {
        "type": "function",
        "name": name,
        "description": function.description,
        "parameters": parameters,
        "strict": function.strict,
    }
    return Tool(name, function.description, parameters, function.strict), shown


def parse_custom(tool: dict[str, Any], path: str) -> tuple[Tool, dict[str, Any]]:
    """A tool of free text, which models see as a function of one string."""
    custom = convert(tool, Custom, path)
    name = checked_name(custom.name, f"{path}.name")
    form: dict[str, Any] = {"type": "text"}
    grammar = None
    if custom.format is not None and custom.format.type == "grammar":
        syntax, definition = custom.format.syntax, custom.format.definition
        if syntax is None or definition is None:
            raise BadParameter(f"'{path}.format' needs 'syntax' and 'definition'.", f"{path}.format")
        form = {"type": "grammar", "syntax": syntax, "definition": definition}
        grammar = (syntax, definition)
    shown = {"type": "custom", "name": name, "description": custom.description, "format": form}
    return custom_tool(name, custom.description, grammar), shown


def choose(found: Tools, choice: Any) -> Tools:
    """Which of the tools must, may or must not be called."""
    if isinstance(choice, str):
        for known in WORDS:
            if choice == known:
                if known == "required" and not found.tools:
                    raise BadParameter("'tool_choice' is \"required\", but there are no 'tools'.", "tool_choice")
                return structs.replace(found, choice=known, shown_choice=known)
        raise BadParameter(f"Unknown 'tool_choice' \"{choice[:50]}\": expected auto, none or required.", "tool_choice")
    kind = kind_of(choice, "tool_choice")
    if kind == "allowed_tools":
        return choose_among(found, convert(choice, Allowed, "tool_choice"))
    name = tool_named(found, choice, "tool_choice")
    return structs.replace(found, choice=NamedTool(name), shown_choice={"type": kind, "name": name})


def choose_among(found: Tools, allowed: Allowed) -> Tools:
    """The model sees none but the allowed tools; the response object shows them all."""
    chosen = [
        {"type": kind_of(tool, path), "name": tool_named(found, tool, path)}
        for path, tool in ((f"tool_choice.tools[{index}]", tool) for index, tool in enumerate(allowed.tools))
    ]
    names = {tool["name"] for tool in chosen}
    if allowed.mode == "required" and not names:
        raise BadParameter("'tool_choice.tools' is empty, but one of them must be called.", "tool_choice.tools")
    shown = {"type": "allowed_tools", "mode": allowed.mode, "tools": chosen}
    tools = tuple(tool for tool in found.tools if tool.name in names)
    return structs.replace(found, tools=tools, choice=allowed.mode, shown_choice=shown)


def tool_named(found: Tools, choice: Any, path: str) -> str:
    """The name of a tool of this request that `choice` points to. Raises BadParameter or Unsupported."""
    kind = kind_of(choice, path)
    if kind not in ("function", "custom"):
        raise Unsupported(f"Choosing the hosted tool '{kind}'", path)
    nested = choice.get("function")
    name = convert(nested if isinstance(nested, dict) else choice, Named, path).name
    if not any(tool["name"] == name and tool["type"] == kind for tool in found.shown):
        raise BadParameter(f"'{path}' names '{name[:128]}', which is not one of the {kind} tools.", path)
    return name
