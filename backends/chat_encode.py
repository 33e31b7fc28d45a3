"""Chat and raw completions: the bodies of requests. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from backends.request import (
    NO_CHOICE,
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    text_of,
)

SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
WORDS = (Text, Refusal, Reasoning)

Json: TypeAlias = dict[str, Any]


def encode(request: Request, *, thoughts: bool = False) -> Json:
    """The body of a streamed chat completion; of a raw one where the request has a prompt. What is open is left out.

    With `thoughts`, what a model thought before it called a tool goes back to it.
    """
    body: Json = {
        "model": request.model,
        "max_tokens": request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.sampling != NO_CHOICE:
        body |= {name: value for name in SAMPLING if (value := getattr(request.sampling, name)) is not None}
    body |= chat(request) if request.prompt is None else raw(request)
    if thoughts and request.prompt is None:
        called = [each for each in body["messages"] if "tool_calls" in each]
        calling = [each for each in request.messages if any(isinstance(part, ToolCall) for part in each.parts)]
        for theirs, ours in zip(called, calling, strict=True):
            theirs["reasoning_content"] = thought(ours.parts)
    return body


def raw(request: Request) -> Json:
    """What only a raw completion has."""
    assert request.prompt is not None
    body: Json = {"prompt": request.prompt.text}
    if request.prompt.suffix is not None:
        body["suffix"] = request.prompt.suffix
    if request.top_logprobs is not None:
        body["logprobs"] = request.top_logprobs
    return body


def chat(request: Request) -> Json:
    """What only a chat completion has."""
    body: Json = {"messages": [theirs for message in request.messages for theirs in messages(message)]}
    if request.tools:
        body["tools"] = [tool(each) for each in request.tools]
        body["tool_choice"] = tool_choice(request.tool_choice)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.format is not None:
        body["response_format"] = response_format(request.format)
    if request.reasoning_effort is not None:
        body["reasoning_effort"] = request.reasoning_effort
    if request.top_logprobs is not None:
        # Asked for none beside the chosen tokens, llama.cpp's server gives nothing at all; the one more is left out.
        body |= {"logprobs": True, "top_logprobs": max(1, request.top_logprobs)}
    return body


def messages(message: Message) -> Iterator[Json]:
    """One of our messages as one or more of theirs: the result of a tool is a message of its own."""
    if message.role == "assistant":
        yield from assistant(message.parts)
        return
    # Chat completions take only text as a result: the pictures among them follow as the user's.
    left: list[Part] = []
    results = False
    for part in message.parts:
        if isinstance(part, ToolResult):
            if left and not results:
                yield said(message.role, left)
                left = []
            results = True
            yield {"role": "tool", "tool_call_id": part.call_id, "content": text_of(part.parts)}
            left += [inner for inner in part.parts if not isinstance(inner, Text)]
        else:
            left.append(part)
    if left or not results:
        yield said(message.role, left)


def said(role: str, parts: Sequence[Part]) -> Json:
    """A message without calls and results. A plain string wherever it is text alone: not every server takes parts."""
    if all(isinstance(part, WORDS) for part in parts):
        return {"role": role, "content": text_of(tuple(parts))}
    return {"role": role, "content": [content for part in parts if (content := content_part(part))]}


def assistant(parts: tuple[Part, ...]) -> Iterator[Json]:
    """What the model said and called. What it thought is left out, and so a message that was thought alone."""
    calls = [part for part in parts if isinstance(part, ToolCall)]
    rest = [part for part in parts if not isinstance(part, ToolCall | Reasoning)]
    if not calls:
        if rest or not parts:
            yield said("assistant", rest)
        return
    message = said("assistant", rest)
    if not rest:
        message["content"] = None
    message["tool_calls"] = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    yield message


def thought(parts: tuple[Part, ...]) -> str:
    """What was thought in these parts, and is no other provider's."""
    return "\n".join(part.text for part in parts if isinstance(part, Reasoning) and part.opaque is None)


def content_part(part: Part) -> Json | None:
    """None for what has no place among parts of content."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text}
        case Image(media_type, data, detail):
            url = {"url": f"data:{media_type};base64,{data}"}
            return {"type": "image_url", "image_url": url if detail is None else url | {"detail": detail}}
        case Audio(kind, data):
            return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
        case File(name, media_type, data):
            file = {"file_data": f"data:{media_type};base64,{data}"}
            return {"type": "file", "file": file if name is None else {"filename": name} | file}
    return None


def tool(tool: Tool) -> Json:
    """A function that may be called."""
    function: Json = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    # Servers differ on whether it may be missing; an object without properties is the same everywhere.
    function["parameters"] = {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def tool_choice(choice: ToolChoice) -> str | Json:
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedTool) else choice


def response_format(form: JsonFormat) -> Json:
    if form.schema is None:
        return {"type": "json_object"}
    schema: Json = {"name": form.name, "schema": form.schema}
    if form.description is not None:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}
