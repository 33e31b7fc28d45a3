"""What a model can do, and what a request needs. Three values each: yes, no, and nobody said. Pure."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, get_args

from msgspec import Struct

from backends.request import Audio, EmbeddingRequest, File, Image, Part, Request, ToolCall, ToolResult

Capability: TypeAlias = Literal[
    "tools", "images", "audio", "files", "json_schema", "reasoning", "logprobs", "completions", "embeddings"
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
GUIDES = frozenset(
    {
        "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "allowed_token_ids",
        "continue_final_message", "documents",
    }
)  # fmt: skip
"""Extras that shape the answer: where they cannot be handed on, the request is not the one that was made."""


WORDS: Mapping[Capability, tuple[str, str]] = {
    "tools": ("tools", "tools"),
    "images": ("images", "input"),
    "audio": ("audio", "input"),
    "files": ("files", "input"),
    "json_schema": ("a JSON schema for the answer", "text.format"),
    "reasoning": ("reasoning", "reasoning"),
    "logprobs": ("log probabilities", "top_logprobs"),
    "completions": ("raw completions", "prompt"),
    "embeddings": ("embeddings", "model"),
}
"""What each is called, and the field that asks for it."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What one model can do. None: unknown, never a guess."""

    tools: bool | None = None
    images: bool | None = None
    audio: bool | None = None
    files: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    logprobs: bool | None = None
    completions: bool | None = None
    embeddings: bool | None = None

    def otherwise(self, other: "Capabilities") -> "Capabilities":
        """These, and those of `other` where nothing is known here."""
        return Capabilities(
            **{
                name: getattr(other, name) if (mine := getattr(self, name)) is None else mine
                for name in self.__struct_fields__
            }
        )

    def known(self) -> dict[str, bool]:
        """What is known, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}

    def lacks(self, needed: "frozenset[Capability]") -> "Capability | None":
        """The first of what is needed that this model is known not to have."""
        return next((name for name in CAPABILITIES if name in needed and getattr(self, name) is False), None)


UNKNOWN = Capabilities()


def needs(request: Request | EmbeddingRequest) -> frozenset[Capability]:
    """What a model must be able to do to answer as it was asked. Wishes that may be left out are not among them."""
    if isinstance(request, EmbeddingRequest):
        return frozenset({"embeddings"})
    return frozenset(_needs(request))


def _needs(request: Request) -> Iterator[Capability]:
    if request.prompt is not None:
        yield "completions"
    if request.tools and request.tool_choice != "none":
        yield "tools"
    if request.format is not None and request.format.schema is not None:
        yield "json_schema"
    if request.top_logprobs is not None:
        yield "logprobs"
    for message in request.messages:
        for part in message.parts:
            yield from _of(part)


def _of(part: Part) -> Iterator[Capability]:
    match part:
        case Image():
            yield "images"
        case Audio():
            yield "audio"
        case File():
            yield "files"
        case ToolCall():
            yield "tools"
        case ToolResult(parts=parts):
            yield "tools"
            for inner in parts:
                yield from _of(inner)
