"""The conversation of a Messages request, as messages in parts. Pure."""

from collections.abc import Iterator
from itertools import groupby
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.json import dumps
from backends.request import File, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.inline_data import base64
from proxy.wire.opaque import unpacked

System = str | list[Any] | None
Id = Annotated[str, Meta(min_length=1, max_length=512)]


class Turn(Struct, frozen=True):
    """One message."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Any]


class TextBlock(Struct, frozen=True):
    """What was said. Its `citations` and `cache_control` are left out."""

    text: str


class Source(Struct, frozen=True, kw_only=True):
    """Where a picture or document is: in the request, or it is refused."""

    type: str
    media_type: Annotated[str, Meta(max_length=128)] | None = None
    data: str | None = None
    content: str | list[Any] | None = None


class Sourced(Struct, frozen=True, kw_only=True):
    """A picture, or a document with its title."""

    source: Source
    title: Annotated[str, Meta(max_length=512)] | None = None


class Thought(Struct, frozen=True):
    """What the model thought. The signature is its maker's: what we did not pack is left out."""

    thinking: str
    signature: str | None = None


class Sealed(Struct, frozen=True):
    """What the model thought, and only its maker can read."""

    data: str


class ToolUse(Struct, frozen=True):
    """The model asked for a tool."""

    id: Id
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    input: dict[str, Any]


class Result(Struct, frozen=True, kw_only=True):
    """What the tool gave back. Whether it failed (`is_error`) is for its text to say."""

    tool_use_id: Id
    content: str | list[Any] | None = None


def system_text(given: System) -> tuple[Part, ...]:
    """What stands before the conversation. Raises BadParameter or Unsupported."""
    return tuple(blocks(given, "system", "system")) if given else ()


def conversation(given: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Every message in its order; results of tools are messages of their own. Raises BadParameter or Unsupported."""
    if not given:
        raise BadParameter("'messages' must hold at least one message.", "messages")
    messages = []
    for index, each in enumerate(given):
        path = f"messages[{index}]"
        turn = convert(each, Turn, path)
        parts = blocks(turn.content, f"{path}.content", turn.role)
        messages += [
            Message(turn.role, tuple(group)) for _, group in groupby(parts, key=lambda part: type(part) is ToolResult)
        ]
    if all(part == Text("") for message in messages for part in message.parts):
        raise BadParameter("'messages' are all empty. Send at least one with content.", "messages")
    return tuple(messages)


def blocks(given: str | list[Any], path: str, role: str) -> Iterator[Part]:
    """The parts of content."""
    if isinstance(given, str):
        yield Text(given)
        return
    for index, each in enumerate(given):
        where = f"{path}[{index}]"
        kind = kind_of(each, where)
        if kind == "redacted_thinking" and role == "assistant":
            if opaque := unpacked(convert(each, Sealed, where).data):
                yield Reasoning("", opaque)
        else:
            yield block(kind, each, where, role)


def block(kind: str, given: Any, path: str, role: str) -> Part:
    """One part; which kinds there may be depends on who speaks."""
    match kind, role:
        case "text", _:
            return Text(convert(given, TextBlock, path).text)
        case "thinking", "assistant":
            thought = convert(given, Thought, path)
            return Reasoning(thought.thinking, unpacked(thought.signature))
        case "tool_use", "assistant":
            use = convert(given, ToolUse, path)
            return ToolCall(use.id, use.name, dumps(use.input).decode())
        case "tool_result", "user":
            result = convert(given, Result, path)
            said = result.content or ""
            inside = tuple(blocks(said, f"{path}.content", "tool"))
            return ToolResult(result.tool_use_id, inside)  # type: ignore[arg-type]  # a tool's blocks are of these
        case "image", "user" | "tool":
            return image(convert(given, Sourced, path).source, f"{path}.source")
        case "document", "user" | "tool":
            return document(convert(given, Sourced, path), f"{path}.source")
    raise Unsupported(f"Content of type '{kind}' in a message of the role '{role}'", path)


def image(source: Source, path: str) -> Image:
    """A picture. Raises Unsupported where it is named, not sent."""
    return Image(source.media_type or "image/png", inline(source, path))


def document(given: Sourced, path: str) -> File | Text:
    """A document: plain text is text, and keeps its title."""
    source = given.source
    if source.type == "text" and source.data is not None:
        return Text(f"{given.title}\n\n{source.data}" if given.title else source.data)
    if source.type == "content" and isinstance(source.content, str):
        return Text(source.content)
    return File(given.title, source.media_type or "application/pdf", inline(source, path))


def inline(source: Source, path: str) -> str:
    """The base64 of a source."""
    if source.type == "url":
        raise Unsupported("Fetching a URL", path, "Send the data itself, as a source of the type 'base64'.")
    if source.type != "base64":
        raise Unsupported(f"A source of type '{source.type[:50]}'", path, "Send the data itself, as 'base64'.")
    if source.data is None:
        raise BadParameter(f"'{path}.data' is missing.", f"{path}.data")
    return base64(source.data, f"{path}.data")
