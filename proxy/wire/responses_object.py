"""The `response` object: the members that are known when a response is created. Pure."""

from typing import Any

from backends.request import Request
from proxy.create import Create


def response_object(create: Create, request: Request, response_id: str, created_at: int) -> dict[str, Any]:
    """Every member that OpenAI's type requires, with the values that apply. `created_at` is in Unix seconds."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "model": create.model,
        "instructions": create.instructions,
        "max_output_tokens": request.max_output_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": None, "summary": None},
        "truncation": "disabled",
        "previous_response_id": None,
        "background": False,
        "store": False,
        **create.shown,
    }
