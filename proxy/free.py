"""Which metered models may answer a request now, in which order to try them, and why not the others. Pure.

Hard rules come first: what the caller and the operator allow, what is closed, what fits. What is left is scored
(proxy/scoring.py). The ledger decides in the end: this reads what it last said, and where a reservation is refused the
next one here is tried.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from backends.request import EmbeddingRequest, Request
from proxy.estimate import LEAST_OUTPUT, Estimate, Size, TooLarge, amount, estimated, measured, shortened
from proxy.fairness import RELAXED, SHORT, Shares, Span, floor, relaxing
from proxy.free_memory import FreeMemory
from proxy.metered import Metered
from proxy.runtime import Candidate
from proxy.scoring import difficulty, ordered
from proxy.selection import (
    MOST_PACE,
    PLENTY,
    QUALITY,
    TERMS,
    Fit,
    PassedOver,
    Policy,
    Selection,
    Why,
    Wish,
    duration,
    scopes,
)
from quota.ledger import Cooldown, Headroom
from quota.pool import SECOND, Concurrent, Gcra, Micros
from quota.windows import ENDLESS

LEAST_WINDOW = 0.001  # of a window that is left: nearer to its end, pace says nothing more
BYTES_PER_TOKEN = 4  # of most texts; only to pass over what surely cannot read them
TRAINING = frozenset({"trains", "unclear"})
UNKNOWN_PACE = 0.5  # of who has limits that nobody knows: half of what a steady use of known ones would have left
SOON: Micros = SECOND  # when to look again where nobody knows how long it takes


def select(
    candidates: Sequence[Candidate],
    request: Request | EmbeddingRequest,
    wish: Wish,
    policy: Policy,
    *,
    headroom: Mapping[str, Headroom],
    cooldowns: Mapping[str, Cooldown],
    now: Micros,
    memory: FreeMemory,
    dice: Callable[[], float],
) -> Selection:
    """Every candidate is either chosen or passed over. `now` is the ledger's time, `dice` gives numbers from 0 to 1."""
    memory.asked(wish.who, now)
    look = Look(
        size=measured(request),
        wish=wish,
        policy=policy,
        headroom=headroom,
        cooldowns=cooldowns,
        now=now,
        memory=memory,
    )
    found = [look.at(candidate) for candidate in candidates]
    fits = [each for each in found if isinstance(each, Fit)]
    passed = tuple(each for each in found if isinstance(each, PassedOver))
    waits = [each.wait for each in passed if each.wait is not None]
    hard = difficulty(request, look.size)
    chosen = ordered(fits, hard, wish, memory, now=now, dice=dice) if fits else ()
    return Selection(chosen, passed, now + min(waits) if waits else None)


class Look:
    """One look at all candidates for one request."""

    def __init__(
        self,
        *,
        size: Size,
        wish: Wish,
        policy: Policy,
        headroom: Mapping[str, Headroom],
        cooldowns: Mapping[str, Cooldown],
        now: Micros,
        memory: FreeMemory,
    ) -> None:
        self.size = size
        self._wish, self._policy, self._headroom, self._cooldowns = wish, policy, headroom, cooldowns
        self._now, self._memory = now, memory
        self._shares = Shares(wish.who, memory.active(now), policy.standings)
        standing = policy.standings.get(wish.who)
        self._alone = self._shares.alone
        self._urgent = wish.work == "interactive" or (standing is not None and standing.exempt)
        self._prompts: dict[str, int] = {}

    def at(self, candidate: Candidate) -> Fit | PassedOver:
        """Whether it may be asked."""
        metered, size, most = candidate.metered, self.size, candidate.known.max_output
        output = size.output if most is None or size.output <= most else most
        if metered is None:
            return Fit(candidate, Estimate(size.prompt(""), output), {})
        if (why := self._forbidden(metered)) is not None:
            return PassedOver(candidate, why, detail=self._terms(metered, why))
        if self._cooldowns and (over := self._cooling(candidate, metered)) is not None:
            return over
        context = candidate.known.context
        if context is not None and context < size.bytes // BYTES_PER_TOKEN + self._least(output):
            return PassedOver(candidate, "context", detail=f"{context:,}")
        prompt = self._prompts.get(metered.provider)
        if prompt is None:
            prompt = self._prompts[metered.provider] = size.prompt(metered.provider)
        estimate = Estimate(prompt, output)
        found = self._pools(candidate, metered, estimate)
        if isinstance(found, PassedOver) and found.why == "too_large":
            smaller = self._smaller(metered, replace(size, output=output))
            if isinstance(smaller, Estimate) and smaller != estimate:
                return self._pools(candidate, metered, smaller)
        return found

    def _least(self, output: int) -> int:
        """The shortest answer that still is one, in tokens."""
        return min(LEAST_OUTPUT, output) if self._wish.by_default else output

    def _forbidden(self, metered: Metered) -> Why | None:
        """The rule of the caller or the operator that it breaks."""
        wish, policy = self._wish, self._policy
        if wish.data == "confidential":
            return "confidential"
        if metered.terms:
            if wish.data == "no_training" and metered.terms & TRAINING:
                return "training"
            if not metered.terms <= policy.accepted.get(metered.account, frozenset()):
                return "terms"
        if not metered.free and not wish.paid:
            return "paid"
        bills = metered.free and metered.overrun == "bills" and metered.account not in policy.billing
        if bills or (not metered.draws and (not metered.free or metered.overrun == "bills")):
            return "billing"  # without a pool nothing would stop it
        return None

    def _terms(self, metered: Metered, why: Why) -> str:
        """Those that the reason is about, in words."""
        match why:
            case "training":
                terms = metered.terms & TRAINING
            case "terms":
                terms = metered.terms - self._policy.accepted.get(metered.account, frozenset())
            case _:
                return ""
        return ", ".join(TERMS[term] for term in sorted(terms))

    def _cooling(self, candidate: Candidate, metered: Metered) -> PassedOver | None:
        """The cooldown that lasts longest of those that hold for it."""
        found = [self._cooldowns[scope] for scope in scopes(metered) if scope in self._cooldowns]
        last = max(found, key=lambda each: each.until, default=None)
        if last is None or last.until <= self._now:
            return None
        why, wait = last.why.rstrip("."), last.until - self._now
        if last.until >= ENDLESS:
            return PassedOver(candidate, "off", detail=why)
        return PassedOver(candidate, "cooling", wait, detail=f"{duration(wait)}: {why}")

    def _smaller(self, metered: Metered, size: Size) -> Estimate | TooLarge:
        """What may fit where the bound does not: by what was learned of its tokens, and with a shorter answer."""
        ratio = self._memory.calibration.ratio(metered.provider, metered.model)
        estimate = estimated(metered, size, self._headroom, ratio)
        return shortened(metered, estimate, self._headroom, self._wish.by_default)

    def _pools(self, candidate: Candidate, metered: Metered, estimate: Estimate) -> Fit | PassedOver:
        """Whether all its pools are open for so much, and by how much. One loop, for it runs some hundred times."""
        now, headroom, shares, spans, alone = self._now, self._headroom, self._shares, self._memory.spans, self._alone
        urgent, work, floors = self._urgent, self._wish.work, self._policy.floors
        prompt, output = estimate.prompt, estimate.output
        counted = {"requests": 1, "tokens": prompt + output, "input_tokens": prompt, "output_tokens": output}
        amounts: dict[str, int] = {}
        pace = PLENTY if metered.draws else UNKNOWN_PACE
        part, expires, times = 1.0, None, PLENTY
        over: PassedOver | None = None
        for draw in metered.draws:
            name = draw.pool
            head = headroom.get(name)
            if head is None:
                return PassedOver(candidate, "unknown", detail=name)
            known = counted.get(draw.metric)
            needed = amount(draw, prompt, output) if known is None else known
            needed = amounts[name] = needed + amounts.get(name, 0)
            pool, left, cap = head.pool, head.left, head.cap - head.margin
            if needed > cap:
                return PassedOver(candidate, "too_large", None, draw, head, needed)
            kept = spans.get(name)
            span = kept[1] if kept and kept[0] is pool and kept[2] > now else self._memory.span(pool, now)
            keep = 0 if urgent else floor(work, head, draw.metric, span, now, floors=floors)
            shared = 0 if alone else shares.kept(head, cap, needed, span, now)
            free = left - needed
            closed = head.closed_until
            if free < keep or free < shared or (closed is not None and closed > now):
                why, wait = self._shut(head, needed, keep, shared, span)
                if over is None or longer(wait, over.wait):
                    over = PassedOver(candidate, why, wait, draw, head, needed)
                continue
            whole = left / cap if cap else 1.0
            steady = whole - keep / cap if keep else whole
            length, end = span
            if length > SHORT:
                if needed and cap < times * needed:
                    times = cap / needed
                if end is not None:
                    window = max(LEAST_WINDOW, (end - now) / length)
                    if work == "batch" and not urgent and whole < window:  # it would not last for others
                        wait = max(SOON, end - now - int(whole * length))
                        if over is None or longer(wait, over.wait):
                            over = PassedOver(candidate, "kept", wait, draw, head, needed)
                        continue
                    steady /= window
            if steady < pace:
                pace, part, expires = steady, whole, None if end is None else end - now
        if over is not None:
            return over
        quality = QUALITY if metered.quality is None else metered.quality
        return Fit(candidate, estimate, amounts, not metered.free, quality, min(pace, MOST_PACE), part, expires, times)

    def _shut(self, head: Headroom, needed: int, keep: int, shared: int, span: Span) -> tuple[Why, Micros | None]:
        """Why a pool does not give so much now, and about how long until it does."""
        now = self._now
        if head.closed_until is not None and head.closed_until > now:
            return "closed", None if head.closed_until >= ENDLESS else head.closed_until - now
        free = head.left - needed
        if free < 0:
            opens = opens_at(head, needed, span, now)
            return "spent", None if opens is None else max(SOON, opens - now)
        why: Why = "kept" if free < keep else "share"
        if span.end is None or span.length <= SHORT:
            return why, max(SOON, (head.resets_at or now) - now)
        full = max(keep, shared) / relaxing(span, now)
        return why, max(SOON, span.end - now - int(RELAXED * span.length * free / full))


def longer(wait: Micros | None, other: Micros | None) -> bool:
    """Whether this is the longer wait; None is without an end."""
    return other is not None and (wait is None or wait > other)


def opens_at(head: Headroom, needed: int, span: Span, now: Micros) -> Micros | None:
    """About when a spent pool has so much again, None for never; the ledger knows exactly, when it is asked."""
    window = head.pool.window
    if isinstance(window, Gcra):
        return now + (needed - head.left) * span.length // max(1, head.cap)
    if isinstance(window, Concurrent):
        return now + SOON
    found = head.opens_at or head.resets_at or span.end or now + span.length
    return None if found >= ENDLESS else found
