"""A request of Anthropic's Messages API: from JSON to what the dispatcher runs. Pure.

https://docs.anthropic.com/en/api/messages. A feature that we do not speak is an error that names it (REFUSED); a knob
that only tunes is accepted and has no effect (IGNORED). docs/compatibility.md lists both.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import JsonFormat, Message, NamedTool, Request, Sampling, Tool, ToolChoice
from proxy.create import Create
from proxy.errors import BadParameter, Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.extras import RouteWish
from proxy.wire.fields import check_names, refuse, stop_strings
from proxy.wire.messages_content import System, conversation, system_text
from proxy.wire.tool_limits import checked_name, checked_schema, checked_tools

IGNORED = frozenset(
    {
        "billing_policy", "compaction", "context_management", "diagnostics", "fallback_credit_token", "fallbacks",
        "inference_geo", "speed", "user_profile_id", "workspace_id",
    }
)  # fmt: skip
REFUSED = {
    "container": "Running code in a container",
    "mcp_servers": "Calling MCP servers",
    "thread": "A stored conversation",
}
BUDGETS = ((4_096, "low"), (16_384, "medium"))  # tokens to think with → the effort that other models know
MOST_STOPS = 16
EXTRAS = ("cache_control", "metadata", "service_tier", "sl_route")  # the first three go to backends that have them too


class OutputConfig(Struct, frozen=True, kw_only=True):
    """How hard the model thinks, and the form of the answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: dict[str, Any] | None = None


class SchemaFormat(Struct, frozen=True):
    """A JSON schema that the answer follows."""

    schema: dict[str, Any]


class Thinking(Struct, frozen=True, kw_only=True):
    """Whether the model thinks, and how many tokens long."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None


class Given(Struct, frozen=True, kw_only=True):
    """A tool of the client."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class Chosen(Struct, frozen=True, kw_only=True):
    """Which tool to call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Prompt(Struct, frozen=True, kw_only=True):
    """The members that make the prompt, which is all that counting tokens needs."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    messages: list[dict[str, Any]]
    system: System = None
    tools: list[Any] | None = None
    tool_choice: Chosen | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: dict[str, Any] | None = None


class Body(Prompt, frozen=True, kw_only=True):
    """All members that have an effect, with their bounds."""

    max_tokens: Annotated[int, Meta(ge=1, le=10_000_000)]
    stop_sequences: Annotated[list[str], Meta(max_length=MOST_STOPS)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    cache_control: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None
    sl_route: RouteWish | None = None


KNOWN = IGNORED | set(REFUSED) | set(Body.__struct_fields__)


def parse_messages(body: object) -> tuple[Create, bool]:
    """Check and translate one request; also whether it is to be streamed. Raises BadParameter or Unsupported."""
    members = check_names(body, KNOWN)
    refuse(members, REFUSED)
    fields = convert(members, Body, "")
    sampling = Sampling(temperature=fields.temperature, top_p=fields.top_p, top_k=fields.top_k)
    stop = stop_strings(fields.stop_sequences, "stop_sequences")
    extras = {name: value for name in EXTRAS if (value := getattr(fields, name)) is not None}
    request = request_of(fields, max_output_tokens=fields.max_tokens, stop=stop, sampling=sampling, extras=extras)
    return Create(request=request, store=False), bool(fields.stream)


def parse_count(body: object) -> Request:
    """The request whose prompt is to be counted. Raises BadParameter or Unsupported."""
    members = check_names(body, KNOWN)
    refuse(members, REFUSED)
    return request_of(convert(members, Prompt, ""))


def request_of(fields: Prompt, **more: Any) -> Request:
    """The request; `more` are its members beside the prompt."""
    system = system_text(fields.system)
    chosen = fields.tool_choice
    tools = client_tools(fields.tools)
    return Request(
        model=fields.model,
        messages=(*((Message("system", system),) if system else ()), *conversation(fields.messages)),
        tools=tools,
        tool_choice=tool_choice(chosen, tools),
        parallel_tool_calls=False if chosen and chosen.disable_parallel_tool_use else None,
        format=answer_format(fields),
        reasoning_effort=effort(fields),
        **more,
    )


def client_tools(given: list[Any] | None) -> tuple[Tool, ...]:
    """The tools of the client. Raises Unsupported for a hosted one, which it names."""
    tools = []
    for index, each in enumerate(given or ()):
        path = f"tools[{index}]"
        if (kind := kind_of(each, path, default="custom")) != "custom":
            raise Unsupported(f"The hosted tool '{kind}'", path, "Give the model a tool of your own.")
        tool = convert(each, Given, path)
        name = checked_name(tool.name, f"{path}.name")
        schema = checked_schema(tool.input_schema, f"{path}.input_schema")
        tools.append(Tool(name, tool.description, schema, tool.strict))
    return checked_tools(tuple(tools), "tools")


def tool_choice(chosen: Chosen | None, tools: tuple[Tool, ...]) -> ToolChoice:
    """Which tool to call, in the words of the other APIs."""
    if chosen is None or chosen.type == "auto":
        return "auto"
    if chosen.type == "none":
        return "none"
    if chosen.type == "any" and tools:
        return "required"
    if chosen.name is None or all(tool.name != chosen.name for tool in tools):
        raise BadParameter("'tool_choice' names no tool of 'tools'.", "tool_choice")
    return NamedTool(chosen.name)


def answer_format(fields: Prompt) -> JsonFormat | None:
    """The form of the answer; `output_format` is where it stood first."""
    given = (fields.output_config.format if fields.output_config else None) or fields.output_format
    if given is None:
        return None
    if (kind := kind_of(given, "output_config.format")) != "json_schema":
        raise Unsupported(f"The format '{kind}'", "output_config.format")
    schema = convert(given, SchemaFormat, "output_config.format").schema
    return JsonFormat(checked_schema(schema, "output_config.format.schema"), strict=True)


def effort(fields: Prompt) -> str | None:
    """How hard to think, where the client says it. Not thinking at all is left to the model: few can be told."""
    if fields.output_config and fields.output_config.effort:
        return fields.output_config.effort
    if fields.thinking is None or fields.thinking.type != "enabled" or fields.thinking.budget_tokens is None:
        return None
    budget = fields.thinking.budget_tokens
    return next((word for bound, word in BUDGETS if budget <= bound), "high")
