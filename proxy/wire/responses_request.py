"""A Responses API create: from JSON to what the dispatcher runs. Pure.

https://platform.openai.com/docs/api-reference/responses/create. A feature that we do not speak is an error that names
it; a knob that only tunes is accepted and has no effect (IGNORED).
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from backends.request import Message, Request, Role, Sampling, said
from proxy.create import Create
from proxy.errors import BadParameter, UnknownPrevious, Unsupported

IGNORED = frozenset(
    {
        "access_programs", "context_management", "event_id", "image", "include", "max_tool_calls", "moderation",
        "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
        "safety_identifier", "service_tier", "store", "stream", "stream_id", "stream_options", "truncation", "type",
        "user",
    }
)  # fmt: skip
MAX_STOP = 16
T = TypeVar("T")


class Body(Struct, frozen=True, kw_only=True):
    """The fields that have an effect, with their bounds. Types are strict: "1" is no number."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MAX_STOP)] | None = None
    metadata: dict[str, str] | None = None
    # Features that we do not speak: what they may hold is all that is checked.
    tools: list[Any] | None = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None
    background: bool | None = None
    generate: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    top_logprobs: int | None = None


KNOWN = IGNORED | set(Body.__struct_fields__)


class Item(Struct, frozen=True, kw_only=True):
    """An input message: the easy form ({role, content}) and the full one ({type: message, …}) in one."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    type: Literal["message"] | UnsetType = UNSET


class TextPart(Struct, frozen=True, kw_only=True):
    """Content that is text, whoever said it."""

    type: Literal["input_text", "output_text", "text"]
    text: str


class RefusalPart(Struct, frozen=True, kw_only=True):
    """What the model said instead of an answer."""

    type: Literal["refusal"]
    refusal: str


def parse_create(body: Mapping[str, Any]) -> Create:
    """Check and translate one create. Raises BadParameter, Unsupported or UnknownPrevious."""
    for key in body:
        if key not in KNOWN:
            near = get_close_matches(str(key)[:100], KNOWN, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise BadParameter(f"Unknown parameter: '{str(key)[:100]}'.{hint}", str(key)[:100])
    if not body.get("model"):
        raise BadParameter("'model' is missing. GET /v1/models lists what there is.", "model")
    fields = convert(body, Body, "")
    refuse_unsupported(fields)
    messages = parse_input(fields.input)
    return Create(
        request=Request(
            model=fields.model,
            messages=messages,
            max_output_tokens=fields.max_output_tokens or 0,
            stop=parse_stop(fields.stop),
            sampling=Sampling(
                temperature=fields.temperature,
                top_p=fields.top_p,
                top_k=fields.top_k,
                min_p=fields.min_p,
                presence_penalty=fields.presence_penalty,
                frequency_penalty=fields.frequency_penalty,
                seed=fields.seed,
            ),
        ),
        instructions=fields.instructions or None,
        shown={"metadata": fields.metadata or {}},
    )


def refuse_unsupported(body: Body) -> None:
    """Features that would change the answer are refused by name, never dropped silently."""
    if body.previous_response_id is not None:
        raise UnknownPrevious
    if body.tools:
        raise Unsupported("Calling tools", "tools")
    if body.tool_choice not in (None, "auto", "none"):
        raise Unsupported("Choosing a tool", "tool_choice")
    form = (body.text or {}).get("format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise Unsupported("Structured output", "text.format")
    if body.background:
        raise Unsupported("Background mode", "background")
    if body.generate is False:
        raise Unsupported("Warming up without generating", "generate")
    if body.conversation is not None:
        raise Unsupported("A stored conversation", "conversation")
    if body.prompt is not None:
        raise Unsupported("A stored prompt", "prompt")
    if body.top_logprobs:
        raise Unsupported("Returning log probabilities", "top_logprobs")


def parse_stop(stop: str | list[str] | None) -> tuple[str, ...]:
    """One stop string or several; an empty one would stop before the first token."""
    strings = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in strings:
        raise BadParameter("'stop' must not hold an empty string.", "stop")
    return strings


def parse_input(given: str | list[dict[str, Any]] | None) -> tuple[Message, ...]:
    """A string is one user message. Reasoning items of earlier turns are left out: models want only what was said."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not given:
        raise BadParameter("'input' is missing. Send a string, or a list of messages.", "input")
    messages = []
    for index, item in enumerate(given):
        path = f"input[{index}]"
        kind = item.get("type", "message")
        if kind == "reasoning":
            continue
        if kind != "message":
            raise Unsupported(f"An input item of type '{str(kind)[:50]}'", path)
        message = convert(item, Item, path)
        # OpenAI: developer messages are what system messages were called before; servers know the older word.
        role: Role = "system" if message.role == "developer" else message.role
        messages.append(said(role, parse_content(message.content, path)))
    if not messages:
        raise BadParameter("'input' holds no message.", "input")
    return tuple(messages)


def parse_content(content: str | list[dict[str, Any]], path: str) -> str:
    """The text of a message. Parts are lines of their own, as chat servers join them."""
    if isinstance(content, str):
        return content
    texts = []
    for index, part in enumerate(content):
        where = f"{path}.content[{index}]"
        kind = part.get("type")
        if kind in ("input_text", "output_text", "text"):
            texts.append(convert(part, TextPart, where).text)
        elif kind == "refusal":
            texts.append(convert(part, RefusalPart, where).refusal)
        elif isinstance(kind, str):
            raise Unsupported(f"Content of type '{kind[:50]}'", where)
        else:
            raise BadParameter(f"'{where}.type' is missing, expected \"input_text\".", f"{where}.type")
    return "\n".join(texts)


def convert(value: object, kind: type[T], path: str) -> T:
    """`value` as `kind`. Raises BadParameter with the field's path, in one short sentence."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = (path + where.rstrip("`")).lstrip(".") or path or "input"
        raise BadParameter(f"Invalid value for '{field}': {what[0].lower()}{what[1:200]}.", field) from None
