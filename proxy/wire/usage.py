"""Tokens as the Responses API shows them, and an estimate where the backend did not count. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from backends.events import Usage
from backends.json import dumps
from backends.request import Part, Request, ToolCall, ToolResult

COST = "sl_cost"  # what it cost: {"usd_micros": 12}, null where that is not known
BYTES_PER_TOKEN = 4  # of English text; other languages have more tokens


def usage_of(usage: Usage | None) -> dict[str, Any] | None:
    """Usage as the Responses API counts it; None when nothing is known. `sl_estimated` stands on a guess."""
    if usage is None:
        return None
    counted: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.written_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    return {**counted, "sl_estimated": True} if usage.estimated else counted


def plain(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """A response as those see it who did not ask for our extensions: without what it cost."""
    usage = response.get("usage")
    if not usage or COST not in usage:
        return response
    return {**response, "usage": {name: each for name, each in usage.items() if name != COST}}


def total_cost(usages: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """What several cost together; null where that of one is not known."""
    each = [usage.get(COST, {}).get("usd_micros") for usage in usages]
    return {"usd_micros": None if None in each else sum(each)}


def estimated_input(request: Request) -> int:
    """Tokens of a prompt, from the bytes of its text. What a picture takes is not known, and left out."""
    size = sum(text_bytes(part) for message in request.messages for part in message.parts)
    if request.prompt is not None:
        size += len(request.prompt.text.encode(errors="replace"))
    for tool in request.tools:
        size += len(dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters}))
    return -(-size // BYTES_PER_TOKEN)


def text_bytes(part: Part) -> int:
    """Of one part, UTF-8."""
    match part:
        case ToolCall(name=name, arguments=arguments):
            return len(f"{name}{arguments}".encode(errors="replace"))
        case ToolResult(parts=parts):
            return sum(text_bytes(each) for each in parts)
        case _:
            return len(getattr(part, "text", "").encode(errors="replace"))
