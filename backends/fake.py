"""A scripted backend that needs no model: for tests, demonstrations and load runs without a GPU."""

import asyncio
import math
import re
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from hashlib import shake_256
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from backends.base import Batches, Embeddings, Model, Vector
from backends.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, Overloaded, StreamBroken
from backends.events import (
    Event,
    Finished,
    FinishReason,
    Logprob,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.json import dumps
from backends.registry import Parts
from backends.request import EmbeddingRequest, NamedTool, Request, Tool, ToolResult, text_of
from backends.sample_json import sample
from backends.unhurried import unhurried

Step: TypeAlias = Sequence[Event] | Exception | asyncio.Event | float  # send, raise, wait for it, wait so many seconds

DIMENSIONS = 8  # of a vector, where none are asked for
MOST_NUMBERS = 2**22  # in all vectors of an answer
ARGUMENTS_AT_ONCE = 8  # characters
WORDS_AT_ONCE = 8  # per batch, when no speed is asked for
GREETING = "Hello! This answer comes from the fake backend, which needs no model. Configure a real one when you like."


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="fake"):
    """A model that says the same to everybody; JSON or a tool's name where that is asked for. A word is a token."""

    name: str
    models: Annotated[tuple[str, ...], Meta(min_length=1, description="Names that it answers to.")] = ("fake",)
    text: Annotated[str, Meta(description="What it says.")] = GREETING
    tokens_per_second: Annotated[float, Meta(ge=0, description="How fast; 0 is as fast as possible.")] = 0
    first_token_delay: Annotated[float, Meta(ge=0, description="Seconds of thinking before the first word.")] = 0
    context: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Longest prompt. Unset: no limit.")] = None
    slots: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="Answers at once. Unset: no limit.")] = None


def build(options: Options, parts: Parts) -> "FakeBackend":
    """A backend that says `options.text` to everybody."""
    return FakeBackend(**msgspec.structs.asdict(options))


class FakeBackend:
    """Plays `script` to each request, or, without one, answers `text` the way a small model server would.

    Where a tool must be called, it calls it, with what its schema requires; where JSON is asked for, it says some that
    fits. It takes every kind of part. The same text always has the same vector.

    A step of a script is a batch to send, an exception to raise, an asyncio.Event to wait for, or seconds to wait. An
    exception as the first step is raised on entering. A script that ends without Finished ends with StreamBroken.
    For tests: `requests` is what was asked, `open` how many streams are entered now, and `left` is set whenever one is
    left, at its end or before.
    """

    extras: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        script: Sequence[Step] | None = None,
        models: Sequence[str] = ("fake",),
        text: str = GREETING,
        tokens_per_second: float = 0,
        first_token_delay: float = 0,
        context: int | None = None,
        slots: int | None = None,
    ) -> None:
        self.name, self.slots, self.script = name, slots, script
        self.requests: list[Request] = []
        self.open = 0
        self.left = asyncio.Event()
        self._models = [Model(model, context) for model in models]
        self._text, self._context = text, context
        self._first_token_delay = first_token_delay
        self._pause, self._step = (1 / tokens_per_second, 1) if tokens_per_second else (0.0, WORDS_AT_ONCE)
        self._closed = False
        self._waits: set[asyncio.Timeout] = set()

    async def start(self) -> None:
        """Take requests, also after `close`."""
        self._closed = False

    async def close(self) -> None:
        """End every stream that is still entered with StreamBroken."""
        self._closed = True
        while self._waits:
            self._waits.pop().reschedule(0)

    async def models(self) -> Sequence[Model]:
        """As configured."""
        return self._models

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        """Answer one request. More than `slots` at once are Overloaded, as in a server without a queue."""
        self.requests.append(request)
        if self.slots is not None and self.open >= self.slots:
            raise Overloaded
        script = self.answer(request) if self.script is None else self.script
        if script and isinstance(script[0], Exception):
            raise script[0].with_traceback(None)
        self.open += 1
        try:
            async with aclosing(self._play(script)) as batches:
                yield batches
        finally:
            self.open -= 1
            self.left.set()

    def answer(self, request: Request) -> list[Step]:
        """The script that answers `request` as configured."""
        prompt = words_in(request)
        if not self._serves(request.model):
            return [ModelNotFound(request.model)]
        if self._context is not None and prompt > self._context:
            return [ContextLengthExceeded(prompt, self._context)]
        script: list[Step] = [self._first_token_delay]
        if tool := demanded(request):
            arguments = dumps(sample(tool.parameters)).decode()
            script += [[ToolCallStart(0, f"call_{len(self.requests)}", tool.name)]]
            for start in range(0, len(arguments), ARGUMENTS_AT_ONCE):
                script += [[ToolCallDelta(0, arguments[start : start + ARGUMENTS_AT_ONCE])], self._pause]
            return [*script, [Finished("stop", Usage(input_tokens=prompt, output_tokens=1))]]
        whole = self._text if request.format is None else dumps(sample(request.format.schema)).decode()
        text = whole[: min((at for stop in request.stop if (at := whole.find(stop)) >= 0), default=None)]
        words = re.findall(r"\s*\S+\s*", text)
        said = words[: request.max_output_tokens]
        for start in range(0, len(said), self._step):
            script += [[delta(word, request) for word in said[start : start + self._step]], self._pause]
        reason: FinishReason = "stop" if len(said) == len(words) else "length"
        return [*script, [Finished(reason, Usage(input_tokens=prompt, output_tokens=len(said)))]]

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """A vector per text, of length 1."""
        if not self._serves(request.model):
            raise ModelNotFound(request.model)
        dimensions = request.dimensions or DIMENSIONS
        if dimensions * len(request.inputs) > MOST_NUMBERS:
            raise InvalidRequest(400, "dimensions")
        vectors = await unhurried(vector(repr(text), dimensions) for text in request.inputs)
        return Embeddings(vectors, sum(len(text.split() if isinstance(text, str) else text) for text in request.inputs))

    async def count_tokens(self, request: Request) -> int:
        """Its words."""
        if not self._serves(request.model):
            raise ModelNotFound(request.model)
        return words_in(request)

    def _serves(self, model: str) -> bool:
        return any(served.id == model for served in self._models)

    async def _play(self, script: Sequence[Step]) -> AsyncGenerator[Sequence[Event], None]:
        for step in script:
            if self._closed:
                break
            if isinstance(step, Exception):
                raise step.with_traceback(None)
            if isinstance(step, float | int | asyncio.Event):
                await self._wait(step)
            else:
                yield step
                if step and isinstance(step[-1], Finished):
                    return
        raise StreamBroken

    async def _wait(self, until: asyncio.Event | float) -> None:
        """Wait, though never beyond `close`."""
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                await (until.wait() if isinstance(until, asyncio.Event) else asyncio.sleep(until))
        except TimeoutError:
            raise StreamBroken from None
        finally:
            self._waits.discard(wait)


def words_in(request: Request) -> int:
    """Of the prompt, tool results included."""
    parts = [part for message in request.messages for part in message.parts]
    results = [text_of(part.parts) for part in parts if isinstance(part, ToolResult)]
    said = [text_of(tuple(parts)), *results, request.prompt.text if request.prompt else ""]
    return sum(len(text.split()) for text in said)


def demanded(request: Request) -> Tool | None:
    """The tool that must be called; the first of several."""
    if isinstance(request.tool_choice, NamedTool):
        return next((tool for tool in request.tools if tool.name == request.tool_choice.name), None)
    return request.tools[0] if request.tools and request.tool_choice == "required" else None


def delta(word: str, request: Request) -> TextDelta:
    """A word, of which the model is certain."""
    if request.top_logprobs is None:
        return TextDelta(word)
    return TextDelta(word, (Logprob(word, 0.0, ((word, 0.0),)[: request.top_logprobs]),))


def vector(text: str, dimensions: int) -> Vector:
    numbers = [byte - 127.5 for byte in shake_256(text.encode()).digest(dimensions)]
    length = math.hypot(*numbers)
    return array("f", [number / length for number in numbers])
