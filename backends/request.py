"""What a backend is asked: one conversation and how to continue it. Pure values; Structs, for each call makes many."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, final

from msgspec import Struct
from msgspec.structs import replace

NOTHING: Mapping[str, Any] = MappingProxyType({})

Role: TypeAlias = Literal["system", "user", "assistant"]


class Text(Struct, frozen=True, gc=False):
    """What was said."""

    text: str


class Refusal(Struct, frozen=True, gc=False):
    """What the model said instead of an answer."""

    text: str


class Opaque(Struct, frozen=True, gc=False):
    """What a provider wants back as it gave it, and nobody else may read: a signature, or encrypted reasoning.

    `provider` is the dialect that made it ("anthropic", "gemini", "openai"); others leave it out.
    """

    provider: str
    data: str


class Reasoning(Struct, frozen=True):
    """What the model thought before it answered. Most backends do not want it back.

    With `opaque`, the text may be empty: then it belongs to what follows in the same message, a tool call perhaps.
    """

    text: str
    opaque: Opaque | None = None


class Image(Struct, frozen=True, gc=False):
    """A picture; `data` is base64. Never a URL: nobody fetches what a request names."""

    media_type: str
    data: str
    detail: str | None = None


class Audio(Struct, frozen=True, gc=False):
    """A recording; `data` is base64, `format` as in its file name: "wav", "mp3"."""

    format: str
    data: str


class File(Struct, frozen=True, gc=False):
    """A document; `data` is base64."""

    name: str | None
    media_type: str
    data: str


class ToolCall(Struct, frozen=True, gc=False):
    """The model asks for a tool. `arguments` is JSON as the model wrote it, so it may be no JSON."""

    id: str
    name: str
    arguments: str


class ToolResult(Struct, frozen=True):
    """What the tool of the call `call_id` gave back. In a user's message, because the user's side ran it."""

    call_id: str
    parts: "tuple[Text | Image | Audio | File, ...]"


class Secret(Struct, frozen=True, gc=False):
    """A key that a caller sent. It is shown nowhere."""

    value: str

    def __repr__(self) -> str:
        return "Secret(...)"


Part: TypeAlias = Text | Refusal | Reasoning | Image | Audio | File | ToolCall | ToolResult


class Message(Struct, frozen=True):
    """One turn of the conversation, in parts. Tool calls are an assistant's, tool results a user's."""

    role: Role
    parts: tuple[Part, ...]


def said(role: Role, text: str) -> Message:
    """A message that is one text."""
    return Message(role, (Text(text),))


WORDS = (Text, Refusal)


def text_of(parts: tuple[Part, ...]) -> str:
    """The text of `parts`, and what was refused; each part a line of its own, as chat servers join them."""
    return "\n".join(part.text for part in parts if isinstance(part, WORDS))


class Tool(Struct, frozen=True):
    """A function that the model may call. `parameters` is a JSON schema; None where it takes none."""

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Struct, frozen=True, gc=False):
    """The model must call this one."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


class JsonFormat(Struct, frozen=True):
    """The answer is JSON: any object, or what `schema` (a JSON schema) allows."""

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class Sampling(Struct, frozen=True, gc=False):
    """How the next token is drawn. None leaves the choice to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None

    def otherwise(self, defaults: "Sampling") -> "Sampling":
        """These choices, and those of `defaults` where they are left open."""
        if defaults == NO_CHOICE:
            return self
        left = {name: getattr(defaults, name) for name in self.__struct_fields__ if getattr(self, name) is None}
        return replace(self, **left)


NO_CHOICE = Sampling()


class Prompt(Struct, frozen=True, gc=False):
    """Raw text to go on with, for `/v1/completions`: no chat template is put around it."""

    text: str
    suffix: str | None = None


@final
class Request(Struct, frozen=True):
    """One generation.

    `model` is the name that was asked for until the dispatcher has chosen a backend, and that backend's own id then.
    `max_output_tokens` 0 leaves the bound to the dispatcher; a backend never sees 0: no stream is endless. `bounded` is
    False where the dispatcher has set it: a bound that nobody asked for may be lowered.
    `top_logprobs` None asks for no log probabilities; 0 for those of the chosen tokens alone.
    With `prompt` set there are no messages.
    `extras` are fields of one server's own, such as vLLM's `priority`: handed on as they came where a backend has them
    among its own, left out elsewhere, and refused where they shape the answer (backends/capabilities.py).
    `tenant` names who shares caches with whom; `keys` are the caller's own, by backend.
    """

    model: str
    messages: tuple[Message, ...] = ()
    max_output_tokens: int = 0
    stop: tuple[str, ...] = ()
    sampling: Sampling = NO_CHOICE
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | None = None
    format: JsonFormat | None = None
    reasoning_effort: str | None = None
    top_logprobs: int | None = None
    prompt: Prompt | None = None
    extras: Mapping[str, Any] = NOTHING
    tenant: str = ""
    keys: Mapping[str, Secret] = NOTHING
    bounded: bool = True


@final
class EmbeddingRequest(Struct, frozen=True):
    """Texts, or token ids of texts, to embed. `dimensions` None leaves the length to the model."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    keys: Mapping[str, Secret] = NOTHING
