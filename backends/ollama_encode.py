"""Ollama's own API: the bodies of requests. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from backends.chat_encode import tool
from backends.errors import UnsupportedFeature
from backends.json import JsonError, loads
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    text_of,
)

DIALECT = "ollama"  # of the Signature that ends its thinking
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "seed")
LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}  # ours: theirs
NO_LEVELS: frozenset[str] = frozenset()

Json: TypeAlias = dict[str, Any]


def encode(
    request: Request,
    *,
    num_ctx: int | None = None,
    keep_alive: str | None = None,
    levels: frozenset[str] | None = NO_LEVELS,
) -> Json:
    """The body of a streamed chat, or of a generation where the request has a prompt. What is open is left out.

    `num_ctx` and `keep_alive` are the backend's own settings. `levels` are those of thinking that the model knows;
    others think or do not. None: it is known not to think, and would refuse a request that speaks of it.
    """
    body: Json = {
        "model": request.model,
        "stream": True,
        # By default Ollama cuts the beginning off a conversation that is too long, and goes on.
        "truncate": False,
        "shift": False,
        "options": options(request, num_ctx),
    }
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.format is not None:
        body["format"] = "json" if request.format.schema is None else request.format.schema
    if levels is not None and (effort := request.reasoning_effort) is not None:
        body["think"] = level if (level := LEVELS.get(effort)) in levels else effort != "none"
    return body | (chat(request) if request.prompt is None else raw(request))


def options(request: Request, num_ctx: int | None) -> Json:
    """How the model is run. It does not stop by itself at `num_predict` -1, which is Ollama's default."""
    found: Json = {"num_predict": request.max_output_tokens}
    if num_ctx is not None:
        found["num_ctx"] = num_ctx
    if request.stop:
        found["stop"] = list(request.stop)
    for name in SAMPLING:
        if (value := getattr(request.sampling, name)) is not None:
            found[name] = value
    return found


def raw(request: Request) -> Json:
    """What only a generation has. A suffix needs the model's own template for it, so nothing is raw then."""
    assert request.prompt is not None
    if request.prompt.suffix is not None:
        return {"prompt": request.prompt.text, "suffix": request.prompt.suffix}
    return {"prompt": request.prompt.text, "raw": True}


def chat(request: Request) -> Json:
    """What only a chat has."""
    names: dict[str, str] = {}  # of the calls so far, by id: some servers begin anew with every answer
    body: Json = {"messages": []}
    for message in request.messages:
        names |= {part.id: part.name for part in message.parts if isinstance(part, ToolCall)}
        body["messages"] += messages(message, names)
    if request.tools and request.tool_choice != "none":
        if request.tool_choice != "auto":
            raise UnsupportedFeature("a tool that must be called", "tool_choice")
        body["tools"] = [tool(each) for each in request.tools]
    return body


def messages(message: Message, names: Mapping[str, str]) -> Iterator[Json]:
    """One of our messages as one or more of theirs: the result of a tool is a message of its own.

    `names` are those of the tools that were called, by the call's id.
    """
    if message.role == "assistant":
        yield from assistant(message.parts)
        return
    left: list[Part] = []
    results = False
    for part in message.parts:
        if isinstance(part, ToolResult):
            if left and not results:
                yield said(message.role, left)
                left = []
            results = True
            yield said("tool", part.parts) | {"tool_name": names.get(part.call_id, ""), "tool_call_id": part.call_id}
        else:
            left.append(part)
    if left or not results:
        yield said(message.role, left)


def said(role: str, parts: Sequence[Part]) -> Json:
    """A message with its pictures beside the text. Raises UnsupportedFeature for what it has no place for."""
    found: Json = {"role": role, "content": text_of(tuple(parts))}
    images: list[str] = []
    for part in parts:
        match part:
            case Image(data=data):
                images.append(data)
            case Audio():
                raise UnsupportedFeature("audio", "input")
            case File():
                raise UnsupportedFeature("files", "input")
    return found | {"images": images} if images else found


def assistant(parts: tuple[Part, ...]) -> Iterator[Json]:
    """What the model said and called, and what it thought if it was thought there. A message of nothing is left out."""
    calls = [call(part) for part in parts if isinstance(part, ToolCall)]
    thought = "".join(
        part.text for part in parts if isinstance(part, Reasoning) and part.opaque and part.opaque.provider == DIALECT
    )
    if not (calls or thought or not parts or any(isinstance(part, Text | Refusal) for part in parts)):
        return
    message: Json = {"role": "assistant", "content": text_of(parts)}
    if thought:
        message["thinking"] = thought
    if calls:
        message["tool_calls"] = calls
    yield message


def call(part: ToolCall) -> Json:
    """Arguments are an object here: of what is none, nothing can be said."""
    try:
        arguments = loads(part.arguments)
    except JsonError:
        arguments = None
    function = {"name": part.name, "arguments": arguments if isinstance(arguments, dict) else {}}
    return {"id": part.id, "function": function}


def encode_embedding(request: EmbeddingRequest, *, num_ctx: int | None = None, keep_alive: str | None = None) -> Json:
    """The body of a request for vectors. A text that is too long is refused, not cut."""
    if not all(isinstance(text, str) for text in request.inputs):
        raise UnsupportedFeature("token ids in place of texts", "input")
    body: Json = {"model": request.model, "input": request.inputs, "truncate": False}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if num_ctx is not None:
        body["options"] = {"num_ctx": num_ctx}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    return body
