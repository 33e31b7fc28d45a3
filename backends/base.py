"""The one Protocol that every backend fulfils. `tests/contract` is its suite."""

from abc import ABC, abstractmethod
from array import array
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from backends.capabilities import UNKNOWN, Capabilities
from backends.events import Event, Finished
from backends.keys import KeyCounts
from backends.request import EmbeddingRequest, Request

Vector: TypeAlias = "array[float]"
Batches: TypeAlias = AsyncIterator[Sequence[Event]]
Sink: TypeAlias = Callable[[Sequence[Event]], Future[None] | None]
"""Takes a batch that is not empty. A future asks to hold the next one back until it is done."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model that a backend serves. Context and longest answer are in tokens; None means unknown, never a guess."""

    id: str
    context: int | None = None
    capabilities: Capabilities = UNKNOWN
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a server is: requests that run in it and that wait in it, its other clients' among them.

    `cache_usage` is the used share of its KV cache, 0 to 1; None where it does not say.
    """

    running: int
    waiting: int
    cache_usage: float | None = None


@runtime_checkable
class Remote(Protocol):
    """What a backend may be besides: a server that is asked at `url`, which only its operator may read."""

    @property
    def url(self) -> str:
        """Where its API begins."""


@runtime_checkable
class Keyed(Protocol):
    """What a backend may be besides: one that is sent keys, of which some may have been refused."""

    @property
    def key_counts(self) -> KeyCounts:
        """How many of the gateway's own keys it takes, and how many it refused."""


class Observable(ABC):
    """What a backend may be besides: one that tells how busy its server is."""

    @abstractmethod
    async def load(self) -> Load | None:
        """How busy it is now; None where this server does not say. Raises BackendError when it is not ready."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector per input, in the order of the inputs. `input_tokens` is None when the backend did not say.

    A vector's numbers are packed, because there may be millions: "f" where they came so, "d" where they came as text.
    They may be Limited: `limits` are then those of the last of the answers that they came in.
    """

    vectors: Sequence[Vector]
    input_tokens: int | None = None
    limits: Mapping[str, str] = field(default_factory=dict, compare=False)


@runtime_checkable
class Embedder(Protocol):
    """What a backend may be besides: one that turns texts into vectors."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Raises BackendError; UnsupportedFeature when this model or server has none."""


@runtime_checkable
class TokenCounter(Protocol):
    """What a backend may be besides: one that counts the tokens of a prompt without answering it."""

    async def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt as the model would read it, template and tools included. Raises BackendError."""


class Pushing(ABC):
    """What batches may be able to do besides being iterated: save a wake-up and a chain of coroutines per token."""

    __slots__ = ()

    @abstractmethod
    async def into(self, sink: Sink) -> Finished:
        """Give every batch from now on to `sink`, by plain calls from where it was read; the end when it is there.

        Raises the stream's BackendError, or what `sink` raises.
        """

    @abstractmethod
    def silent_since(self) -> float | None:
        """The loop's time of the last sign of life; None while `sink` holds back."""


class Backend(Protocol):
    """Streams answers. Neither retries nor queues: both belong to the dispatcher.

    `slots` is how many streams it takes at once, None where it sets no limit. `extras` are the fields of its own that
    it knows of Request.extras.

    `stream` is entered; leaving it, by whatever way, stops the generation and frees what it held. It yields batches,
    one per read of what lies below: an empty batch is a sign of life. The last event is `Finished`, exactly once; a
    stream that cannot reach it raises a BackendError, on entering or between batches. Events of content are not empty.
    """

    name: str
    slots: int | None
    extras: frozenset[str]

    async def start(self) -> None:
        """Open what must be open before the first request. Raises EngineUnavailable."""

    async def close(self) -> None:
        """Let go of everything. Streams still entered end with StreamBroken."""

    async def models(self) -> Sequence[Model]:
        """What is served now, in the server's order. Raises BackendError."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[Batches]:
        """Answer one request."""
