"""A Responses API create: from JSON to what the dispatcher runs. Pure.

https://platform.openai.com/docs/api-reference/responses/create. Its items, tools and formats are read in files of their
own; `responses_params` says what each parameter does.
"""

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from backends.request import Request, Sampling
from proxy.create import Create
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert
from proxy.wire.extras import Extras, extras_of
from proxy.wire.fields import check_names, refuse, stop_strings
from proxy.wire.responses_format import parse_reasoning, parse_text
from proxy.wire.responses_input import checked_items, messages_of
from proxy.wire.responses_params import INCLUDES, KNOWN, LOGPROBS, REFUSED
from proxy.wire.responses_tools import parse_tools

MAX_STOP = 16


class Body(Extras, frozen=True, kw_only=True):
    """The fields that have an effect, with their bounds. Types are strict: "1" is no number."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | list[Any] | None = None
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
    # OpenAI's metadata: 16 pairs, keys of 64 characters, values of 512.
    metadata: (
        Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
        | None
    ) = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Annotated[int, Meta(ge=1)] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    previous_response_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    store: bool | None = None
    generate: bool | None = None
    background: bool | None = None
    event_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None


def random_id(prefix: str) -> str:
    """An id that nobody guesses."""
    return f"{prefix}_{os.urandom(16).hex()}"


def parse_create(body: Mapping[str, Any], *, http: bool = False, new_id: Callable[[str], str] = random_id) -> Create:
    """Check and translate one create. `new_id` makes the ids of input items that have none.

    Raises BadParameter or Unsupported. Over `http` a response may run in the background; on a socket it may not.
    """
    fields = convert(check_names(body, KNOWN), Body, "")
    refuse(body, REFUSED)
    store = fields.store is not False
    refuse_background(fields.background, store, http)
    needs_input = fields.previous_response_id is None and fields.generate is not False
    if needs_input and not fields.input:
        raise BadParameter("'input' is missing. Send a string, or a list of messages.", "input")
    items = checked_items(fields.input or [], new_id)
    messages = messages_of(items)
    if needs_input and not messages:
        raise BadParameter("'input' holds no message.", "input")
    tools = parse_tools(fields.tools, fields.tool_choice)
    json_format, text = parse_text(fields.text)
    effort, reasoning = parse_reasoning(fields.reasoning)
    include = parse_include(fields.include)
    return Create(
        request=Request(
            model=fields.model,
            messages=messages,
            max_output_tokens=fields.max_output_tokens or 0,
            stop=stop_strings(fields.stop, "stop"),
            sampling=Sampling(
                temperature=fields.temperature,
                top_p=fields.top_p,
                top_k=fields.top_k,
                min_p=fields.min_p,
                presence_penalty=fields.presence_penalty,
                frequency_penalty=fields.frequency_penalty,
                seed=fields.seed,
            ),
            tools=tools.tools,
            tool_choice=tools.choice,
            parallel_tool_calls=fields.parallel_tool_calls,
            format=json_format,
            reasoning_effort=effort,
            top_logprobs=(fields.top_logprobs or 0) if fields.top_logprobs or LOGPROBS in include else None,
            extras=extras_of(fields),
        ),
        instructions=fields.instructions or None,
        items=items,
        shown={
            "metadata": fields.metadata or {},
            "tools": tools.shown,
            "tool_choice": tools.shown_choice,
            "parallel_tool_calls": fields.parallel_tool_calls is not False,
            "max_tool_calls": fields.max_tool_calls,
            "text": text,
            "reasoning": reasoning,
            "top_logprobs": fields.top_logprobs or 0,
            "previous_response_id": fields.previous_response_id,
            "background": bool(fields.background),
            "store": store,
        },
        custom_tools=tools.custom,
        namespaces=tools.namespaces,
        include=include,
        previous_response_id=fields.previous_response_id,
        store=store,
        generate=fields.generate is not False,
        background=bool(fields.background),
        event_id=fields.event_id,
    )


def refuse_background(background: bool | None, store: bool, http: bool) -> None:
    """Background responses are for clients that come back over HTTP. Raises Unsupported or BadParameter."""
    if background and not http:
        raise Unsupported("Background mode on a socket", "background", "POST /v1/responses takes it.")
    if background and not store:
        raise BadParameter("'background' needs 'store': a response that is not kept could never be read.", "store")


def parse_include(include: list[str] | None) -> frozenset[str]:
    """What else the client wants to see. Raises BadParameter for what nobody knows."""
    for index, name in enumerate(include or ()):
        if name not in INCLUDES:
            raise BadParameter(f"Unknown value '{name[:100]}' in 'include'.", f"include[{index}]")
    return frozenset(include or ())
