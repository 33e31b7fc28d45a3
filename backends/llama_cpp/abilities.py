"""What an engine is asked, made to fit what it can do; what no engine can is refused before the first byte. Pure."""

from msgspec.structs import replace

from backends.errors import InvalidRequest, UnsupportedFeature
from backends.json import JsonError, dumps, loads
from backends.llama_cpp.schema_limits import check_schemas
from backends.request import Audio, File, Image, Message, NamedTool, Part, Request, ToolCall, ToolResult

MEDIA = {Image: "images", Audio: "audio", File: "files"}


def fitted(request: Request, *, tools: bool) -> Request:
    """`request` as an engine takes it; `tools` says whether its model's chat template has a place for them.

    Raises UnsupportedFeature, or InvalidRequest for a schema that no grammar can hold.
    """
    for message in request.messages:
        for part in message.parts:
            check(part, tools=tools)
    if request.prompt is not None and request.prompt.suffix is not None:
        raise UnsupportedFeature("a suffix", "suffix")
    if request.format is not None and request.format.schema is not None:
        check_schemas([request.format.schema], "text.format")
    request = replace(request, messages=tuple(shown(message) for message in request.messages))
    choice = request.tool_choice
    if choice == "none" or not request.tools:
        return replace(request, tools=())
    if not tools:
        raise UnsupportedFeature("tools", "tools")
    check_schemas([tool.parameters for tool in request.tools if tool.parameters], "tools")
    if isinstance(choice, NamedTool):  # llama.cpp reads a named tool as "auto"; the only one there is, it obeys
        only = tuple(tool for tool in request.tools if tool.name == choice.name)
        if not only:
            raise InvalidRequest(400, "tool_choice")
        return replace(request, tools=only, tool_choice="required")
    return request


def check(part: Part, *, tools: bool) -> None:
    """As `fitted`."""
    if feature := MEDIA.get(type(part)):
        raise UnsupportedFeature(feature, "input")
    if isinstance(part, ToolCall | ToolResult) and not tools:
        raise UnsupportedFeature("tool calls", "input")
    if isinstance(part, ToolResult):
        for inner in part.parts:
            check(inner, tools=tools)


def shown(message: Message) -> Message:
    """The message with calls as a template reads them: it refuses arguments that are not JSON."""
    if not any(isinstance(part, ToolCall) for part in message.parts):
        return message
    parts = tuple(
        replace(part, arguments=as_json(part.arguments)) if isinstance(part, ToolCall) else part
        for part in message.parts
    )
    return replace(message, parts=parts)


def as_json(arguments: str) -> str:
    """The arguments of a call. A model may have written none, or broken off: then its words are the one argument."""
    if not arguments.strip():
        return "{}"
    try:
        loads(arguments)
    except JsonError:
        return dumps({"input": arguments}).decode()
    return arguments
