"""What each API takes in a body, as a JSON schema made from the types that its parser reads with. Pure.

A parser reads the top level with one type and what stands inside with others, by its `type` or `role`: `INSIDE` says
which, so that the schema shows the whole.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from backends.json import dumps, loads
from proxy.reference.client_events import CreateEvent
from proxy.wire import (
    chat_messages,
    chat_parts,
    chat_request,
    completions_request,
    embeddings,
    feedback,
    messages_content,
    messages_request,
    responses_format,
    responses_input,
    responses_params,
    responses_parts,
    responses_request,
    responses_tools,
)

Json = dict[str, Any]
REF = "#/components/schemas/"
LONG_NAME = re.compile(r"proxy\.wire\.[a-z]+_([a-z]+)\.(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """What may stand in a member: one of these types, told apart by `key`; each has the words that mean it.

    `text`: or a string. `many`: a list of them. `default`: the word of one that says none. `nested`: the members stand
    one level down, under the word.
    """

    types: Mapping[type[Struct], tuple[str, ...]]
    key: str = "type"
    text: bool = False
    many: bool = True
    default: str | None = None
    nested: bool = False
    plain: tuple[str, ...] = ()  # words without members


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The body of one API. `ignored` are members without effect; `inside` is by type and member; `more` are members of
    which no type says enough.
    """

    name: str
    body: type[Struct]
    ignored: Collection[str]
    inside: Mapping[tuple[type[Struct], str], Kinds]
    more: Mapping[str, Json] = field(default_factory=dict)


_PARTS = Kinds(
    types={
        responses_parts.TextPart: ("input_text", "output_text", "text"),
        responses_parts.ImagePart: ("input_image",),
        responses_parts.FilePart: ("input_file",),
        responses_parts.AudioPart: ("input_audio",),
        responses_parts.RefusalPart: ("refusal",),
    },
    text=True,
)
_TOOLS: Mapping[type[Struct], tuple[str, ...]] = {
    responses_tools.Function: ("function",),
    responses_tools.Custom: ("custom",),
}
_FORMAT = Kinds(types={responses_format.SchemaFormat: ("json_schema",)}, many=False, plain=("text", "json_object"))
_ITEMS = Kinds(
    types={
        responses_input.MessageItem: ("message",),
        responses_input.FunctionCall: ("function_call",),
        responses_input.CustomCall: ("custom_tool_call",),
        responses_input.CallOutput: ("function_call_output", "custom_tool_call_output"),
        responses_input.ReasoningItem: ("reasoning",),
    },
    text=True,
    default="message",
)


def _responses(body: type[Struct]) -> Mapping[tuple[type[Struct], str], Kinds]:
    return {
        (body, "input"): _ITEMS,
        (body, "tools"): Kinds(types={**_TOOLS, responses_tools.Namespace: ("namespace",)}),
        (responses_tools.Namespace, "tools"): Kinds(types=_TOOLS),
        (body, "text"): Kinds(types={responses_format.TextConfig: ()}, many=False),
        (body, "reasoning"): Kinds(types={responses_format.Reasoning: ()}, many=False),
        (responses_format.TextConfig, "format"): _FORMAT,
        (responses_input.MessageItem, "content"): _PARTS,
        (responses_input.CallOutput, "output"): _PARTS,
    }


_CHAT_PARTS = Kinds(
    types={
        chat_parts.TextPart: ("text",),
        chat_parts.ImagePart: ("image_url",),
        responses_parts.AudioPart: ("input_audio",),
        chat_parts.FilePart: ("file",),
        responses_parts.RefusalPart: ("refusal",),
    },
    text=True,
)
_CHAT: Mapping[tuple[type[Struct], str], Kinds] = {
    (chat_request.Body, "messages"): Kinds(
        types={
            chat_messages.Said: ("system", "developer", "user"),
            chat_messages.Answered: ("assistant",),
            chat_messages.Returned: ("tool",),
        },
        key="role",
    ),
    (chat_request.Body, "tools"): Kinds(types=_TOOLS, nested=True),
    (chat_request.Body, "response_format"): Kinds(
        types={responses_format.Schema: ("json_schema",)}, many=False, nested=True, plain=("text", "json_object")
    ),
    (chat_messages.Said, "content"): _CHAT_PARTS,
    (chat_messages.Answered, "content"): _CHAT_PARTS,
    (chat_messages.Returned, "content"): _CHAT_PARTS,
}
_BLOCKS = Kinds(
    types={
        messages_content.TextBlock: ("text",),
        messages_content.Sourced: ("image", "document"),
        messages_content.ToolUse: ("tool_use",),
        messages_content.Result: ("tool_result",),
        messages_content.Thought: ("thinking",),
    },
    text=True,
)


def _messages(body: type[Struct]) -> Mapping[tuple[type[Struct], str], Kinds]:
    return {
        (body, "messages"): Kinds(types={messages_content.Turn: ()}),
        (body, "system"): Kinds(types={messages_content.TextBlock: ("text",)}, text=True),
        (body, "tools"): Kinds(types={messages_request.Given: ("custom",)}, default="custom"),
        (messages_content.Turn, "content"): _BLOCKS,
    }


_WITHOUT_EFFECT = responses_params.IGNORED | (responses_params.SUPPORTED - {*responses_request.Body.__struct_fields__})
_CHOICE: Json = {"anyOf": [{"enum": [*responses_tools.WORDS, None]}, {"type": "object"}], "default": None}
_MORE: Mapping[str, Json] = {  # what is read without a type
    "tool_choice": _CHOICE,
    "include": {
        "anyOf": [{"type": "array", "items": {"enum": sorted(responses_params.INCLUDES)}}, {"type": "null"}],
        "default": None,
    },
}
RESPONSES = Asked(
    name="Responses",
    body=responses_request.Body,
    ignored=_WITHOUT_EFFECT - {"stream"},
    inside=_responses(responses_request.Body),
    more={"stream": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}, **_MORE},
)
CREATE = Asked(
    name="Create",
    body=CreateEvent,
    ignored=_WITHOUT_EFFECT - {"stream_id", "type"},
    inside=_responses(CreateEvent),
    more={"background": {"enum": [False, None], "default": None, "description": "Only over HTTP."}, **_MORE},
)
CHAT = Asked(
    name="Chat", body=chat_request.Body, ignored=chat_request.IGNORED, inside=_CHAT, more={"tool_choice": _CHOICE}
)
COMPLETIONS = Asked(
    name="Completion",
    body=completions_request.Body,
    ignored=completions_request.IGNORED,
    inside={},
    more={"prompt": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}},
)
_TOKENS: Json = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_TEXT: Json = {"type": "string", "minLength": 1}
EMBEDDINGS = Asked(
    name="Embeddings",
    body=embeddings.Body,
    ignored=embeddings.IGNORED,
    inside={},
    more={
        "input": {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": embeddings.MOST_INPUTS},
                _TOKENS,
                {"type": "array", "items": _TOKENS, "minItems": 1, "maxItems": embeddings.MOST_INPUTS},
            ]
        }
    },
)
FEEDBACK = Asked(name="Feedback", body=feedback.Body, ignored=(), inside={})
MESSAGES = Asked(
    name="Messages",
    body=messages_request.Body,
    ignored=messages_request.IGNORED,
    inside=_messages(messages_request.Body),
)
COUNT = Asked(
    name="Count",
    body=messages_request.Prompt,
    ignored=messages_request.KNOWN - {*messages_request.REFUSED} - {*messages_request.Prompt.__struct_fields__},
    inside=_messages(messages_request.Prompt),
)


def schemas_of(asked: Asked, ref: str = REF) -> dict[str, Json]:
    """Its schemas by name, each beginning with the API's; the body's own is NAMERequest. They refer with `ref`NAME."""
    types = {each for kinds in asked.inside.values() for each in kinds.types}
    ordered = [asked.body, *sorted(types, key=lambda each: each.__name__)]
    _, components = msgspec.json.schema_components(ordered, ref_template=f"{ref}{asked.name}{{name}}")
    made: dict[str, Json] = loads(LONG_NAME.sub(_shortened, dumps(components).decode()))
    names = {each: _name(each, made) for each in ordered}
    for kinds in asked.inside.values():
        for each, words in kinds.types.items():
            if words and not kinds.nested:
                _say_kind(made[names[each]], kinds, words)
    for (holder, member), kinds in asked.inside.items():
        properties = made[names[holder]]["properties"]
        refs = {each: {"$ref": f"{ref}{asked.name}{names[each]}"} for each in kinds.types}
        properties[member] = _with(properties[member], _choices(kinds, refs))
    body = made.pop(asked.body.__name__)
    body.pop("description", None)
    properties = {**body["properties"], **asked.more}
    properties |= {name: {"description": "Accepted without effect."} for name in sorted(asked.ignored)}
    body |= {"title": f"{asked.name}Request", "properties": properties, "additionalProperties": False}
    return {
        f"{asked.name}Request": body,
        **{f"{asked.name}{name}": {**each, "title": f"{asked.name}{name}"} for name, each in made.items()},
    }


def _shortened(found: re.Match[str]) -> str:
    return found[1].title() + found[2]


def _name(each: type[Struct], made: Mapping[str, Json]) -> str:
    """What msgspec calls it: two types of one name have their modules before it."""
    if each.__name__ in made:
        return each.__name__
    return LONG_NAME.sub(_shortened, f"{each.__module__}.{each.__name__}")


def _say_kind(schema: Json, kinds: Kinds, words: tuple[str, ...]) -> None:
    said: Json = {"enum": [*words, None] if kinds.default in words else list(words)}
    schema["properties"] = {kinds.key: said, **{k: v for k, v in schema["properties"].items() if k != kinds.key}}
    if kinds.default not in words:
        schema["required"] = list(dict.fromkeys([kinds.key, *schema.get("required", [])]))


def _choices(kinds: Kinds, refs: Mapping[type[Struct], Json]) -> list[Json]:
    """What may stand there; `refs` are its types."""
    choices: list[Json] = []
    for each, words in kinds.types.items():
        if not kinds.nested:
            choices.append(refs[each])
        for word in words if kinds.nested else ():
            members = {kinds.key: {"enum": [word]}, word: refs[each]}
            choices.append({"type": "object", "properties": members, "required": [kinds.key, word]})
    if kinds.plain:
        plain = {kinds.key: {"enum": list(kinds.plain)}}
        choices.append({"type": "object", "properties": plain, "required": [kinds.key]})
    if kinds.many:
        choices = [{"type": "array", "items": choices[0] if len(choices) == 1 else {"anyOf": choices}}]
    return [{"type": "string"}, *choices] if kinds.text else choices


def _with(old: Json, choices: list[Json]) -> Json:
    """`old` with these choices; null stays possible where it was, and so does the default."""
    nullable = not old or any(each.get("type") == "null" for each in old.get("anyOf", ()))
    choices = [*choices, {"type": "null"}] if nullable else choices
    schema: Json = choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {**schema, **({"default": old["default"]} if "default" in old else {})}
