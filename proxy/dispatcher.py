"""Everything that happens to one call, in order. The retry, the queue and the deadlines live here and nowhere else.

1 resolve      the model's name → candidates in order (Runtime), without those that cannot do what is asked (fitness)
2 admit        a slot of the candidate's backend, in the order of asking
3 stream       until its first content event, under its deadline; a failure → what proxy/retry.py says, from 2 on
── commit ──   from here one backend; an error goes to whoever reads
4 answer       to the reader's sink; each wait under the idle deadline, all of it under the total one
5 outcome      recorded on every way out, without waiting
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace

from backends.base import Batches, Embedder, Embeddings, TokenCounter
from backends.errors import BackendError, ModelNotFound, UnsupportedFeature
from backends.events import Citation, Event, Finished, Signature, Usage
from backends.request import EmbeddingRequest, Request, said
from proxy.answer import Answer
from proxy.deadlines import Deadline, Deadlines, Silence
from proxy.fitness import fitting, within
from proxy.outcome import Attempt, Call, Notice, Outcome, Status
from proxy.pace import Pace
from proxy.retry import Attempts, Budget, Turn
from proxy.runtime import NO_ALIAS, Candidate, Route, Runtime
from proxy.slots import Slots
from proxy.wire_errors import sentence, wire

log = structlog.get_logger()
T = TypeVar("T")


class Dispatcher:
    """Runs calls. `queue` bounds how many may wait for one backend's slots; outcomes go to each of `on_outcome`.

    `now`, `sleep` and `dice` are those of the waits between attempts.
    """

    def __init__(
        self,
        *,
        runtime: Callable[[], Runtime],
        deadlines: Deadlines,
        queue: int,
        default_max_output_tokens: int,
        on_outcome: Sequence[Callable[[Outcome], None]],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._deadlines = deadlines
        self._default_max_output_tokens = default_max_output_tokens
        self._on_outcome = on_outcome
        self._slots: defaultdict[str, Slots] = defaultdict(lambda: Slots(queue, deadlines.queue))
        self._budgets: defaultdict[str, Budget] = defaultdict(Budget)
        self._now, self._sleep, self._dice = now, sleep, dice

    def plan(self, request: Request) -> tuple[Route, Request]:
        """Where a request goes, and what its first candidate is asked. Raises UnknownModel or AmbiguousModel."""
        route = self._runtime().resolve(request.model)
        return route, completed(request, route, self._default_max_output_tokens)

    @asynccontextmanager
    async def open(
        self, call: Call, route: Route, request: Request, name: str, notify: Callable[[Notice], None]
    ) -> AsyncIterator[Answer]:
        """The answer of the first attempt that gives one. Raises the BackendError of one that failed (Attempts.told),
        or at any later moment the chosen one's. `name` is the model as it was asked for; `notify` hears where it goes,
        at once.
        """
        record = Record(call, name)

        async def streamed(attempt: AsyncExitStack, candidate: Candidate) -> tuple[Batches, Sequence[Event]]:
            batches = await attempt.enter_async_context(candidate.backend.stream(asked_of(candidate, request)))
            return batches, await content(batches)

        with self._recorded(record), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                candidates, notify = passing_by(route.candidates, request, notify)
                batches, head = await self._first(stack, candidates, record, notify, streamed)
                answer = Answer(batches, head, record.finished)
                record.pace = answer.pace
                with Silence("idle", self._deadlines.idle, answer.silent_since):
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
        with self._recorded(record), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                candidates, _ = passing_by(candidates, request, lambda _: None)
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
                with suppress(BackendError), Deadline("first_event", self._deadlines.first_event):
                    return await candidate.backend.count_tokens(asked_of(candidate, asked))
        return None

    @contextmanager
    def _recorded(self, record: "Record") -> Iterator[None]:
        """What happens inside becomes the record's outcome."""
        try:
            yield
        except asyncio.CancelledError:
            record.status = "cancelled"
            raise
        except Exception as error:
            record.status, record.error = "failed", wire(error).code
            if isinstance(error, BackendError) and error.backend is None:
                error.backend = record.backend
            record.reason = error.reason if isinstance(error, BackendError) else sentence(error)
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
        """What the first attempt gives that does not fail. What `ask` enters stays on `stack`, empty before."""
        backends = [candidate.backend.name for candidate in candidates]
        attempts = Attempts(backends, self._budgets, self._deadlines.retry, self._dice)
        turn = attempts.first(self._now())
        while True:
            candidate = candidates[turn.candidate]
            record.backend, record.backend_model = candidate.backend.name, candidate.model
            try:
                await self._begin(stack, candidate, turn, notify)
                with Deadline("first_event", self._deadlines.first_event):
                    answer = await ask(stack, candidate)
            except BackendError as error:
                await stack.aclose()  # it is empty again, and takes the next attempt
                error.backend = candidate.backend.name
                following = attempts.failed(error, self._now())
                if following is None:
                    heard, told = attempts.told(self._now())
                    if heard != turn.candidate:  # an earlier failure says more than this one
                        record.failed(candidate, error)
                        record.ends_with(candidates[heard])
                    raise told from None
                record.failed(candidate, error, following.wait)
                turn = following
            else:
                record.first_event = time.monotonic() - record.began
                return answer

    async def _begin(
        self, attempt: AsyncExitStack, candidate: Candidate, turn: Turn, notify: Callable[[Notice], None]
    ) -> None:
        """Wait as long as the turn says, then for a place; it is held until `attempt` is left."""
        with Deadline("retry", turn.left):
            if turn.wait:
                await self._sleep(turn.wait)
            slots = self._slots[candidate.backend.name]
            await attempt.enter_async_context(slots.one(candidate.backend.slots, partial(told, notify, candidate)))

    def lines(self) -> Mapping[str, Slots]:
        """By backend that was ever asked: its places, and the line before them."""
        return self._slots


def told(notify: Callable[[Notice], None], candidate: Candidate, place: int) -> None:
    """Say where a request goes, and its place in line there."""
    notify(Notice("route", {"model": candidate.model, "backend": candidate.backend.name, "queue_position": place}))


def completed(request: Request, route: Route, default_max_output_tokens: int) -> Request:
    """The request for the route's first candidate, with the alias's defaults where it is silent."""
    alias = route.alias
    model, bound = route.candidates[0].model, request.max_output_tokens
    if alias is NO_ALIAS and model == request.model and bound:
        return request
    messages = request.messages
    if alias.instructions and request.prompt is None and not any(message.role == "system" for message in messages):
        messages = (said("system", alias.instructions), *messages)
    return replace(
        request,
        model=model,
        messages=messages,
        max_output_tokens=bound or alias.max_output_tokens or default_max_output_tokens,
        sampling=request.sampling.otherwise(alias.sampling),
    )


def asked_of(candidate: Candidate, request: Request) -> Request:
    """The request under the id by which that backend knows the model, for no more than that can say."""
    request = within(request, candidate.known)
    return request if request.model == candidate.model else replace(request, model=candidate.model)


def passing_by(
    candidates: Sequence[Candidate], request: Request | EmbeddingRequest, notify: Callable[[Notice], None]
) -> tuple[tuple[Candidate, ...], Callable[[Notice], None]]:
    """Those that may be able to do what is asked, and `notify` with the others in each notice. Each is logged.

    Raises UnsupportedFeature when none is left.
    """
    fit, passed = fitting(candidates, request)
    if not passed:
        return fit, notify
    shown = [each.shown() for each in passed]
    for each in shown:
        log.info("passed_over", **each)
    return fit, lambda notice: notify(Notice(notice.kind, {**notice.data, "passed_over": shown}))


async def content(batches: Batches) -> Sequence[Event]:
    """All up to the first batch that says something. An answer may also end without a word."""
    head: list[Event] = []
    async for batch in batches:
        head += batch
        if any(not isinstance(event, Signature | Citation) for event in batch):
            return head
    raise AssertionError("a stream ends with Finished or a BackendError")


class Record:
    """What is known of a call so far; becomes its Outcome."""

    def __init__(self, call: Call, model: str) -> None:
        self._call, self._model = call, model
        self.began = time.monotonic()
        self.status: Status = "incomplete"
        self.error: str | None = None
        self.reason: str | None = None
        self.backend: str | None = None
        self.backend_model: str | None = None
        self.failed_attempts: list[Attempt] = []
        self.first_event: float | None = None
        self.usage: Usage | None = None
        self.pace: Pace | None = None

    def failed(self, candidate: Candidate, error: BackendError, wait: float = 0.0) -> None:
        """An attempt failed; another follows after `wait` seconds, or the request ends with an earlier one's error."""
        code = wire(error).code
        self.failed_attempts.append(Attempt(candidate.backend.name, candidate.model, code, wait))
        # Who configured that target must hear of it: the client is told of another's failure.
        say = log.warning if isinstance(error, ModelNotFound) else log.info
        say(
            "attempt_failed",
            attempt=len(self.failed_attempts),
            backend=candidate.backend.name,
            model=candidate.model,
            error=code,
            reason=error.reason,
            status=getattr(error, "status", None),
            retry_after=error.retry_after,
            wait_ms=round(wait * 1000, 1),
        )

    def ends_with(self, candidate: Candidate) -> None:
        """The request ends with the error of `candidate`'s attempt, which is then not one of those before the end."""
        self.backend, self.backend_model = candidate.backend.name, candidate.model
        ended = [(each.backend, each.model) == (self.backend, self.backend_model) for each in self.failed_attempts]
        del self.failed_attempts[len(ended) - 1 - ended[::-1].index(True)]

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
            reason=self.reason,
        )
