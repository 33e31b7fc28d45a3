"""Between the dispatcher and the ledger: what metered candidates would cost, reserved before, settled after.

Nothing here decides when or where to try: that is the dispatcher's. What a settlement or an observation says is queued
at once and written behind; only a reservation waits for the disk, because it must be there before the first byte.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from secrets import token_hex
from typing import TypeVar

import structlog

from backends.base import Keyed
from backends.errors import BackendError, QuotaExhausted, Scope
from backends.events import Usage
from backends.request import EmbeddingRequest, Request
from proxy import estimate, free, observed, quota_report
from proxy.errors import FreeQuotaExhausted, LedgerFailed, TooLargeForQuota
from proxy.estimate import Estimate, TooLarge
from proxy.fairness import had
from proxy.free_memory import FreeMemory, conversation_of
from proxy.line import Line
from proxy.metered import Metered
from proxy.observed import Known, Told
from proxy.outcome import Call, Notice, Outcome
from proxy.quota_counts import QuotaCounts
from proxy.runtime import Candidate
from proxy.selection import PassedOver, Policy, Profile, Selection, Wish, pool_words, quantity, scopes
from proxy.spend import Spend
from proxy.wire.extras import wish_of
from quota.headers import HeaderRule
from quota.ledger import Attempt, Denied, Ledger, LedgerUnusable, Settled
from quota.pool import SECOND, Micros
from quota.windows import ENDLESS

log = structlog.get_logger()
R = TypeVar("R", Request, EmbeddingRequest)
AGAIN = 0.05  # seconds: where the ledger denied what its last picture allowed, another process was quicker
SOON = 1.0  # seconds between two looks while others' reservations may be settled
JITTER = 0.5  # seconds after a reset, so that not all ask in the same moment


class Spending:
    """`when_spent` are the operator's steps, `wait` the longest wait for a reset in seconds, `local` BACKEND/MODELs.

    `rules` say what headers mean, by provider; `confirm` hears the time that answers bring. `unknown` are the limits
    without a number (Accounts.unknown); when a provider tells one, `on_learned` hears it. `sleep` and `wait` are in the
    ledger's seconds. What a Spend says goes through here to the ledger.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        rules: Mapping[str, Sequence[HeaderRule]],
        unknown: Mapping[str, Mapping[str, str]],
        on_learned: Callable[[Mapping[str, int]], Awaitable[None]],
        memory: FreeMemory,
        policy: Policy,
        counts: QuotaCounts,
        confirm: Callable[[Micros], None],
        when_spent: Sequence[str],
        wait: float,
        local: Sequence[str],
        waiting_per_principal: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._rules, self._unknown, self._on_learned = rules, unknown, on_learned
        self._failures: Counter[str] = Counter()  # in a row, by scope
        self._memory = memory
        self._counts = counts
        self._confirm = confirm
        self._policy = policy
        self._when_spent = tuple(when_spent)
        self.wait = wait
        self.local = tuple(local)
        self.line = Line(waiting_per_principal, lambda who: had(who, ledger.headroom(), policy.standings))
        self._sleep, self._dice = sleep, dice
        self._changed = asyncio.Event()
        self._writes: set[asyncio.Future[object]] = set()

    def when_spent(self, request: Request | EmbeddingRequest, candidates: Sequence[Candidate]) -> tuple[str, ...]:
        """What is tried when all is spent, each once: in the caller's order, who cannot widen it, or the operator's.

        Without what there is nobody for: an attempt is kept for who comes later.
        """
        wanted = wish_of(request).when_spent
        steps = dict.fromkeys(self._when_spent if wanted is None else wanted)
        paid = any(each.metered is not None and not each.metered.free for each in candidates)
        there = {"wait": True, "local": bool(self.local), "paid": paid}
        return tuple(step for step in steps if step in self._when_spent and there[step])

    def select(
        self,
        call: Call,
        candidates: Sequence[Candidate],
        request: Request | EmbeddingRequest,
        profile: str,
        *,
        paid: bool = False,
    ) -> Selection:
        """Which of them to ask, in order, and why not the others."""
        self._look_at_keys(candidates)
        asked = wish_of(request)
        wish = Wish(
            who=call.principal.id,
            work=asked.work,
            profile=profile_of(profile),
            data=asked.data,
            paid=paid,
            conversation=conversation_of(call.principal.id, request),
            by_default=isinstance(request, Request) and not request.bounded,
        )
        return free.select(
            candidates,
            request,
            wish,
            self._policy,
            headroom=self._ledger.headroom(),
            cooldowns=self._ledger.cooldowns(),
            now=self._ledger.now(),
            memory=self._memory,
            dice=self._dice,
        )

    def _look_at_keys(self, candidates: Sequence[Candidate]) -> None:
        """Whoever rests because its key was refused is asked again once it has another one, from a file."""
        for scope, cooldown in self._ledger.cooldowns().items():
            if cooldown.why != observed.KEY_REFUSED:
                continue
            for backend in {each.backend.name: each.backend for each in candidates}.values():
                if scope == f"account:{backend.name}" and isinstance(backend, Keyed) and backend.key_counts.usable:
                    self._written(self._ledger.warm(scope))

    def opens_in(self, selection: Selection) -> float | None:
        """Seconds until another look may find more; None when waiting does not help."""
        if selection.chosen:
            return AGAIN
        if selection.opens_at is None:
            return None
        seconds = max(AGAIN, (selection.opens_at - self._ledger.now()) / SECOND)
        return min(seconds, SOON) if any(map(may_settle, selection.passed_over)) else seconds

    async def change(self, seconds: float) -> float:
        """Wait that long, and a little more at random; or less, when something was given back. How long it was."""
        began = self._ledger.now()
        self._changed.clear()
        sleeping = asyncio.ensure_future(self._sleep(seconds + JITTER * self._dice()))
        sleeping.add_done_callback(self._slept)
        try:
            await self._changed.wait()
        finally:
            sleeping.cancel()
        return (self._ledger.now() - began) / SECOND

    def _slept(self, sleeping: "asyncio.Future[None]") -> None:
        """All in line look, and not only who happens to wake first: their order is the line's."""
        if not sleeping.cancelled():
            self._changed.set()

    async def reserve(self, call: Call, candidate: Candidate, asked: R) -> Spend:
        """What `asked` may take at most of the candidate's pools, on the disk when this returns.

        Raises QuotaExhausted, by which nobody was asked, TooLargeForQuota or LedgerFailed.
        """
        metered = candidate.metered
        assert metered is not None
        bound, text = self._estimated(metered, asked)
        self._memory.asked(call.principal.id, self._ledger.now())
        amounts = estimate.amounts(metered, bound)
        attempt = Attempt(token_hex(12))  # not the request's own id, which its caller may have chosen
        try:
            answer = await self._ledger.reserve(attempt, amounts, call.principal.id)
        except LedgerUnusable as error:
            log.error("ledger_failed", account=metered.account, reason=str(error))
            raise LedgerFailed(str(error)) from None
        except asyncio.CancelledError:
            self._written(self._ledger.release(attempt, "cancelled"))
            raise
        if isinstance(answer, Denied):
            self._counts.deny(answer)
            log.info("quota_denied", account=metered.account, model=metered.model, pool=answer.pool, why=answer.why)
            raise unasked(QuotaExhausted(self._seconds(answer.opens_at), Scope.MODEL))
        self._counts.grant(amounts)
        return Spend(self, metered, attempt, bound, text)

    def notice(self, metered: Metered, who: str) -> Notice:
        """How the pools of a model stand, for a client that wants to know."""
        headroom, cooldowns, now = self._ledger.headroom(), self._ledger.cooldowns(), self._ledger.now()
        return Notice("quota", quota_report.notice(metered, headroom, now, who, cooldowns=cooldowns))

    def exhausted(self, call: Call, selection: Selection) -> FreeQuotaExhausted:
        """The error that lists every pool in the way, with when it opens for this request."""
        pools = {each.head.pool.id: each for each in selection.passed_over if each.head is not None}
        paid = {pool for pool, each in pools.items() if each.candidate.metered and not each.candidate.metered.free}
        now, who = self._ledger.now(), call.principal.id
        rows = []
        headroom, cooldowns = self._ledger.headroom(), self._ledger.cooldowns()
        for row in quota_report.report(headroom, now, who, pools.keys(), paid, cooldowns=cooldowns):
            over = pools[row.pool]
            opens_at = quota_report.moment(None if over.wait is None else now + over.wait)
            rows.append({**quota_report.shown(row), "opens_at": opens_at, "why": over.why})
        ordered = sorted(selection.passed_over, key=lambda each: (each.wait is None, each.wait or 0))
        reasons = [f"{each.candidate.backend.name}/{each.candidate.model}: {plain(each)}" for each in ordered]
        wait = AGAIN if selection.chosen else self._seconds(selection.opens_at)
        return FreeQuotaExhausted(rows, wait, reasons)

    def observe(self, outcome: Outcome) -> None:
        """A call has ended."""
        self._memory.observe(outcome)

    def stick(self, call: Call, request: Request | EmbeddingRequest, spend: Spend | None) -> None:
        """What was reserved answers the conversation, and is to go on with it."""
        if spend is not None and (name := conversation_of(call.principal.id, request)) is not None:
            self._memory.stick(name, spend.metered.account, spend.metered.model, self._ledger.now())

    # What a Spend says.

    def heard(self, metered: Metered, limits: Mapping[str, str]) -> None:
        """The headers of an answer that is no error."""
        if (date := observed.date(limits)) is not None:
            self._confirm(date)
        if limits:
            self._note(observed.answered(self._known(metered), limits, self._ledger.now()))

    def succeeded(self, metered: Metered) -> None:
        """It said something: what was guessed of it, or seemed to need somebody's hand, is over."""
        cooldowns = self._ledger.cooldowns()
        for scope in scopes(metered):
            del self._failures[scope]
            found = cooldowns.get(scope)
            if found is not None and (found.guessed or found.until >= ENDLESS):
                self._written(self._ledger.warm(scope))

    def refused(self, metered: Metered, error: BackendError) -> None:
        """An error of the provider, with what it says of its limits."""
        scope = observed.scope_of(metered, error)
        before = 0 if scope is None else self._failures[scope]
        if scope is not None:
            self._failures[scope] += 1
        self._note(observed.failed(self._known(metered), error, self._ledger.now(), before))

    def _known(self, metered: Metered) -> Known:
        return Known(metered, self._ledger.headroom(), self._rules.get(metered.provider, ()), self._unknown)

    def _note(self, told: Told) -> None:
        for observation in told.observations:
            self._written(self._ledger.observe(observation))
        for cooldown in told.cooldowns:
            self._written(self._ledger.cool(cooldown))
        if told.learned:
            self._written(self._on_learned(told.learned))

    def settle(self, attempt: Attempt, used: Mapping[str, int], answered: float | None) -> None:
        """Book it."""
        self._written(self._settled(self._ledger.settle(attempt, used, answered)))

    def release(self, attempt: Attempt, why: str) -> None:
        """Give it back."""
        self._written(self._ledger.release(attempt, why))

    def learn(self, metered: Metered, text: int | None, usage: Usage) -> None:
        """What the provider counted, for a prompt of so many bytes of text and nothing else."""
        if text is not None:
            self._memory.calibration.learn(metered.provider, metered.model, text, usage.input_tokens)

    def _estimated(self, metered: Metered, asked: Request | EmbeddingRequest) -> tuple[Estimate, int | None]:
        """The bound of what it takes, and the bytes of its prompt where that is text alone."""
        headroom, size = self._ledger.headroom(), estimate.measured(asked)
        ratio = self._memory.calibration.ratio(metered.provider, metered.model)
        bound = estimate.estimated(metered, size, headroom, ratio)
        by_default = isinstance(asked, Request) and not asked.bounded
        fitting = estimate.shortened(metered, bound, headroom, by_default)
        if isinstance(fitting, TooLarge):
            draw, head = fitting.draw, headroom.get(fitting.draw.pool)
            raise TooLargeForQuota(quantity(draw, fitting.amount), pool_words(draw, head), quantity(draw, fitting.cap))
        return fitting, size.bytes if size.prompt("") == size.bytes + size.marks else None

    async def _settled(self, settled: Awaitable[Settled | None]) -> None:
        self._counts.settle(await settled)

    def _seconds(self, at: Micros | None) -> float | None:
        return None if at is None else max(0.0, (at - self._ledger.now()) / SECOND)

    def _written(self, done: Awaitable[object]) -> None:
        """Nobody waits for it; that it failed is logged, and that it is done wakes those who wait for quota."""
        writing = asyncio.ensure_future(done)
        self._writes.add(writing)
        writing.add_done_callback(self._done)

    def _done(self, writing: "asyncio.Future[object]") -> None:
        self._writes.discard(writing)
        self._changed.set()
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.error("ledger_failed", reason=str(error))


def may_settle(over: PassedOver) -> bool:
    """Whether it may open at any moment: enough of it is reserved, and mostly less than that is used in the end."""
    return over.why == "spent" and over.head is not None and over.head.left + over.head.reserved >= over.amount


def unasked(error: BackendError) -> BackendError:
    """The same, by which no backend was asked."""
    error.asked = False
    return error


def plain(over: PassedOver) -> str:
    """A reason in the middle of a sentence."""
    reason = over.reason.rstrip(".")
    return reason[:1].lower() + reason[1:]


def profile_of(name: str) -> Profile:
    """One of the profiles; the runtime gives no other."""
    match name:
        case "fast" | "best" | "cheap":
            return name
    return "auto"
