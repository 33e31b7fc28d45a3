"""Cohere's API, version 2: the bodies of requests. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from msgspec.structs import replace

from backends import chat_encode
from backends.errors import UnsupportedFeature
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
)

DIALECT = "cohere"  # of the Signature that ends its thinking, and its plan
PLAN, THINKING = "plan", "thinking"  # the data of that Signature
SAMPLING = {  # ours: theirs; there is no place for min_p
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
BUDGETS = {"minimal": 512, "low": 2048, "medium": 8192}  # tokens of thought; beyond: as long as the model likes
MOST_TEXTS = 96  # in one request for vectors, as the documentation has it

Json: TypeAlias = dict[str, Any]


def encode(request: Request, thinks: bool = True) -> Json:
    """The body of a streamed chat. What is open is left out. Raises UnsupportedFeature for what has no place.

    A model that is known not to think (`thinks`) is not asked for it.
    """
    if request.prompt is not None:
        raise UnsupportedFeature("raw completions", "prompt")
    if request.top_logprobs is not None:  # it gives numbers, but neither the tokens nor the others that were likely
        raise UnsupportedFeature("log probabilities", "top_logprobs")
    body: Json = {
        "model": request.model,
        "stream": True,
        "max_tokens": request.max_output_tokens,
        "messages": [theirs for message in request.messages for theirs in messages(message)],
    }
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    for ours, theirs in SAMPLING.items():
        if (value := getattr(request.sampling, ours)) is not None:
            body[theirs] = value
    if request.tools:
        body |= tools(request)
    if request.format is not None:
        body["response_format"] = {"type": "json_object"}
        if request.format.schema is not None:
            body["response_format"]["json_schema"] = request.format.schema
    if thinks and request.reasoning_effort is not None:
        body["thinking"] = thinking(request.reasoning_effort)
    return body


def tools(request: Request) -> Json:
    """The functions that may be called. One that must be is the only one that is offered."""
    if request.format is not None:
        raise UnsupportedFeature("a JSON format together with tools", "text.format")
    offered, choice = request.tools, request.tool_choice
    if isinstance(choice, NamedTool):
        offered, choice = tuple(tool for tool in offered if tool.name == choice.name), "required"
    found: Json = {"tools": [chat_encode.tool(replace(tool, strict=None)) for tool in offered]}
    if choice != "auto":
        found["tool_choice"] = choice.upper()
    if all(tool.strict for tool in offered):
        found["strict_tools"] = True
    return found


def thinking(effort: str) -> Json:
    if effort == "none":
        return {"type": "disabled"}
    budget = BUDGETS.get(effort)
    return {"type": "enabled"} if budget is None else {"type": "enabled", "token_budget": budget}


def messages(message: Message) -> Iterator[Json]:
    """One of our messages as one or more of theirs: what is not the assistant's is as in chat completions."""
    refuse(message.parts)
    if message.role == "assistant":
        yield from assistant(message.parts)
    else:
        yield from chat_encode.messages(message)


def refuse(parts: Sequence[Part]) -> None:
    """Raises UnsupportedFeature for what the API has no place for."""
    for part in parts:
        match part:
            case Audio():
                raise UnsupportedFeature("audio", "input")
            case File():
                raise UnsupportedFeature("files", "input")
            case ToolResult(parts=inner):
                refuse(inner)


def assistant(parts: tuple[Part, ...]) -> Iterator[Json]:
    """What the model said, planned and called, and what it thought if it was thought there."""
    plan = ""
    content: list[Json] = []
    calls: list[Json] = []
    for part in parts:
        match part:
            case Text(text) | Refusal(text) if text:
                content.append({"type": "text", "text": text})
            case Reasoning(text, opaque) if text and opaque is not None and opaque.provider == DIALECT:
                if opaque.data == PLAN:
                    plan += text
                else:
                    content.append({"type": "thinking", "thinking": text})
            case ToolCall(id=call_id, name=name, arguments=arguments):
                function = {"name": name, "arguments": arguments}
                calls.append({"id": call_id, "type": "function", "function": function})
    if not (plan or content or calls) and any(isinstance(part, Reasoning) for part in parts):
        return  # nothing is left of it
    message: Json = {"role": "assistant"}
    if content or not calls:
        message["content"] = content or ""
    if calls:
        message["tool_calls"] = calls
        if plan:
            message["tool_plan"] = plan
    yield message


def encode_embedding(request: EmbeddingRequest, texts: Sequence[str]) -> Json:
    """The body of a request for the vectors of some of its texts. One that is too long is refused, not cut.

    `input_type` must be given; "search_document" is that of texts which are kept and searched.
    """
    body: Json = {
        "model": request.model,
        "texts": texts,
        "input_type": "search_document",
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return body


def batches(request: EmbeddingRequest) -> list[list[str]]:
    """The texts, as many at once as it takes. Raises UnsupportedFeature for what is none."""
    texts = [text for text in request.inputs if isinstance(text, str)]
    if len(texts) != len(request.inputs):
        raise UnsupportedFeature("token ids in place of texts", "input")
    return [texts[start : start + MOST_TEXTS] for start in range(0, len(texts), MOST_TEXTS)]
