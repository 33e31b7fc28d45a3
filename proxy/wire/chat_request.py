"""A chat completions request: from JSON to what the dispatcher runs. Pure.

https://platform.openai.com/docs/api-reference/chat/create. A feature that we do not speak is an error that names it
(REFUSED); a knob that only tunes is accepted and has no effect (IGNORED). docs/compatibility.md lists both.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta
from msgspec.structs import replace

from backends.request import Request, Sampling
from proxy.create import Create
from proxy.errors import BadParameter, Unsupported
from proxy.wire.chat_messages import chat_messages
from proxy.wire.chat_tools import chat_tools, response_format
from proxy.wire.convert import convert
from proxy.wire.extras import Extras, extras_of
from proxy.wire.fields import check_names, refuse, stop_strings

IGNORED = frozenset(
    {
        "logit_bias", "metadata", "prediction", "prompt_cache_key", "prompt_cache_options",
        "prompt_cache_retention", "safety_identifier", "service_tier", "store", "user", "verbosity",
    }
)  # fmt: skip
REFUSED = {
    "audio": "Speaking the answer",
    "function_call": "The older way of calling functions (use 'tools' and 'tool_choice')",
    "functions": "The older way of calling functions (use 'tools')",
    "moderation": "Moderation",
    "web_search_options": "Searching the web",
}
MOST_CHOICES = 8  # answers of one request; each is a generation of its own
MOST_STOPS = 16


class Knobs(Extras, frozen=True, kw_only=True):
    """What chat completions and completions share. Types are strict: "1" is no number."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.__struct_fields__})

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a chunk of usage."""
        return bool((self.stream_options or {}).get("include_usage"))


Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Body(Knobs, frozen=True, kw_only=True):
    """The members that have an effect, with their bounds."""

    messages: list[dict[str, Any]]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: Effort | None = None
    modalities: list[Literal["text", "audio"]] | None = None


EFFORTS: tuple[str, ...] = get_args(Effort)
KNOWN = IGNORED | set(REFUSED) | set(Body.__struct_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """One generation per choice, and how the client wants them."""

    creates: tuple[Create, ...]
    stream: bool
    include_usage: bool


def parse_chat(body: object) -> Choices:
    """Check and translate one request. Raises BadParameter or Unsupported."""
    fields_of = check_names(body, KNOWN)
    refuse(fields_of, REFUSED)
    effort = fields_of.get("reasoning_effort")
    if isinstance(effort, str) and effort not in EFFORTS:
        raise BadParameter(f"'reasoning_effort' must be one of {', '.join(EFFORTS)}.", "reasoning_effort")
    fields = convert(fields_of, Body, "")
    if "audio" in (fields.modalities or ()):
        raise Unsupported(REFUSED["audio"], "modalities")
    if fields.top_logprobs is not None and not fields.logprobs:
        raise BadParameter("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    tools = chat_tools(fields.tools, fields.tool_choice)
    request = Request(
        model=fields.model,
        messages=chat_messages(fields.messages),
        max_output_tokens=fields.max_completion_tokens or fields.max_tokens or 0,
        stop=stop_strings(fields.stop, "stop"),
        sampling=fields.sampling,
        tools=tools.tools,
        tool_choice=tools.choice,
        parallel_tool_calls=fields.parallel_tool_calls,
        format=response_format(fields.response_format),
        reasoning_effort=fields.reasoning_effort,
        top_logprobs=(fields.top_logprobs or 0) if fields.logprobs else None,
        extras=extras_of(fields),
    )
    return choices((request,), fields, tools.custom)


def choices(requests: tuple[Request, ...], knobs: Knobs, custom_tools: frozenset[str] = frozenset()) -> Choices:
    """`n` of each request. With a seed, each choice has its own: otherwise all would say the same."""
    n = knobs.n or 1
    if len(requests) * n > MOST_CHOICES:
        raise BadParameter(f"One request has at most {MOST_CHOICES} answers. Send several requests.", "n")
    return Choices(
        creates=tuple(
            Create(request=seeded(request, number), custom_tools=custom_tools, store=False)
            for request in requests
            for number in range(n)
        ),
        stream=bool(knobs.stream),
        include_usage=knobs.include_usage,
    )


def seeded(request: Request, number: int) -> Request:
    """The request for choice `number`."""
    seed = request.sampling.seed
    if seed is None or number == 0:
        return request
    return replace(request, sampling=replace(request.sampling, seed=seed + number))
