"""What a backend is asked: one conversation and how to continue it. Pure values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation. `text` is the whole content; other kinds of content are not spoken yet."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. None leaves the choice to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One generation. `model` is the backend's own id; `max_output_tokens` always exists: no stream is endless."""

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int
    stop: tuple[str, ...] = ()
    sampling: Sampling = Sampling()
