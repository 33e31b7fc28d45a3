"""Everything that happens to one call, in order. The retry, the queue and the deadlines live here and nowhere else.

1 resolve      the model's name → candidates in order (Runtime)
2 admit        a slot of the candidate's backend, in the order of asking
3 stream       until its first content event, under its deadline; a retryable failure → the next candidate
── commit ──   from here one backend; an error goes to whoever reads
4 answer       to the reader's sink; each wait under the idle deadline, all of it under the total one
5 outcome      recorded on every way out, without waiting
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from backends.base import Batches, Embedder, Embeddings, TokenCounter
from backends.errors import BackendError, UnsupportedFeature
from backends.events import Event, Finished, Usage
from backends.request import EmbeddingRequest, Request, said
from proxy.answer import Answer
from proxy.deadlines import Deadline, Deadlines, Silence
from proxy.errors import wire
from proxy.outcome import Attempt, Call, Notice, Outcome, Status
from proxy.pace import Pace
from proxy.runtime import Candidate, Route, Runtime
from proxy.slots import Slots

log = structlog.get_logger()
T = TypeVar("T")


class Dispatcher:
    """Runs calls. `queue` bounds how many may wait for one backend's slots; outcomes go to each of `on_outcome`."""

    def __init__(
        self,
        *,
        runtime: Callable[[], Runtime],
        deadlines: Deadlines,
        queue: int,
        default_max_output_tokens: int,
        on_outcome: Sequence[Callable[[Outcome], None]],
    ) -> None:
        self._runtime = runtime
        self._deadlines = deadlines
        self._default_max_output_tokens = default_max_output_tokens
        self._on_outcome = on_outcome
        self._slots: defaultdict[str, Slots] = defaultdict(lambda: Slots(queue, deadlines.queue))

    def plan(self, request: Request) -> tuple[Route, Request]:
        """Where a request goes, and what its first candidate is asked. Raises UnknownModel or AmbiguousModel."""
        route = self._runtime().resolve(request.model)
        return route, completed(request, route, self._default_max_output_tokens)

    @asynccontextmanager
    async def open(
        self, call: Call, route: Route, request: Request, name: str, notify: Callable[[Notice], None]
    ) -> AsyncIterator[Answer]:
        """The answer of the first candidate that gives one. Raises the last candidate's BackendError, or at any later
        moment the chosen one's. `name` is the model as it was asked for; `notify` hears where it goes, at once.
        """
        record = Record(call, name)

        async def streamed(attempt: AsyncExitStack, candidate: Candidate) -> tuple[Batches, Sequence[Event]]:
            chosen = candidate.backend.stream(replace(request, model=candidate.model))
            batches = await attempt.enter_async_context(chosen)
            return batches, await content(batches)

        async with self._recorded(record), Deadline("total", self._deadlines.total), AsyncExitStack() as stack:
            batches, head = await self._first(stack, route.candidates, record, notify, streamed)
            answer = Answer(batches, head, record.finished)
            record.pace = answer.pace
            async with Silence("idle", self._deadlines.idle, answer.silent_since):
                yield answer

    async def embed(self, call: Call, request: EmbeddingRequest) -> Embeddings:
        """The vectors of the first candidate that gives them. Raises UnknownModel, AmbiguousModel, or BackendError."""
        record = Record(call, request.model)

        async def embedded(_: AsyncExitStack, candidate: Candidate) -> Embeddings:
            if not isinstance(candidate.backend, Embedder):
                raise UnsupportedFeature("embeddings", "model")
            return await candidate.backend.embed(replace(request, model=candidate.model))

        candidates = self._runtime().resolve(request.model).candidates
        able = tuple(candidate for candidate in candidates if isinstance(candidate.backend, Embedder))
        candidates = able or candidates  # nobody waits in the line of one that could only refuse
        async with self._recorded(record), Deadline("total", self._deadlines.total), AsyncExitStack() as stack:
            made = await self._first(stack, candidates, record, lambda _: None, embedded)
            record.embedded(made)
            return made

    async def count_tokens(self, request: Request) -> int | None:
        """Tokens of the prompt, as the first candidate that can count them has it; None where none can.

        Raises UnknownModel or AmbiguousModel. It takes no place in line, and is no call: nothing is generated.
        """
        route, asked = self.plan(request)
        for candidate in route.candidates:
            if isinstance(candidate.backend, TokenCounter):
                with suppress(BackendError):
                    async with Deadline("first_event", self._deadlines.first_event):
                        return await candidate.backend.count_tokens(replace(asked, model=candidate.model))
        return None

    @asynccontextmanager
    async def _recorded(self, record: "Record") -> AsyncIterator[None]:
        """What happens inside becomes the record's outcome."""
        try:
            yield
        except asyncio.CancelledError:
            record.status = "cancelled"
            raise
        except Exception as error:
            record.status, record.error = "failed", wire(error).code
            if isinstance(error, BackendError):
                error.backend = record.backend
            raise
        finally:
            outcome = record.outcome()
            for observe in self._on_outcome:
                observe(outcome)

    async def _first(
        self,
        stack: AsyncExitStack,
        candidates: Sequence[Candidate],
        record: "Record",
        notify: Callable[[Notice], None],
        ask: Callable[[AsyncExitStack, Candidate], Awaitable[T]],
    ) -> T:
        """What the first candidate says that does not fail. What `ask` enters stays entered, on `stack`."""
        for left, candidate in zip(reversed(range(len(candidates))), candidates, strict=True):
            record.backend, record.backend_model = candidate.backend.name, candidate.model
            attempt = AsyncExitStack()
            try:
                slots = self._slots[candidate.backend.name]
                await attempt.enter_async_context(slots.one(candidate.backend.slots, partial(told, notify, candidate)))
                async with Deadline("first_event", self._deadlines.first_event):
                    answer = await ask(attempt, candidate)
            except BackendError as error:
                await attempt.aclose()
                if not (error.retryable and left):
                    raise
                code = wire(error).code
                record.failed_attempts.append(Attempt(candidate.backend.name, candidate.model, code))
                log.info("attempt_failed", backend=candidate.backend.name, model=candidate.model, error=code)
            except BaseException:
                await attempt.aclose()
                raise
            else:
                record.first_event = time.monotonic() - record.began
                stack.push_async_exit(attempt)
                return answer
        raise AssertionError("a route has at least one candidate")

    def lines(self) -> Mapping[str, Slots]:
        """By backend that was ever asked: its places, and the line before them."""
        return self._slots


def told(notify: Callable[[Notice], None], candidate: Candidate, place: int) -> None:
    """Say where a request goes, and its place in line there."""
    notify(Notice("route", {"model": candidate.model, "backend": candidate.backend.name, "queue_position": place}))


def completed(request: Request, route: Route, default_max_output_tokens: int) -> Request:
    """The request for the route's first candidate, with the alias's defaults where it is silent."""
    alias = route.alias
    messages = request.messages
    if alias.instructions and request.prompt is None and not any(message.role == "system" for message in messages):
        messages = (said("system", alias.instructions), *messages)
    return replace(
        request,
        model=route.candidates[0].model,
        messages=messages,
        max_output_tokens=request.max_output_tokens or alias.max_output_tokens or default_max_output_tokens,
        sampling=request.sampling.otherwise(alias.sampling),
    )


async def content(batches: Batches) -> Sequence[Event]:
    """The first batch that says something. An answer may also end without a word."""
    async for batch in batches:
        if batch:
            return batch
    raise AssertionError("a stream ends with Finished or a BackendError")


class Record:
    """What is known of a call so far; becomes its Outcome."""

    def __init__(self, call: Call, model: str) -> None:
        self._call, self._model = call, model
        self.began = time.monotonic()
        self.status: Status = "incomplete"
        self.error: str | None = None
        self.backend: str | None = None
        self.backend_model: str | None = None
        self.failed_attempts: list[Attempt] = []
        self.first_event: float | None = None
        self.usage: Usage | None = None
        self.pace: Pace | None = None

    def finished(self, event: Finished) -> None:
        """The backend said all."""
        self.status = "completed" if event.reason == "stop" else "incomplete"
        self.usage = event.usage

    def embedded(self, made: Embeddings) -> None:
        """The backend gave all vectors."""
        self.status = "completed"
        if made.input_tokens is not None:
            self.usage = Usage(made.input_tokens, 0)

    def outcome(self) -> Outcome:
        """The record as a value, now."""
        return Outcome(
            request_id=self._call.request_id,
            principal=self._call.principal.id,
            model=self._model,
            status=self.status,
            error=self.error,
            backend=self.backend,
            backend_model=self.backend_model,
            failed_attempts=tuple(self.failed_attempts),
            first_event=self.first_event,
            duration=time.monotonic() - self.began,
            usage=self.usage,
            gaps=self.pace.gaps() if self.pace else None,
        )
