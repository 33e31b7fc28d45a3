"""Fields that single servers add to chat completions and Responses: read strictly, handed on as they came. Pure.

A backend is sent those that it has among its own (Backend.extras), and no others. Names and meanings are vLLM's, which
other servers took over: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
"""

from operator import attrgetter
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import EmbeddingRequest, Request
from proxy.wire.tool_limits import checked_schema

Texts = Annotated[list[str], Meta(max_length=1024)]
Tokens = Annotated[list[int], Meta(max_length=4096)]


class RouteWish(Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller wants of the way to an answer: who waits for it, what may become of its texts, how long it may take
    and what it may cost.

    `when_spent` is what is tried when all quota of free/… is spent, in which order; None leaves that to the operator,
    and more than the operator allows is left out. `deadline_ms` is the time until the first token; nobody keeps less
    than a quarter of a second. With `max_cost_usd_micros`, in millionths of a dollar, only who cannot cost more is
    asked. `hedge` allows that a second model is asked when the first is slow, where the operator does; None leaves it
    to him.
    """

    work: Literal["interactive", "agent", "batch"] = "interactive"
    data: Literal["any", "no_training", "confidential"] = "any"
    when_spent: tuple[Literal["wait", "local", "paid"], ...] | None = None
    deadline_ms: Annotated[int, Meta(ge=250, le=86_400_000)] | None = None
    max_cost_usd_micros: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    hedge: bool | None = None


class Extras(Struct, frozen=True, kw_only=True):
    """Each is None where it was not sent. The first eight shape the answer: backends.capabilities.GUIDES.

    `sl_route` is ours, and no backend's.
    """

    structured_outputs: dict[str, Any] | None = None
    guided_json: str | dict[str, Any] | None = None
    guided_regex: Annotated[str, Meta(max_length=16_384)] | None = None
    guided_choice: Texts | None = None
    guided_grammar: Annotated[str, Meta(max_length=131_072)] | None = None
    allowed_token_ids: Tokens | None = None
    continue_final_message: bool | None = None
    documents: Annotated[list[dict[str, Any]], Meta(max_length=1024)] | None = None

    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    cache_salt: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    length_penalty: float | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    stop_token_ids: Tokens | None = None
    bad_words: Texts | None = None
    add_generation_prompt: bool | None = None
    add_special_tokens: bool | None = None
    repetition_detection: dict[str, Any] | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1, le=10_000_000)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    thinking_token_budget: Annotated[int, Meta(ge=0, le=10_000_000)] | None = None
    include_reasoning: bool | None = None
    sl_route: RouteWish | None = None


NAMES = Extras.__struct_fields__
VALUES = attrgetter(*NAMES)


def extras_of(fields: Extras) -> dict[str, Any]:
    """Those that were sent, by name. Raises BadParameter for an object that no backend could bear."""
    sent = {name: value for name, value in zip(NAMES, VALUES(fields), strict=True) if value is not None}
    for name, value in sent.items():
        if isinstance(value, dict):
            checked_schema(value, name)
    return sent


NO_WISH = RouteWish()


def wish_of(request: Request | EmbeddingRequest) -> RouteWish:
    """What the caller said of the way; the defaults where that is nothing."""
    found = request.extras.get("sl_route") if isinstance(request, Request) else None
    return found if isinstance(found, RouteWish) else NO_WISH
