"""Input items of the Responses API: checked, written in one form, and read as the messages of a conversation. Pure.

Output items have the same form, so a conversation is continued from what was asked and answered before.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.json import dumps
from backends.request import Message, Part, Reasoning, Refusal, Role, ToolCall, ToolResult
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.opaque import unpacked
from proxy.wire.responses_parts import checked, parts_of
from proxy.wire.tool_names import model_name

ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
CallId = Annotated[str, Meta(min_length=1, max_length=512)]
Item = dict[str, Any]
CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")


class MessageItem(Struct, frozen=True, kw_only=True):
    """The easy form ({role, content}) and the full one ({type: message, …}) in one."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Any]


class FunctionCall(Struct, frozen=True, kw_only=True):
    """The model asked for a function."""

    call_id: CallId
    name: ToolName
    namespace: ToolName | None = None
    arguments: str


class CustomCall(Struct, frozen=True, kw_only=True):
    """The model asked for a tool that takes free text."""

    call_id: CallId
    name: ToolName
    namespace: ToolName | None = None
    input: str


class CallOutput(Struct, frozen=True, kw_only=True):
    """What the client's tool gave back."""

    call_id: CallId
    output: str | list[Any]


class Thought(Struct, frozen=True, kw_only=True):
    """A piece of a reasoning item."""

    text: str


class ReasoningItem(Struct, frozen=True, kw_only=True):
    """What the model thought. `encrypted_content` is what its provider wants back, if we packed it."""

    summary: list[Thought] = []
    content: list[Thought] | None = None
    encrypted_content: str | None = None


def checked_items(given: str | list[Any], new_id: Callable[[str], str]) -> tuple[Item, ...]:
    """`input` in one form, each item with its `id`, given or new. Raises BadParameter or Unsupported."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    items = tuple(checked_item(item, f"input[{index}]", new_id) for index, item in enumerate(given))
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item["id"] in seen:  # pages of items are found by it: the next one would begin before the last
            raise BadParameter(f"Two items have the id '{item['id'][:100]}'.", f"input[{index}].id")
        seen.add(item["id"])
    return items


def checked_item(item: Any, path: str, new_id: Callable[[str], str]) -> Item:
    """One item."""
    reference = isinstance(item, dict) and set(item) - {"type"} == {"id"}
    kind = kind_of(item, path, default="item_reference" if reference else "message")
    match kind:
        case "message":
            prefix, members = "msg", checked_message(convert(item, MessageItem, path), path)
        case "function_call":
            call = convert(item, FunctionCall, path)
            prefix, members = "fc", {**called(call), "arguments": call.arguments}
        case "custom_tool_call":
            custom = convert(item, CustomCall, path)
            prefix, members = "ctc", {**called(custom), "input": custom.input}
        case "function_call_output" | "custom_tool_call_output":
            output = convert(item, CallOutput, path)
            said = output.output if isinstance(output.output, str) else checked(output.output, "tool", f"{path}.output")
            prefix, members = "fco" if kind[0] == "f" else "ctco", {"call_id": output.call_id, "output": said}
        case "reasoning":
            prefix, members = "rs", checked_reasoning(convert(item, ReasoningItem, path))
        case "item_reference":
            raise Unsupported(
                "Referring to an item by its id", path, "Send the item itself, or 'previous_response_id'."
            )
        case _:
            raise Unsupported(f"An input item of type '{kind}'", path)
    given_id = item.get("id")
    if given_id is not None and not (isinstance(given_id, str) and 0 < len(given_id) <= 512):
        raise BadParameter(f"'{path}.id' must be a string of 1 to 512 characters.", f"{path}.id")
    return {"id": given_id or new_id(prefix), "type": kind, **members, "status": "completed"}


def called(call: FunctionCall | CustomCall) -> Item:
    """Which tool, and under which id."""
    namespace = {} if call.namespace is None else {"namespace": call.namespace}
    return {"call_id": call.call_id, "name": call.name, **namespace}


def checked_message(message: MessageItem, path: str) -> Item:
    """Who said it, and the parts."""
    return {"role": message.role, "content": checked(message.content, message.role, f"{path}.content")}


def checked_reasoning(item: ReasoningItem) -> Item:
    """Its texts, and what only its provider can read."""
    members: Item = {"summary": [{"type": "summary_text", "text": each.text} for each in item.summary]}
    if item.content is not None:
        members["content"] = [{"type": "reasoning_text", "text": each.text} for each in item.content]
    if item.encrypted_content is not None:
        members["encrypted_content"] = item.encrypted_content
    return members


def messages_of(items: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The conversation that checked input items and output items of ours make, in their order.

    What a model said and called in one go is one message, as are the results of its calls. Left out are reasoning that
    nothing of the model's follows, because it would be a turn without a word, and calls that were cut and never run.
    """
    items = tuple(items)
    answered = {item["call_id"] for item in items if item["type"] in OUTPUTS}
    messages: list[Message] = []
    model: list[Part] = []  # of the assistant's message that is not complete yet
    results: list[Part] = []

    def flush() -> None:
        if any(not isinstance(part, Reasoning) for part in model):
            messages.append(Message("assistant", tuple(model)))
        if results:
            messages.append(Message("user", tuple(results)))
        model.clear()
        results.clear()

    for item in items:
        kind = item["type"]
        if kind in OUTPUTS:
            if model:
                flush()
            said = tuple(part for part in parts_of(item["output"]) if not isinstance(part, Refusal))
            results.append(ToolResult(item["call_id"], said))
        elif kind == "message" and item["role"] != "assistant":
            flush()
            # OpenAI: developer messages are what system messages were called before; servers know the older word.
            role: Role = "user" if item["role"] == "user" else "system"
            messages.append(Message(role, parts_of(item["content"])))
        elif item.get("status") != "incomplete" or kind not in CALLS or item["call_id"] in answered:
            if results:
                flush()
            model.extend(model_parts(item))
    flush()
    return tuple(messages)


def model_parts(item: Mapping[str, Any]) -> tuple[Part, ...]:
    """What an item of the model's adds to its message."""
    match item["type"]:
        case "message":
            return parts_of(item["content"])
        case "function_call":
            return (ToolCall(item["call_id"], model_name(item.get("namespace"), item["name"]), item["arguments"]),)
        case "custom_tool_call":
            named = model_name(item.get("namespace"), item["name"])
            return (ToolCall(item["call_id"], named, wrapped(item["input"])),)
        case _:
            # A provider checks its signature against the text as it was: what is sent back is not touched.
            text = "\n".join(each["text"] for each in item.get("content") or item.get("summary") or ())
            opaque = unpacked(item.get("encrypted_content"))
            return (Reasoning(text, opaque),) if text or opaque else ()


def wrapped(text: str) -> str:
    """A custom tool's text as the arguments of the function that models see in its place."""
    return dumps({"input": text}).decode()
