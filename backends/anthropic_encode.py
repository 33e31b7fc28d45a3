"""Anthropic's Messages: the bodies of requests, for its own API and where others host it. Pure."""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace

from backends.anthropic_models import budgeted, sampling, thinking
from backends.anthropic_schema import fitting
from backends.errors import UnsupportedFeature
from backends.json import JsonError, loads
from backends.request import (
    Audio,
    File,
    Image,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    text_of,
)

DIALECT = "anthropic"  # of Opaque and Signature
REDACTED = "redacted."  # before the data of a redacted_thinking block; a signature is base64, so never holds a dot
EXTRAS = frozenset({"cache_control", "service_tier", "metadata"})
IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
BEGIN = {"role": "user", "content": [{"type": "text", "text": "."}]}  # a conversation begins with the user's turn

Json: TypeAlias = dict[str, Any]


def encode(request: Request) -> Json:
    """The body of a streamed message. Raises UnsupportedFeature for what the API has no place for."""
    refuse(request)
    messages = conversation(request.messages)
    body: Json = {"model": request.model, "max_tokens": request.max_output_tokens, "stream": True, "messages": messages}
    if system := system_text(request.messages):
        body["system"] = system
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    body |= tools(request, messages)
    thought = {} if request.reasoning_effort is None else thinking_of(request, request.reasoning_effort, messages)
    body |= sampling(
        request.model, request.sampling, thought.get("thinking", {}).get("type") in {"enabled", "adaptive"}
    )
    body |= thought
    if request.format is not None and request.format.schema is not None:
        form = {"type": "json_schema", "schema": fitting(request.format.schema, "text.format")}
        body["output_config"] = {**body.get("output_config", {}), "format": form}
    return body | {name: value for name, value in request.extras.items() if name in EXTRAS}


def refuse(request: Request) -> None:
    """Raises UnsupportedFeature for what changes the answer and cannot be asked for."""
    if request.prompt is not None:
        raise UnsupportedFeature("raw prompts", "prompt")
    if request.top_logprobs is not None:
        raise UnsupportedFeature("log probabilities", "top_logprobs")
    if request.format is not None and request.format.schema is None:
        raise UnsupportedFeature("JSON without a schema", "text.format")
    if not all(stop.strip() for stop in request.stop):
        raise UnsupportedFeature("a stop string of white space alone", "stop")


def system_text(messages: Iterable[Message]) -> str:
    """What the system says, wherever it says it: only the newest models take it in the middle."""
    texts = [text_of(message.parts) for message in messages if message.role == "system"]
    return "\n\n".join(text for text in texts if text.strip())


def thinking_of(request: Request, effort: str, messages: Sequence[Json]) -> Json:
    """With a budget, neither a forced tool nor a turn that went on without thinking is allowed."""
    if budgeted(request.model) and (request.tool_choice not in {"auto", "none"} or thoughtless(messages)):
        return {}
    return thinking(request.model, effort, request.max_output_tokens)


def thoughtless(messages: Sequence[Json]) -> bool:
    """Whether the answer goes on with a turn whose calls came without a thought, from another model perhaps."""
    if not any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        return False
    return len(messages) < 2 or messages[-2]["content"][0]["type"] not in THOUGHTS


# The conversation.


def conversation(messages: Iterable[Message]) -> list[Json]:
    """Turns that alternate, none of them empty, results of tools first, as the API demands."""
    turns = alternating(
        {"role": message.role, "content": [block for part in message.parts for block in blocks(part)]}
        for message in distinct(messages)
        if message.role != "system"
    )
    for turn in turns:
        while turn["content"] and turn["content"][-1]["type"] in THOUGHTS:  # a turn must not end with them
            turn["content"].pop()
    turns = alternating(turns)
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        last = turns[-1]["content"][-1]
        last["text"] = last["text"].rstrip()  # it would be refused otherwise
    return turns if turns and turns[0]["role"] == "user" else [BEGIN, *turns]


def distinct(messages: Iterable[Message]) -> Iterator[Message]:
    """The same, each call under an id of its own: "`tool_use` ids must be unique", and other backends count anew."""
    taken: set[str] = set()
    renamed: dict[str, str] = {}  # theirs: that of the last such call
    for message in messages:
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                renamed[part.id] = new = f"{part.id}_{len(taken)}" if part.id in taken else part.id
                taken.add(new)
                parts.append(replace(part, id=new))
            elif isinstance(part, ToolResult):
                parts.append(replace(part, call_id=renamed.get(part.call_id, part.call_id)))
            else:
                parts.append(part)
        yield replace(message, parts=tuple(parts))


def alternating(turns: Iterable[Json]) -> list[Json]:
    """Without those that are empty; what one side says twice is one turn."""
    found: list[Json] = []
    for turn in turns:
        if turn["content"] and found and found[-1]["role"] == turn["role"]:
            found[-1]["content"] += turn["content"]
        elif turn["content"]:
            found.append(turn)
    return found


def blocks(part: Part) -> Iterator[Json]:
    """The block that holds a part; none where it is empty, or another's reasoning."""
    match part:
        case Text(text) | Refusal(text):
            if text.strip():  # "text content blocks must contain non-whitespace text"
                yield {"type": "text", "text": text}
        case Reasoning(text, opaque):
            if opaque is not None and opaque.provider == DIALECT:
                yield thought(text, opaque.data)
        case Image():
            yield image(part)
        case File():
            yield document(part)
        case Audio():
            raise UnsupportedFeature("audio", "input")
        case ToolCall(call_id, name, arguments):
            yield {"type": "tool_use", "id": checked(call_id), "name": name, "input": input_of(arguments)}
        case ToolResult(call_id, parts):
            content = [block for inner in parts for block in blocks(inner)]
            result = {"type": "tool_result", "tool_use_id": checked(call_id)}
            yield result | {"content": content} if content else result


def thought(text: str, data: str) -> Json:
    if data.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": data.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": text, "signature": data}


def image(part: Image) -> Json:
    if part.media_type not in IMAGES:
        raise UnsupportedFeature("images of this type (JPEG, PNG, GIF and WebP it does)", "input")
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}


def document(part: File) -> Json:
    if part.media_type == "application/pdf":
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    elif (text := plain_text(part)) is not None:
        source = {"type": "text", "media_type": "text/plain", "data": text}
    else:
        raise UnsupportedFeature("files of this type (PDF and text it does)", "input")
    block = {"type": "document", "source": source}
    return block if part.name is None else block | {"title": part.name}


def plain_text(part: File) -> str | None:
    """The text of a file of text; None for other files."""
    if not (part.media_type.startswith("text/") or part.media_type in {"application/json", "application/xml"}):
        return None
    return base64.b64decode(part.data).decode(errors="replace")


def checked(call_id: str) -> str:
    """Ids of other providers may hold what Anthropic refuses."""
    return NO_ID.sub("_", call_id)


def input_of(arguments: str) -> Json:
    """An object, also where the model wrote none."""
    try:
        found = loads(arguments) if arguments.strip() else {}
    except JsonError:
        found = arguments
    return found if isinstance(found, dict) else {"arguments": found}


# Tools.


def tools(request: Request, messages: Sequence[Json]) -> Json:
    """The tools and the choice among them. What was called must be declared, also where it must not be any more."""
    if request.tools:
        chosen = choice(request)
        if request.parallel_tool_calls is False and chosen["type"] != "none":
            chosen["disable_parallel_tool_use"] = True
        return {"tools": [tool(each) for each in request.tools], "tool_choice": chosen}
    called = {b["name"]: Tool(b["name"]) for m in messages for b in m["content"] if b["type"] == "tool_use"}
    return {"tools": [tool(each) for each in called.values()], "tool_choice": {"type": "none"}} if called else {}


def choice(request: Request) -> Json:
    if isinstance(request.tool_choice, NamedTool):
        return {"type": "tool", "name": request.tool_choice.name}
    return {"type": "any" if request.tool_choice == "required" else request.tool_choice}


def tool(tool: Tool) -> Json:
    schema = {"type": "object", "properties": {}} | dict(tool.parameters or {})
    theirs: Json = {"name": tool.name, "input_schema": fitting(schema, "tools") if tool.strict else schema}
    if tool.description:
        theirs["description"] = tool.description
    if tool.strict:
        theirs["strict"] = True
    return theirs


def prompt_of(body: Json) -> Json:
    """What of an encoded body its tokens are counted of: POST /v1/messages/count_tokens knows nothing else."""
    names = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")
    return {name: body[name] for name in names if name in body}
