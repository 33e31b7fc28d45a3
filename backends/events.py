"""What a backend says while it answers. A closed union of frozen values; Structs, because one is made per token."""

from typing import Literal, TypeAlias

from msgspec import Struct

FinishReason: TypeAlias = Literal["stop", "length", "content_filter"]


class Logprob(Struct, frozen=True, gc=False):
    """How likely one token was, and which others were: `top` holds (token, log probability)."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class TextDelta(Struct, frozen=True, gc=False):
    """More of the answer. Never empty. `logprobs` only where the request asked for them and the backend can."""

    text: str
    logprobs: tuple[Logprob, ...] | None = None


class ReasoningDelta(Struct, frozen=True, gc=False):
    """More of what the model thinks before it answers. Never empty."""

    text: str


class Signature(Struct, frozen=True, gc=False):
    """What the provider wants back as it is: with the reasoning before it, or, where there is none, with what follows.

    It ends a piece of reasoning. `provider` and `data` are those of backends.request.Opaque. It is no content.
    """

    provider: str
    data: str


class Citation(Struct, frozen=True, gc=False):
    """A source for a piece of the answer: `start` and `end` count characters of the answer's text so far.

    `source` names it: a URL, or the id of a document or of a tool's result. It is no content.
    """

    start: int
    end: int
    text: str
    source: str
    title: str = ""


class RefusalDelta(Struct, frozen=True, gc=False):
    """More of the model's refusal to answer. Never empty."""

    text: str


class ToolCallStart(Struct, frozen=True, gc=False):
    """The model begins to call a tool. `index` counts the calls of one answer from 0; `id` is never empty."""

    index: int
    id: str
    name: str


class ToolCallDelta(Struct, frozen=True, gc=False):
    """More of the arguments of the call that began with `index`, a piece of JSON. Never empty."""

    index: int
    arguments: str


class Usage(Struct, frozen=True, gc=False):
    """Tokens of one request, as the backend counted them; `estimated` when we counted what it did not say.

    The input is all of the prompt: `cached_tokens`, which were read from the provider's cache, and `written_tokens`,
    which were written to it, are parts of it, as `reasoning_tokens` are of the output.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    written_tokens: int = 0


class Finished(Struct, frozen=True, gc=False):
    """The last event of every stream that was not broken. `usage` is None when the backend did not say.

    An answer that ends to have its tools called is a "stop": that there are calls says the rest.
    """

    reason: FinishReason
    usage: Usage | None = None


Content: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallStart | ToolCallDelta
Event: TypeAlias = Content | Signature | Citation | Finished
