"""Everything that happens to one call, in order. The retry, the queue and the deadlines live here and nowhere else.

1 resolve      the model's name → candidates in order (Runtime), without those that cannot do what is asked (fitness)
2 choose       for free/…: which of them, by what is left of their quotas (Spending); when all is spent, what then
3 admit        a slot of the candidate's backend, in the order of asking
4 reserve      only for a candidate that is metered, and on the disk before its first byte; denied → the next
5 stream       until its first content event, under its deadline; a failure → what proxy/retry.py says, from 3 on
── commit ──   from here one backend; an error goes to whoever reads
6 answer       to the reader's sink; each wait under the idle deadline, all of it under the total one
7 settle       what was used, and the outcome: recorded on every way out, without waiting
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import structlog
from msgspec.structs import replace

from backends.base import Batches, Embedder, Embeddings, TokenCounter
from backends.errors import BackendError, QuotaExhausted, RateLimited, UnsupportedFeature
from backends.events import Citation, Event, Signature
from backends.request import EmbeddingRequest, Request
from proxy.answer import Answer
from proxy.asked import asked_of, completed
from proxy.deadlines import Deadline, Deadlines, Silence
from proxy.errors import BadParameter
from proxy.explaining import explained, passing_by
from proxy.fitness import fitting
from proxy.outcome import Call, Notice, Outcome
from proxy.record import Record
from proxy.retry import MOST_ATTEMPTS, Attempts, Budget, Turn
from proxy.runtime import NAMES_OF_PROFILES, Candidate, Route, Runtime
from proxy.selection import Selection
from proxy.slots import Slots
from proxy.spend import Spend
from proxy.spending import Spending
from proxy.wire_errors import sentence, wire

log = structlog.get_logger()
T = TypeVar("T")
R = TypeVar("R", Request, EmbeddingRequest)
Head: TypeAlias = Sequence[Event]


@dataclass(slots=True)
class Tries(Generic[R, T]):
    """What all attempts of one call share. What `ask` enters stays on `stack`, which is empty before each.

    `made` counts those by which a backend was asked.
    """

    stack: AsyncExitStack
    request: R
    record: Record
    notify: Callable[[Notice], None]
    ask: Callable[[AsyncExitStack, Candidate, R], Awaitable[T]]
    made: int = 0


class Dispatcher:
    """Runs calls. `queue` bounds how many may wait for one backend's slots; outcomes go to each of `on_outcome`.

    `spending` is where quota is reserved for candidates that are metered. `now`, `sleep` and `dice` are those of the
    waits between attempts.
    """

    def __init__(
        self,
        *,
        runtime: Callable[[], Runtime],
        deadlines: Deadlines,
        queue: int,
        default_max_output_tokens: int,
        on_outcome: Sequence[Callable[[Outcome], None]],
        spending: Spending | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._deadlines = deadlines
        self._default_max_output_tokens = default_max_output_tokens
        self._on_outcome = on_outcome
        self._spending = spending
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
        or at any later moment the chosen one's; FreeQuotaExhausted. `name` is the model as it was asked for; `notify`
        hears where it goes, at once.
        """
        record = Record(call, name)

        async def streamed(attempt: AsyncExitStack, candidate: Candidate, asked: Request) -> tuple[Batches, Head]:
            batches = await attempt.enter_async_context(candidate.backend.stream(asked))
            if record.spend is not None:
                record.spend.heard(batches)
            return batches, await content(batches)

        with self._recorded(record), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                batches, head = await self._routed(Tries(stack, request, record, notify, streamed), route)
                answer = Answer(batches, head, record.finished)
                record.pace = answer.pace
                if record.spend is not None:
                    answer.through = record.spend.over
                with Silence("idle", self._deadlines.idle, answer.silent_since):
                    yield answer

    async def embed(self, call: Call, request: EmbeddingRequest) -> Embeddings:
        """The vectors of the first candidate that gives them. Raises UnknownModel, AmbiguousModel, BadParameter,
        FreeQuotaExhausted, or BackendError.
        """
        route = self._runtime().resolve(request.model)
        if route.profile is not None and request.model in NAMES_OF_PROFILES:
            raise BadParameter("Vectors of different models do not compare. Name one, as free/MODEL.", "model")
        record = Record(call, request.model)

        async def embedded(_: AsyncExitStack, candidate: Candidate, asked: EmbeddingRequest) -> Embeddings:
            if not isinstance(candidate.backend, Embedder):
                raise UnsupportedFeature("embeddings", "model")
            return await candidate.backend.embed(asked)

        route = route.only(
            lambda each: isinstance(each.backend, Embedder)
        )  # nobody waits for one that could only refuse
        with self._recorded(record), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                made = await self._routed(Tries(stack, request, record, lambda _: None, embedded), route)
                record.embedded(made)
                return made

    async def count_tokens(self, request: Request) -> int | None:
        """Tokens of the prompt, as the first candidate that can count them has it; None where none can.

        Raises UnknownModel or AmbiguousModel. It takes no place in line, and is no call: nothing is generated. Nor does
        it spend anybody's quota.
        """
        route, asked = self.plan(request)
        for candidate in route.candidates:
            if isinstance(candidate.backend, TokenCounter) and candidate.metered is None:
                with suppress(BackendError), Deadline("first_event", self._deadlines.first_event):
                    return await candidate.backend.count_tokens(asked_of(candidate, asked))
        return None

    @contextmanager
    def _recorded(self, record: Record) -> Iterator[None]:
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
            record.settle(error if isinstance(error, BackendError) else None)
            raise
        finally:
            record.settle(None)
            outcome = record.outcome()
            for observe in self._on_outcome:
                observe(outcome)

    async def _routed(self, tries: "Tries[R, T]", route: Route) -> T:
        """What the first of the route's candidates gives that can do what is asked."""
        if route.profile is not None and self._spending is not None:
            return await self._of_quota(self._spending, tries, route.candidates, route.profile)
        candidates, passed = fitting(route.candidates, tries.request)
        for each in passed:
            log.info("passed_over", **each.shown())
        tries.notify = passing_by([each.shown() for each in passed], tries.notify)
        return await self._first(tries, candidates)

    async def _first(
        self,
        tries: "Tries[R, T]",
        candidates: Sequence[Candidate],
        most: int = MOST_ATTEMPTS,
        held: Spend | None = None,
    ) -> T:
        """What the first attempt gives that does not fail, of at most `most`. What `ask` enters stays on the stack.

        `held` is what was reserved already for the first candidate.
        """
        stack, record = tries.stack, tries.record
        backends = [candidate.backend.name for candidate in candidates]
        attempts = Attempts(backends, self._budgets, self._deadlines.retry, self._dice, most)
        turn = attempts.first(self._now())
        while True:
            candidate = candidates[turn.candidate]
            record.backend, record.backend_model = candidate.backend.name, candidate.model
            record.spend, held = held, None
            try:
                await self._begin(stack, candidate, turn, tries.notify)
                asked = asked_of(candidate, tries.request)
                if candidate.metered is not None and self._spending is not None:
                    record.spend = record.spend or await self._spending.reserve(record.call, candidate, asked)
                    asked = record.spend.request(asked)
                    tries.notify(self._spending.notice(candidate.metered, record.call.principal.id))
                with Deadline("first_event", self._deadlines.first_event):
                    answer = await tries.ask(stack, candidate, asked)
            except BackendError as error:
                record.settle(error)
                await stack.aclose()  # it is empty again, and takes the next attempt
                error.backend = candidate.backend.name
                following = attempts.failed(error, self._now())
                tries.made += error.asked
                if following is None:
                    heard, told = attempts.told(self._now())
                    if heard != turn.candidate:  # an earlier failure says more than this one
                        record.failed(candidate, error)
                        record.ends_with(candidates[heard])
                    raise told from None
                record.failed(candidate, error, following.wait)
                turn = following
            else:
                record.answered()
                return answer

    async def _of_quota(
        self, spending: Spending, tries: "Tries[R, T]", candidates: Sequence[Candidate], profile: str
    ) -> T:
        """Free quota first, the best of it now. When that is spent, or fails: what the caller or the operator wants
        then, one after the other. Raises FreeQuotaExhausted, or the error of the last backend that was asked.

        Waiting helps only against refusals for quota, and while an attempt is left for it.
        """
        call, request = tries.record.call, tries.request
        steps: tuple[str, ...] = spending.when_spent(request, candidates)
        failure: BackendError | None = None
        try:
            candidates, passed = fitting(candidates, request)
            tries.notify = passing_by([each.shown() for each in passed], tries.notify)
        except UnsupportedFeature as error:  # by any of these; a local model may
            candidates, failure = (), error
        notify = tries.notify
        for number, step in enumerate(("now", *steps)):
            later = not {"local", "paid"}.isdisjoint(steps[number:])  # one attempt is theirs
            held, chosen = None, list[Candidate]()
            try:
                if step == "wait" and (failure is None or isinstance(failure, RateLimited | QuotaExhausted)):
                    if tries.made + later < MOST_ATTEMPTS:
                        selection, held = await self._when_it_opens(spending, tries, candidates, profile)
                        tries.notify = explained(selection, notify)
                        chosen = [each.candidate for each in selection.chosen[:1] if held is not None]
                elif step == "local":
                    chosen = able(self._runtime().targets(spending.local), request)
                elif step in {"now", "paid"}:
                    selection = spending.select(call, candidates, request, profile, paid=step == "paid")
                    chosen = [each.candidate for each in selection.chosen]
                    tries.notify = explained(selection, notify)
                if chosen:
                    answer = await self._first(tries, chosen, MOST_ATTEMPTS - tries.made - later, held)
                    spending.stick(call, request, tries.record.spend)
                    return answer
            except BackendError as error:
                if not error.retryable or tries.made >= MOST_ATTEMPTS:
                    raise
                if error.asked or not isinstance(error, QuotaExhausted):
                    failure = error
        if failure is not None:
            raise failure
        spent = spending.exhausted(call, spending.select(call, candidates, request, profile, paid="paid" in steps))
        notify(Notice("quota", {"pools": spent.pools}))
        raise spent

    async def _when_it_opens(
        self, spending: Spending, tries: "Tries[R, T]", candidates: Sequence[Candidate], profile: str
    ) -> tuple[Selection, Spend | None]:
        """Wait in the fair line until something can be reserved: it is the first that was chosen then. Nothing is where
        that would take too long, or too many of one principal wait.
        """
        call, request, left = tries.record.call, tries.request, spending.wait

        def look() -> tuple[Selection, float | None]:
            selection = spending.select(call, candidates, request, profile)
            return selection, spending.opens_in(selection)

        def say(place: int) -> None:
            tries.notify(Notice("queue", {"position": place, "opens_in": None if wait is None else round(wait, 1)}))

        wait: float | None
        selection, wait = look()
        if wait is None or wait > left or spending.line.full(call.principal.id):
            return selection, None
        with spending.line.place(call.principal.id, say) as place:
            while wait is not None and wait <= left:
                left -= await spending.change(wait)
                async with spending.line.turn(place):
                    selection, wait = look()
                    for number, each in enumerate(selection.chosen):
                        with suppress(QuotaExhausted):
                            held = await spending.reserve(call, each.candidate, asked_of(each.candidate, request))
                            return replace(selection, chosen=selection.chosen[number:]), held
        return selection, None

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


def able(candidates: Sequence[Candidate], request: Request | EmbeddingRequest) -> list[Candidate]:
    """Those of them that may be able to do what is asked; maybe none."""
    with suppress(UnsupportedFeature):
        return list(fitting(candidates, request)[0]) if candidates else []
    return []


async def content(batches: Batches) -> Sequence[Event]:
    """All up to the first batch that says something. An answer may also end without a word."""
    head: list[Event] = []
    async for batch in batches:
        head += batch
        if any(not isinstance(event, Signature | Citation) for event in batch):
            return head
    raise AssertionError("a stream ends with Finished or a BackendError")
