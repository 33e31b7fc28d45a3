"""Amazon Bedrock's Converse: the bodies of requests. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from backends.anthropic_encode import alternating, distinct, input_of, refuse, system_text
from backends.anthropic_models import budgeted, sampling, thinking
from backends.anthropic_schema import fitting
from backends.errors import UnsupportedFeature
from backends.json import dumps
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
)

DIALECT = "bedrock"  # of Opaque and Signature
REDACTED = "redacted."  # before the data of reasoning that is encrypted whole
IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
OFFICE = "application/vnd.openxmlformats-officedocument"
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    f"{OFFICE}.wordprocessingml.document": "docx",
    f"{OFFICE}.spreadsheetml.sheet": "xlsx",
}
NO_ID = re.compile(r"[^a-zA-Z0-9_.:-]")
NO_NAME = re.compile(r"[^a-zA-Z0-9()\[\]-]+")  # "no more than one" space in a row, which we spare ourselves
LONGEST_ID, LONGEST_NAME = 64, 200
FILLER = {"text": "."}  # where a text must be, and none was said

Json: TypeAlias = dict[str, Any]


def encode(request: Request) -> Json:
    """The body of converse-stream; the model is in its path. Raises UnsupportedFeature for what has no place in it."""
    refuse(request)
    claude = "claude" in request.model
    messages = Conversation().turns(request.messages)
    body: Json = {"messages": messages, "inferenceConfig": {"maxTokens": request.max_output_tokens}}
    if system := system_text(request.messages):
        body["system"] = [{"text": system}]
    if config := tools(request, messages):
        body["toolConfig"] = config
    inference: Json = body["inferenceConfig"]
    fields: Json = {}
    output: Json = {}
    if request.stop:
        inference["stopSequences"] = list(request.stop)
    if claude and request.reasoning_effort is not None:
        thought = thinking_of(request, request.reasoning_effort, messages)
        output |= thought.pop("output_config", {})
        fields |= thought
    knobs = knobs_of(request, claude, fields.get("thinking", {}).get("type") in {"enabled", "adaptive"})
    inference |= {
        theirs: knobs[ours] for ours, theirs in (("temperature", "temperature"), ("top_p", "topP")) if ours in knobs
    }
    if claude and "top_k" in knobs:
        fields["top_k"] = knobs["top_k"]
    if request.format is not None and request.format.schema is not None:
        schema: Json = {
            "schema": dumps(fitting(request.format.schema, "text.format")).decode(),
            "name": request.format.name,
        }
        if request.format.description:
            schema["description"] = request.format.description
        output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": schema}}
    if fields:
        body["additionalModelRequestFields"] = fields
    if output:
        body["outputConfig"] = output
    return body


def knobs_of(request: Request, claude: bool, thinks: bool) -> Json:
    if claude:
        return sampling(request.model, request.sampling, thinks)
    wanted = request.sampling
    knobs = {"temperature": wanted.temperature, "top_p": wanted.top_p}
    return {name: value for name, value in knobs.items() if value is not None}


def thinking_of(request: Request, effort: str, messages: Sequence[Json]) -> Json:
    """As in Anthropic's own API: a budget allows neither a forced tool nor a turn that went on without thinking."""
    results = any("toolResult" in block for block in messages[-1]["content"])
    thoughtless = results and (len(messages) < 2 or "reasoningContent" not in messages[-2]["content"][0])
    if budgeted(request.model) and (thoughtless or request.tool_choice not in {"auto", "none"}):
        return {}
    return thinking(request.model, effort, request.max_output_tokens)


class Conversation:
    """The turns of one request: they alternate, none is empty, and no two documents have the same name."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def turns(self, messages: Iterable[Message]) -> list[Json]:
        turns = alternating(
            {"role": message.role, "content": [block for part in message.parts for block in self.blocks(part)]}
            for message in distinct(messages)
            if message.role != "system"
        )
        for turn in turns:
            while turn["content"] and "reasoningContent" in turn["content"][-1]:  # a turn must not end with it
                turn["content"].pop()
        turns = alternating(turns)
        for turn in turns:
            content = turn["content"]
            if turn["role"] == "user":
                content.sort(key=lambda block: "toolResult" not in block)
            if any("document" in block for block in content) and not any("text" in block for block in content):
                content.append(FILLER)  # "you must also include a text field"
        if turns and turns[-1]["role"] == "assistant" and "text" in turns[-1]["content"][-1]:
            turns[-1]["content"][-1]["text"] = turns[-1]["content"][-1]["text"].rstrip()
        return turns if turns and turns[0]["role"] == "user" else [{"role": "user", "content": [FILLER]}, *turns]

    def blocks(self, part: Part) -> Iterator[Json]:
        """The block that holds a part; none where it is empty, or another's reasoning."""
        match part:
            case Text(text) | Refusal(text):
                if text.strip():  # "the text field in the ContentBlock object is blank"
                    yield {"text": text}
            case Reasoning(text, opaque):
                if opaque is not None and opaque.provider == DIALECT:
                    yield {"reasoningContent": thought(text, opaque.data)}
            case Image(media_type, data):
                if media_type not in IMAGES:
                    raise UnsupportedFeature("images of this type (JPEG, PNG, GIF and WebP it does)", "input")
                yield {"image": {"format": IMAGES[media_type], "source": {"bytes": data}}}
            case Audio(kind, data):
                yield {"audio": {"format": kind, "source": {"bytes": data}}}
            case File():
                yield self.document(part)
            case ToolCall(call_id, name, arguments):
                yield {"toolUse": {"toolUseId": checked(call_id), "name": name, "input": input_of(arguments)}}
            case ToolResult(call_id, parts):
                if any(isinstance(inner, Audio) for inner in parts):
                    raise UnsupportedFeature("audio in the result of a tool", "input")
                content = [block for inner in parts for block in self.blocks(inner)]
                yield {"toolResult": {"toolUseId": checked(call_id), "content": content or [FILLER]}}

    def document(self, part: File) -> Json:
        kind = DOCUMENTS.get(part.media_type)
        if kind is None:
            raise UnsupportedFeature("files of this type (PDF, text, HTML, CSV, Word and Excel it does)", "input")
        stem = NO_NAME.sub("-", part.name or "document").strip("-")[: LONGEST_NAME - 9] or "document"
        name = stem if stem not in self._names else f"{stem}-{len(self._names)}"
        self._names.add(name)
        return {"document": {"format": kind, "name": name, "source": {"bytes": part.data}}}


def thought(text: str, data: str) -> Json:
    if data.startswith(REDACTED):
        return {"redactedContent": data.removeprefix(REDACTED)}
    return {"reasoningText": {"text": text, "signature": data}}


def checked(call_id: str) -> str:
    return NO_ID.sub("_", call_id)[-LONGEST_ID:]


def tools(request: Request, messages: Sequence[Json]) -> Json:
    """The tools and the choice among them; {} for none. What was called must be declared, and is then in reach."""
    called = {block["toolUse"]["name"] for turn in messages for block in turn["content"] if "toolUse" in block}
    if request.tools and request.tool_choice == "none":
        if called:
            raise UnsupportedFeature("to call no tool once tools were called", "tool_choice")
        return {}
    declared = request.tools or tuple(Tool(name) for name in sorted(called))
    if not declared:
        return {}
    config: Json = {"tools": [{"toolSpec": tool(each)} for each in declared]}
    if isinstance(request.tool_choice, NamedTool):
        config["toolChoice"] = {"tool": {"name": request.tool_choice.name}}
    elif request.tools and request.tool_choice == "required":
        config["toolChoice"] = {"any": {}}
    return config


def tool(tool: Tool) -> Json:
    schema = {"type": "object", "properties": {}} | dict(tool.parameters or {})
    spec: Json = {"name": tool.name, "inputSchema": {"json": fitting(schema, "tools") if tool.strict else schema}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict:
        spec["strict"] = True
    return spec
