"""What every API asks of a tool or of a JSON schema before a model sees it. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from backends.json import deeper_than, dumps
from backends.request import Tool
from proxy.errors import BadParameter

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")  # OpenAI's characters; Anthropic's length, the longer one
MAX_TOOLS = 128  # OpenAI's limit
MAX_SCHEMA_BYTES = 128 * 1024  # a grammar is compiled from it, and that takes many times its size
MAX_SCHEMA_DEPTH = 40  # containers; OpenAI's ten levels of objects are some thirty
FREE_TEXT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


def checked_name(name: str, path: str) -> str:
    """A tool's or a schema's name. Raises BadParameter."""
    if not NAME.fullmatch(name):
        raise BadParameter(f"'{path}' must be 1 to 128 characters of A-Z, a-z, 0-9, '_', '-'.", path)
    return name


def checked_schema(schema: Mapping[str, Any] | None, path: str) -> Mapping[str, Any] | None:
    """A JSON schema of a size and depth that a backend can bear. Raises BadParameter."""
    if not schema:
        return schema
    if deeper_than(schema, MAX_SCHEMA_DEPTH):
        raise BadParameter(f"The schema '{path}' is nested deeper than {MAX_SCHEMA_DEPTH} levels.", path)
    if len(dumps(schema)) > MAX_SCHEMA_BYTES:
        raise BadParameter(f"The schema '{path}' is longer than {MAX_SCHEMA_BYTES} bytes.", path)
    return schema


def checked_tools(tools: tuple[Tool, ...], path: str) -> tuple[Tool, ...]:
    """The tools of one request. Raises BadParameter for too many, or two of one name."""
    if len(tools) > MAX_TOOLS:
        raise BadParameter(f"'{path}' holds {len(tools)} tools; {MAX_TOOLS} are the most.", path)
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise BadParameter(f"Two tools are named '{tool.name}'.", path)
        seen.add(tool.name)
    return tools


def custom_tool(name: str, description: str | None, grammar: tuple[str, str] | None = None) -> Tool:
    """A tool of free text as the function that models see. `grammar` (its syntax and text) is told, never enforced."""
    if grammar is not None:
        told = f"The input must follow this {grammar[0]} grammar:\n{grammar[1]}"
        description = f"{description}\n\n{told}" if description else told
    return Tool(name, description, FREE_TEXT)
