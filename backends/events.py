"""What a backend says while it answers. A closed union of frozen values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of the model's refusal to answer. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, as the backend counted them."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream that was not broken. `usage` is None when the backend did not say."""

    reason: FinishReason
    usage: Usage | None = None


Content: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta
Event: TypeAlias = Content | Finished
