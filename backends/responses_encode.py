"""The Responses API: the bodies of requests, each with its whole conversation. Pure.

https://developers.openai.com/api/docs/api-reference/responses/create. Nothing is stored there: `store` is false, and
reasoning goes back as the encrypted items in which it came.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

from backends.json import JsonError, dumps, loads
from backends.openai_models import fitted, reasons
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

PROVIDER = "openai"  # of the reasoning that goes back
LEAST_OUTPUT = 16  # tokens; it refuses a tighter bound

Json: TypeAlias = dict[str, Any]


def expressible(request: Request) -> bool:
    """Whether this API has words for it: none for raw prompts, stop strings, recordings, and very short answers."""
    if request.prompt is not None or request.stop or request.max_output_tokens < LEAST_OUTPUT:
        return False
    return not any(map(recorded, request.messages))


def recorded(message: Message) -> bool:
    """Whether a recording is in it."""
    return any(
        isinstance(inner, Audio)
        for part in message.parts
        for inner in (part.parts if isinstance(part, ToolResult) else (part,))
    )


def encode(request: Request, summary: str | None = None) -> Json:
    """The body. `summary` asks for one of what the model thought, where it reasons. Seed and penalties are left out."""
    thinks = reasons(request.model)
    request = fitted(request, request.model)
    body: Json = {
        "model": request.model,
        "input": [item for message in request.messages for item in items(message)],
        "max_output_tokens": request.max_output_tokens,
        "store": False,
    }
    for name in ("temperature", "top_p"):
        if (value := getattr(request.sampling, name)) is not None:
            body[name] = value
    if request.tools:
        body["tools"] = [tool(each) for each in request.tools]
        body["tool_choice"] = tool_choice(request.tool_choice)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.format is not None:
        body["text"] = {"format": text_format(request.format)}
    reasoning = {"effort": request.reasoning_effort, "summary": summary if thinks else None}
    if any(reasoning.values()):
        body["reasoning"] = {name: value for name, value in reasoning.items() if value is not None}
    include = ["reasoning.encrypted_content"] if thinks else []  # an error with other models
    if request.top_logprobs is not None:
        body["top_logprobs"] = request.top_logprobs
        include.append("message.output_text.logprobs")
    if include:
        body["include"] = include
    return body


def items(message: Message) -> Iterator[Json]:
    """One of our messages as one or more of their items, in the order of its parts."""
    if message.role == "assistant":
        yield from said(message.parts)
        return
    content: list[Json] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            if content:
                yield {"type": "message", "role": message.role, "content": content}
                content = []
            yield {"type": "function_call_output", "call_id": part.call_id, "output": output(part)}
        elif (given := content_part(part)) is not None:
            content.append(given)
    if content:
        yield {"type": "message", "role": message.role, "content": content}


def said(parts: tuple[Part, ...]) -> Iterator[Json]:
    """What the model said, thought and called. Reasoning goes with what follows it: alone it would be an error."""
    content: list[Json] = []
    thoughts: list[Json] = []
    for part in parts:
        if isinstance(part, Reasoning):
            if (thought := reasoning_item(part)) is None:
                continue
            if content:
                yield {"type": "message", "role": "assistant", "content": content}
                content = []
            thoughts.append(thought)
            continue
        yield from thoughts
        thoughts = []
        if isinstance(part, ToolCall):
            if content:
                yield {"type": "message", "role": "assistant", "content": content}
                content = []
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
        elif isinstance(part, Text):
            content.append({"type": "output_text", "text": part.text})
        elif isinstance(part, Refusal):
            content.append({"type": "refusal", "refusal": part.text})
    if content:
        yield {"type": "message", "role": "assistant", "content": content}


def reasoning_item(part: Reasoning) -> Json | None:
    """The item that it came as; None for another provider's, and for what was never encrypted."""
    if part.opaque is None or part.opaque.provider != PROVIDER:
        return None
    try:
        kept = loads(part.opaque.data)
        item = {"type": "reasoning", "id": kept["id"], "encrypted_content": kept["encrypted_content"]}
    except (JsonError, KeyError, TypeError):  # a client may send anything
        return None
    return item | {"summary": [{"type": "summary_text", "text": part.text}] if part.text else []}


def kept(item_id: str, encrypted: str) -> Opaque:
    """What must come back of a reasoning item, as `reasoning_item` reads it."""
    return Opaque(PROVIDER, dumps({"id": item_id, "encrypted_content": encrypted}).decode())


def output(result: ToolResult) -> str | list[Json]:
    """What a tool gave back: plain text where it is one text alone."""
    if len(result.parts) == 1 and isinstance(result.parts[0], Text):
        return result.parts[0].text
    return [part for each in result.parts if (part := content_part(each)) is not None] or ""


def content_part(part: Part) -> Json | None:
    """A part of what the user's side says; None for what has no place there."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "input_text", "text": text}
        case Image(media_type, data, detail):
            url = f"data:{media_type};base64,{data}"
            return {"type": "input_image", "image_url": url, "detail": detail or "auto"}
        case File(name, media_type, data):
            file = {"type": "input_file", "file_data": f"data:{media_type};base64,{data}"}
            return file if name is None else file | {"filename": name}
    return None


def tool(tool: Tool) -> Json:
    """A function that may be called. Here, unlike in chat completions, it would be strict if nothing were said."""
    function: Json = {"type": "function", "name": tool.name, "strict": bool(tool.strict)}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    return function


def tool_choice(choice: ToolChoice) -> str | Json:
    return {"type": "function", "name": choice.name} if isinstance(choice, NamedTool) else choice


def text_format(form: JsonFormat) -> Json:
    if form.schema is None:
        return {"type": "json_object"}
    schema: Json = {"type": "json_schema", "name": form.name, "schema": form.schema}
    if form.description is not None:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return schema
