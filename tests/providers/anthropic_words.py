"""Messages as Anthropic reads them: the other side of what our encoder does, with what it refuses."""

import re
from collections.abc import Iterator
from typing import Any

from backends.json import dumps
from backends.request import (
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
    Part,
    Reasoning,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

no_credit = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase "
    "credits."
)
COUNTED = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"}
SAMPLING = {"temperature", "top_p", "top_k"}
MEMBERS = COUNTED | SAMPLING | {"max_tokens", "stream", "stop_sequences", "service_tier", "metadata"}
ID = re.compile(r"[a-zA-Z0-9_-]+")
TOO_STRICT = frozenset(["minimum", "maximum", "minLength", "maxLength", "multipleOf", "maxItems"])
CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class Refused(Exception):
    """A 400, in its own words."""


def need(holds: object, words: str) -> None:
    if not holds:
        raise Refused(words)


def request_of(body: dict[str, Any], members: set[str]) -> Request:
    """A body of Messages, or of a count of its tokens. Raises Refused, and KeyError for what is missing."""
    for name in body.keys() - members:
        raise Refused(f"{name}: Extra inputs are not permitted")
    most = body["max_tokens"] if "max_tokens" in members else 1
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        need(1024 <= thinking["budget_tokens"] < most, "`max_tokens` must be greater than `thinking.budget_tokens`")
        need(body.get("temperature") is None, "`temperature` may only be set to 1 when thinking is enabled.")
        need(
            body.get("tool_choice", {}).get("type") not in {"any", "tool"},
            "Thinking may not be enabled when tool_choice forces tool use.",
        )
    need(0 <= body.get("temperature", 1) <= 1, "temperature: range: 0..1")
    need(
        all(stop.strip() for stop in body.get("stop_sequences", ())),
        "stop_sequences: each stop sequence must contain non-whitespace",
    )
    form = body.get("output_config", {}).get("format")
    if form is not None:
        need(form["type"] == "json_schema", "output_config.format.type: Input should be 'json_schema'")
        check_schema(form["schema"])
    messages = tuple(conversation(body["messages"]))
    system = body.get("system")
    tools = tuple(tool_of(tool) for tool in body.get("tools", ()))
    called = any(isinstance(part, ToolCall | ToolResult) for message in messages for part in message.parts)
    need(tools or not called, "Requests which include `tool_use` or `tool_result` blocks must define tools")
    choice = body.get("tool_choice", {"type": "auto"})
    need(tools or "tool_choice" not in body, "tool_choice may only be specified while providing tools")
    return Request(
        body["model"],
        ((Message("system", tuple(parts(system))),) if system else ()) + messages,
        most,
        tuple(body.get("stop_sequences", ())),
        Sampling(temperature=body.get("temperature"), top_p=body.get("top_p"), top_k=body.get("top_k")),
        tools=tools,
        tool_choice=NamedTool(choice["name"]) if choice["type"] == "tool" else CHOICES[choice["type"]],
        parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
        format=None if form is None else JsonFormat(form["schema"]),
        reasoning_effort=body.get("output_config", {}).get("effort"),
    )


def check_schema(schema: Any) -> None:
    if isinstance(schema, dict):
        for name in TOO_STRICT & schema.keys():
            raise Refused(f"output_config.format.schema: property '{name}' is not supported")
        closed = schema.get("type") != "object" or schema.get("additionalProperties") is False
        need(
            closed,
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        )
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        check_schema(inner)


def tool_of(tool: dict[str, Any]) -> Tool:
    need(re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]), "tools.0.custom.name: String should match pattern")
    need(tool["input_schema"]["type"] == "object", "tools.0.custom.input_schema.type: Input should be 'object'")
    if tool.get("strict"):
        check_schema(tool["input_schema"])
    return Tool(tool["name"], tool.get("description"), tool["input_schema"], tool.get("strict"))


def conversation(given: list[dict[str, Any]]) -> Iterator[Message]:
    """The messages. Every call has its result in the next one, before anything else."""
    need(given, "messages: at least one message is required")
    need(given[0]["role"] == "user", 'messages: first message must use the "user" role')
    waiting: set[str] = set()
    for index, message in enumerate(given):
        said = list(parts(message["content"]))
        need(said, f"messages.{index}: all messages must have non-empty content")
        results = {part.call_id for part in said if isinstance(part, ToolResult)}
        need(
            waiting <= results,
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after",
        )
        need(results <= waiting, f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks")
        need(all(isinstance(part, ToolResult) for part in said[: len(results)]), "tool_result blocks must come first")
        waiting = {part.id for part in said if isinstance(part, ToolCall)}
        last = said[-1]
        need(
            not isinstance(last, Reasoning),
            f"messages.{index}: The final block in an assistant message cannot be `thinking`.",
        )
        if index == len(given) - 1 and message["role"] == "assistant" and isinstance(last, Text):
            need(
                last.text == last.text.rstrip(), "messages: final assistant content cannot end with trailing whitespace"
            )
        yield Message(message["role"], tuple(said))


def parts(content: str | list[dict[str, Any]]) -> Iterator[Part]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for block in content:
        yield part_of(block)


def part_of(block: dict[str, Any]) -> Part:
    match block["type"]:
        case "text":
            need(block["text"].strip(), "messages: text content blocks must contain non-whitespace text")
            return Text(block["text"])
        case "thinking":
            return Reasoning(block["thinking"], Opaque("anthropic", block["signature"]))
        case "redacted_thinking":
            return Reasoning("", Opaque("anthropic", f"redacted.{block['data']}"))
        case "image":
            source = block["source"]
            need(source["media_type"] in {"image/jpeg", "image/png", "image/gif", "image/webp"}, "media_type: Input")
            return Image(source["media_type"], source["data"])
        case "document":
            source = block["source"]
            expected = {"base64": "application/pdf", "text": "text/plain"}[source["type"]]
            need(source["media_type"] == expected, "messages: document.source.media_type")
            return File(block.get("title"), source["media_type"], source["data"])
        case "tool_use":
            need(ID.fullmatch(block["id"]), "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            need(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
            return ToolCall(block["id"], block["name"], dumps(block["input"]).decode())
        case "tool_result":
            return ToolResult(block["tool_use_id"], tuple(parts(block.get("content", []))))  # type: ignore[arg-type]
    raise Refused(f"Input tag '{block['type']}' found using 'type' does not match any of the expected tags")
