"""Everything that happens to one call, in order. The retry, the queue and the deadlines live here and nowhere else.

1 resolve      the model's name → sets of candidates (Runtime)
2 choose       rules, the learned router, constraints, strategies: candidates in order with a reason each (Chooser);
               for free/…: by what is left of their quotas (Spending); when all is spent, what then
3 admit        a place at the candidate's backend, in a fair line (Places), unless its breaker is open (Vitals)
4 reserve      only for a candidate that is metered, and on the disk before its first byte; denied → the next
5 stream       until its first content event, under its deadline; a failure → what proxy/retry.py says, from 3 on;
               slow → maybe another one beside it (Hedges)
── commit ──   from here one backend; an error goes to whoever reads
6 answer       to the reader's sink; each wait under the idle deadline, all of it under the total one
7 settle       what was used, how the target is, and the outcome: recorded on every way out, without waiting
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace

from backends.base import Batches, Embedder, Embeddings, TokenCounter
from backends.errors import BackendError, QuotaExhausted, RateLimited, UnsupportedFeature
from backends.request import EmbeddingRequest, Request
from proxy.answer import Answer
from proxy.asked import asked_of, completed
from proxy.chooser import Chooser
from proxy.deadlines import Deadline, Deadlines, Silence
from proxy.errors import BadParameter, FreeQuotaExhausted
from proxy.explaining import decided, explained, passing_by
from proxy.hedged import Slow, hedged
from proxy.outcome import Call, Notice, Outcome
from proxy.places import Gate, Place, Places
from proxy.prices import chargeable
from proxy.queue_ticket import ticket_of
from proxy.record import Record, recorded
from proxy.retry import MOST_ATTEMPTS, Attempts, Budget, Turn
from proxy.routing.constraints import fitting
from proxy.routing.hedging import Hedges
from proxy.routing.vitals import Vitals
from proxy.runtime import NAMES_OF_PROFILES, Candidate, Route, Runtime
from proxy.selection import Selection
from proxy.spend import Spend
from proxy.spending import Spending
from proxy.tries import Head, Tries, able, content, may_hedge, patience, steps_of, told

log = structlog.get_logger()
T = TypeVar("T")
R = TypeVar("R", Request, EmbeddingRequest)


class Dispatcher:
    """Runs calls. `chooser` says who is asked, `places` is where they wait for a backend, `vitals` knows who is well.
    Outcomes go to each of `on_outcome`.

    `spending` is where quota is reserved for candidates that are metered. With `hedges` a slow attempt may get another
    beside it. `now`, `sleep` and `dice` are those of the waits between attempts.
    """

    def __init__(
        self,
        *,
        runtime: Callable[[], Runtime],
        deadlines: Deadlines,
        places: Places,
        vitals: Vitals,
        chooser: Chooser,
        default_max_output_tokens: int,
        on_outcome: Sequence[Callable[[Outcome], None]],
        spending: Spending | None = None,
        hedges: Hedges | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._runtime = runtime
        self._deadlines = deadlines
        self._default_max_output_tokens = default_max_output_tokens
        self._on_outcome = on_outcome
        self._spending = spending
        self._places, self._vitals, self._chooser, self._hedges = places, vitals, chooser, hedges
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
        record = Record(call, name, self._now)

        async def streamed(
            attempt: Tries[Request, tuple[Batches, Head]], candidate: Candidate, asked: Request
        ) -> tuple[Batches, Head]:
            batches = await attempt.stack.enter_async_context(candidate.backend.stream(asked))
            if attempt.record.spend is not None:
                attempt.record.spend.heard(batches)
            return batches, await content(batches)

        with recorded(record, self._on_outcome), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                with Deadline("requested", patience(request)):
                    batches, head = await self._routed(Tries(stack, request, record, notify, streamed), route)
                answer = Answer(batches, head, record.finished)
                record.pace, answer.costs = answer.pace, record.costs
                if record.spend is not None:
                    answer.through = record.spend.over
                with Silence("idle", self._deadlines.idle, answer.silent_since):
                    yield answer

    async def embed(self, call: Call, request: EmbeddingRequest) -> tuple[Embeddings, int | None]:
        """The vectors of the first candidate that gives them, and what they cost, in micro-dollars.

        Raises UnknownModel, AmbiguousModel, BadParameter, FreeQuotaExhausted, or BackendError.
        """
        route = self._runtime().resolve(request.model)
        if route.ask is not None or (route.profile is not None and request.model in NAMES_OF_PROFILES):
            raise BadParameter(
                "Vectors of different models do not compare. Name one: BACKEND/MODEL, or free/MODEL.", "model"
            )
        record = Record(call, request.model, self._now)

        async def embedded(_: object, candidate: Candidate, asked: EmbeddingRequest) -> Embeddings:
            if not isinstance(candidate.backend, Embedder):
                raise UnsupportedFeature("embeddings", "model")
            return await candidate.backend.embed(asked)

        route = route.only(
            lambda each: isinstance(each.backend, Embedder)
        )  # nobody waits for one that could only refuse
        with recorded(record, self._on_outcome), Deadline("total", self._deadlines.total):
            async with AsyncExitStack() as stack:
                made = await self._routed(Tries(stack, request, record, lambda _: None, embedded), route)
                record.embedded(made)
                return made, record.cost

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

    async def _routed(self, tries: "Tries[R, T]", route: Route) -> T:
        """What the first of the route's sets gives that can do what is asked; each is tried once, and so each target.

        Raises the last error of those that were asked.
        """
        choice = await self._chooser.choose(
            tries.record.call, tries.record.model, route, tries.request, self._runtime()
        )
        tries.record.routed, tries.alone = choice.routed(), len(choice.route.candidates) == 1
        tries.may = partial(self._chooser.may, choice)
        for over in choice.decision.passed_over:
            log.info("passed_over", **over.shown())
        tries.notify = decided(choice.decision, tries.notify)
        steps = list(steps_of(choice.decision))
        failure: BackendError | FreeQuotaExhausted | None = None
        for number, (profile, among) in enumerate(steps, start=1):
            later = number < len(steps)  # one attempt is theirs
            if not (candidates := tries.left(among)):
                continue
            tries.goes_on(failure)
            try:
                if profile is not None and self._spending is not None:
                    return await self._of_quota(self._spending, tries, candidates, profile, kept=later)
                answer = await self._first(tries, candidates, later=later)
                self._chooser.answered(choice, tries.record.candidate)
                return answer
            except (BackendError, FreeQuotaExhausted) as error:
                again = isinstance(error, FreeQuotaExhausted) or error.retryable
                if not again or tries.made >= MOST_ATTEMPTS:
                    raise
                failure = error
        assert failure is not None, "a decision has at least one candidate"
        raise failure

    async def _first(
        self,
        tries: "Tries[R, T]",
        candidates: Sequence[Candidate],
        *,
        later: int = 0,
        held: Spend | None = None,
    ) -> T:
        """What the first attempt gives that does not fail. What `ask` enters stays on the stack. So many attempts are
        left for others, who come `later`.

        `held` is what was reserved already for the first candidate.
        """
        record, most = tries.record, MOST_ATTEMPTS - tries.made - later
        backends, alone = [candidate.backend.name for candidate in candidates], tries.alone and not later
        attempts = Attempts(backends, self._budgets, self._deadlines.retry, self._dice, most, alone=alone)
        turn = attempts.first(self._now())
        while True:
            candidate = candidates[turn.candidate]
            try:
                first = turn.left is None and most > 1  # what follows a failure is not hedged
                if first and may_hedge(tries.request, candidates[:2]) and (slow := self._slow(candidate)) is not None:
                    attempt = partial(self._attempt, held=None)
                    return await hedged(tries, attempts, candidates, slow, attempt, now=self._now)
                return await self._attempt(tries, candidate, turn, held)
            except BackendError as error:
                await tries.stack.aclose()  # it is empty again, and takes the next attempt
                following = attempts.failed(error, self._now())
                tries.failed(candidate, error)
                if following is None:
                    heard, told = attempts.told(self._now())
                    if heard != turn.candidate:  # an earlier failure says more than this one
                        record.failed(candidate, error)
                        record.ends_with(candidates[heard])
                    raise told from None
                record.failed(candidate, error, following.wait)
                turn, held = following, None

    def _slow(self, candidate: Candidate) -> Slow | None:
        """After how many seconds it gets another one beside it, if that may be then; None for never. The probe after
        which a breaker closes always does: for that nobody shall wait.
        """
        standing, hedges = self._vitals.standing(candidate, self._now()), self._hedges
        if standing.state == "half_open":
            return standing.patience, lambda: True
        return None if hedges is None else (hedges.due(self._now()), lambda: hedges.take(self._now()))

    async def _attempt(self, tries: "Tries[R, T]", candidate: Candidate, turn: Turn, held: Spend | None) -> T:
        """What `ask` gives: after a place, the breaker's word, and a reservation where the candidate is metered."""
        record = tries.record
        record.begins(candidate)
        record.spend = held
        try:
            record.place = await self._begin(tries, candidate, turn)
            own_key = candidate.backend.name in tries.request.keys
            record.visit = self._vitals.begin(candidate, self._now(), own_key=own_key)
            asked = asked_of(candidate, tries.request)
            record.price = candidate.price if chargeable(asked) else None
            if candidate.metered is not None and self._spending is not None:
                record.spend = record.spend or await self._spending.reserve(record.call, candidate, asked)
                asked = record.spend.request(asked)
                tries.notify(self._spending.notice(candidate.metered, record.call.principal.id))
            with Deadline("first_event", self._deadlines.first_event):
                answer = await tries.ask(tries, candidate, asked)
        except BackendError as error:
            error.backend = candidate.backend.name
            record.settle(error)
            raise
        record.answered()
        return answer

    async def _of_quota(
        self,
        spending: Spending,
        tries: "Tries[R, T]",
        candidates: Sequence[Candidate],
        profile: str,
        *,
        kept: int,
    ) -> T:
        """Free quota first, the best of it now. When that is spent, or fails: what the caller or the operator wants
        then, one after the other. Raises FreeQuotaExhausted, or the error of the last backend that was asked.

        Waiting helps only against refusals for quota, and while an attempt is left for it. So many attempts are `kept`
        for others.
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
            later = kept + (not {"local", "paid"}.isdisjoint(steps[number:]))  # one attempt is theirs
            held, chosen = None, list[Candidate]()
            try:
                if step == "wait" and (failure is None or isinstance(failure, RateLimited | QuotaExhausted)):
                    if tries.made + later < MOST_ATTEMPTS:
                        hopeful = tries.left(candidates, refused=True)
                        selection, held = await self._when_it_opens(spending, tries, hopeful, profile)
                        tries.notify = explained(selection, notify)
                        chosen = [each.candidate for each in selection.chosen[:1] if held is not None]
                elif step == "local":
                    local = tries.left(self._runtime().targets(spending.local))
                    chosen = able([each for each in local if tries.may(each)], request)
                elif step in {"now", "paid"}:
                    selection = spending.select(call, tries.left(candidates), request, profile, paid=step == "paid")
                    chosen = [each.candidate for each in selection.chosen]
                    tries.notify = explained(selection, notify)
                if chosen:
                    tries.goes_on(failure)
                    answer = await self._first(tries, chosen, later=later, held=held)
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

    async def _begin(self, tries: "Tries[R, T]", candidate: Candidate, turn: Turn) -> Place:
        """Wait as long as the turn says, then for a place; it is held until the attempt is left."""
        with Deadline("retry", turn.left):
            if turn.wait:
                await self._sleep(turn.wait)
            record = tries.record
            ticket = ticket_of(record.call, candidate.model, tries.request, self._now() - record.began)
            tell = partial(told, tries.notify, candidate)
            return await tries.stack.enter_async_context(self._places.place(candidate.backend, ticket, tell))

    def lines(self) -> Mapping[str, Gate]:
        """By backend that was ever asked: its places, and the line before them."""
        return self._places.gates()
