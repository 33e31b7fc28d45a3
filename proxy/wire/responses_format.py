"""`text` and `reasoning` of a Responses create: how the answer is written, and how long the model thinks. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.request import JsonFormat
from proxy.errors import Unsupported
from proxy.wire.convert import convert, kind_of
from proxy.wire.tool_limits import checked_name, checked_schema

PLAIN: dict[str, Any] = {"format": {"type": "text"}}  # shown by every response that asked for nothing else
UNSAID: dict[str, Any] = {"effort": None, "summary": None}


class TextConfig(Struct, frozen=True, kw_only=True):
    """`verbosity` is a knob without effect, and given back."""

    format: Any = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Schema(Struct, frozen=True, kw_only=True):
    """A JSON schema that the answer follows, as chat completions have it."""

    name: str
    schema: dict[str, Any] | None = None
    description: Annotated[str, Meta(max_length=16_384)] | None = None
    strict: bool | None = None


class SchemaFormat(Schema, frozen=True, kw_only=True):
    """The same here: it must hold a schema."""

    schema: dict[str, Any]


class Reasoning(Struct, frozen=True, kw_only=True):
    """`summary` is a knob without effect: reasoning comes as the model wrote it, where a backend tells it."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


def parse_text(text: dict[str, Any] | None) -> tuple[JsonFormat | None, dict[str, Any]]:
    """The format, and `text` as the response object shows it. Raises BadParameter or Unsupported."""
    if not text:
        return None, PLAIN
    config = convert(text, TextConfig, "text")
    shown: dict[str, Any] = {} if config.verbosity is None else {"verbosity": config.verbosity}
    if config.format is None:
        return None, {"format": {"type": "text"}, **shown}
    path = "text.format"
    match kind_of(config.format, path):
        case "text":
            return None, {"format": {"type": "text"}, **shown}
        case "json_object":
            return JsonFormat(), {"format": {"type": "json_object"}, **shown}
        case "json_schema":
            form = convert(config.format, SchemaFormat, path)
            described = {"name": form.name, "description": form.description, "schema": form.schema}
            as_shown = {"type": "json_schema", **described, "strict": form.strict}
            return json_format(form, path), {"format": as_shown, **shown}
        case kind:
            raise Unsupported(f"The format '{kind}'", path)


def json_format(form: Schema, path: str) -> JsonFormat:
    """The format, of a schema that a backend can bear. Raises BadParameter."""
    name, schema = checked_name(form.name, f"{path}.name"), checked_schema(form.schema, f"{path}.schema")
    return JsonFormat(schema, name, form.description, form.strict)


def parse_reasoning(reasoning: dict[str, Any] | None) -> tuple[str | None, dict[str, Any]]:
    """The effort, and `reasoning` as the response object shows it. Raises BadParameter."""
    if not reasoning:
        return None, UNSAID
    config = convert(reasoning, Reasoning, "reasoning")
    return config.effort, {"effort": config.effort, "summary": config.summary}
