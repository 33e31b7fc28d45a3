"""The conversation of a chat completions request, as messages in parts. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import Message, Part, Reasoning, Refusal, Role, ToolCall, ToolResult
from proxy.errors import BadParameter, Unsupported
from proxy.wire.chat_parts import chat_parts
from proxy.wire.chat_reasoning import detailed
from proxy.wire.convert import convert
from proxy.wire.responses_input import wrapped

Content = str | list[Any] | None


class Said(Struct, frozen=True, kw_only=True):
    """What every message has. Its `name` tells speakers apart, for which no model of ours has a place: ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content = None


class Function(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1)]
    arguments: str


class Custom(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1)]
    input: str


class Call(Struct, frozen=True, kw_only=True):
    """A tool call of an earlier answer; `type` is missing in what some clients keep."""

    id: Annotated[str, Meta(min_length=1)]
    type: Literal["function", "custom"] = "function"
    function: Function | None = None
    custom: Custom | None = None


class Answered(Struct, frozen=True, kw_only=True):
    """An assistant's message. `reasoning_details` go before `reasoning_content`, which says the same again."""

    content: Content = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    function_call: Any = None
    audio: Any = None


class Returned(Struct, frozen=True, kw_only=True):
    """A tool's message."""

    tool_call_id: Annotated[str, Meta(min_length=1)]
    content: Content = None


def chat_messages(given: list[dict[str, Any]]) -> tuple[Message, ...]:
    """Every message in its order. Raises BadParameter or Unsupported."""
    if not given:
        raise BadParameter("'messages' must hold at least one message.", "messages")
    return tuple(chat_message(each, f"messages[{index}]") for index, each in enumerate(given))


def chat_message(given: dict[str, Any], path: str) -> Message:
    """One message in parts."""
    said = convert(given, Said, path)
    match said.role:
        case "assistant":
            return Message("assistant", answered(convert(given, Answered, path), path))
        case "tool":
            returned = convert(given, Returned, path)
            parts = tuple(
                part for part in chat_parts(returned.content, f"{path}.content") if not isinstance(part, Refusal)
            )
            return Message("user", (ToolResult(returned.tool_call_id, parts),))
        case "function":
            raise Unsupported("A message of the role 'function'", path)
        case "user":
            role: Role = "user"
        case _:  # OpenAI: developer messages are what system messages were called before; servers know the older word
            role = "system"
    if said.content is None:
        raise BadParameter(f"'{path}.content' is missing.", f"{path}.content")
    return Message(role, chat_parts(said.content, f"{path}.content"))


def answered(given: Answered, path: str) -> tuple[Part, ...]:
    """What the model said in an earlier turn, in the order in which it says it."""
    if given.function_call:
        raise Unsupported("The older way of calling functions (use 'tool_calls')", f"{path}.function_call")
    if given.audio:
        raise Unsupported("An answer that was spoken", f"{path}.audio")
    calls = [called(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(given.tool_calls or ())]
    details = [*detailed(given.reasoning_details or ())]
    first = [thought for belongs, thought in details if all(belongs != call.id for call in calls)]
    if not details and (reasoning := given.reasoning_content or given.reasoning):
        first = [Reasoning(reasoning)]
    parts: list[Part] = [*first, *chat_parts(given.content, f"{path}.content")]
    if given.refusal:
        parts.append(Refusal(given.refusal))
    for call in calls:
        parts += [thought for belongs, thought in details if belongs == call.id]
        parts.append(call)
    return tuple(parts)


def called(call: Call, path: str) -> ToolCall:
    """A call of a function; one of a custom tool in the form in which models see it."""
    if call.type == "function" and call.function:
        return ToolCall(call.id, call.function.name, call.function.arguments)
    if call.type == "custom" and call.custom:
        return ToolCall(call.id, call.custom.name, wrapped(call.custom.input))
    raise BadParameter(f"'{path}.{call.type}' is missing.", f"{path}.{call.type}")
