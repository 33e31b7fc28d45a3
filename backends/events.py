"""What a backend says while it answers. A closed union of frozen values; Structs, because one is made per token."""

from typing import Literal, TypeAlias

from msgspec import Struct

FinishReason: TypeAlias = Literal["stop", "length", "content_filter"]


class TextDelta(Struct, frozen=True, gc=False):
    """More of the answer. Never empty."""

    text: str


class ReasoningDelta(Struct, frozen=True, gc=False):
    """More of what the model thinks before it answers. Never empty."""

    text: str


class RefusalDelta(Struct, frozen=True, gc=False):
    """More of the model's refusal to answer. Never empty."""

    text: str


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one request, as the backend counted them."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Finished(Struct, frozen=True, gc=False):
    """The last event of every stream that was not broken. `usage` is None when the backend did not say."""

    reason: FinishReason
    usage: Usage | None = None


Content: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Event: TypeAlias = Content | Finished
