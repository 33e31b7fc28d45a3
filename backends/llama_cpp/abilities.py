"""What an engine is asked, made to fit what it can do; what no engine can is refused before the first byte. Pure."""

from dataclasses import replace

from backends.errors import InvalidRequest, UnsupportedFeature
from backends.json import JsonError, loads
from backends.request import Audio, File, Image, NamedTool, Part, Request, ToolCall, ToolResult

MEDIA = {Image: "images", Audio: "audio", File: "files"}


def fitted(request: Request, *, tools: bool) -> Request:
    """`request` as an engine takes it; `tools` says whether its model's chat template has a place for them.

    Raises UnsupportedFeature, or InvalidRequest for calls that no template can show.
    """
    for message in request.messages:
        for part in message.parts:
            check(part, tools=tools)
    if request.prompt is not None and request.prompt.suffix is not None:
        raise UnsupportedFeature("a suffix", "suffix")
    choice = request.tool_choice
    if choice == "none" or not request.tools:
        return replace(request, tools=())
    if not tools:
        raise UnsupportedFeature("tools", "tools")
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
    if isinstance(part, ToolCall):
        try:
            loads(part.arguments)
        except JsonError:
            raise InvalidRequest(400, "input") from None
    if isinstance(part, ToolResult):
        for inner in part.parts:
            check(inner, tools=tools)
