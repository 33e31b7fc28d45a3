"""What was chosen among metered candidates, what was passed over, and each reason in plain words. Pure values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

from proxy.estimate import Estimate
from proxy.fairness import FLOORS, NOBODY, Standing, Work
from proxy.metered import Draw, Metered, Term
from proxy.quota_report import words_for
from proxy.resting import scopes_of
from proxy.runtime import Candidate
from quota.ledger import Headroom
from quota.pool import DAY, HOUR, MINUTE, SECOND, Micros

Profile: TypeAlias = Literal["auto", "fast", "best", "cheap"]
Data: TypeAlias = Literal["any", "no_training", "confidential"]
"""What may become of a request's texts: anything; no training; or they stay with the operator's own machines."""
Why: TypeAlias = Literal[
    "terms", "training", "confidential", "billing", "paid", "cooling", "off", "unknown", "closed", "spent", "too_large",
    "context", "kept", "share",
]  # fmt: skip
"""Why a candidate is not asked; `SENTENCES` has the words."""
Because: TypeAlias = Literal["sticky", "explored", "score"]
"""How one came to its place: it answers the conversation, it is tried out, or by its score."""

MOST_PACE = 2.0  # twice what a steady use would have left; more cannot be used up either
PLENTY = 1e9  # requests: of what no long window counts
QUALITY = 0.5  # of a model whose rank nobody said
PACED, QUICK, ABLE = 1.25, 2.0, 0.7  # pace, seconds and quality that are worth telling

NO_TERMS: Mapping[str, frozenset[Term]] = MappingProxyType({})
METRICS: Mapping[str, str] = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "prompt tokens",
    "output_tokens": "answer tokens",
    "neurons": "neurons",
    "usd_micros": "money",
    "concurrent_requests": "requests at once",
}
TERMS: Mapping[Term, str] = {
    "trains": "trains on what it is sent",
    "evaluation_only": "for evaluation only",
    "card": "a card is attached",
    "no_eea": "not for users in Europe",
    "identity": "asks for an identity",
    "logged": "logs what it is sent",
    "unclear": "terms are unclear",
}


class Policy(Struct, frozen=True):
    """What the operator allows. `accepted` are terms by account; accounts in `billing` may bill beyond a free amount.

    `floors` are parts of each cap that less urgent work leaves; `standings` are for persons, by principal.
    """

    accepted: Mapping[str, frozenset[Term]] = NO_TERMS
    billing: frozenset[str] = frozenset()
    floors: Mapping[Work, float] = FLOORS
    standings: Mapping[str, Standing] = NOBODY


class Wish(Struct, frozen=True):
    """What one caller wants. `who` is the principal, as in the ledger's tags.

    With `paid` also what costs money from the first request on, after all that is free. `conversation` is a hash
    (proxy/free_memory.py), None for none. `by_default`: nobody asked for that length of the answer; it may be lowered.
    """

    who: str
    work: Work = "interactive"
    profile: Profile = "auto"
    data: Data = "any"
    paid: bool = False
    conversation: str | None = None
    by_default: bool = False


class Fit(Struct, frozen=True):
    """One that may be asked. `pace` is the part of its tightest pool that is left, by the part of the window that is:
    beyond 1 some of it will be lost. `times` is how many requests of this size the scarcest cap gives.
    """

    candidate: Candidate
    estimate: Estimate
    amounts: Mapping[str, int]
    paid: bool = False  # from the first request on
    quality: float = QUALITY
    pace: float = MOST_PACE
    left: float = 1.0
    expires: Micros | None = None  # how long until what is left is lost
    times: float = PLENTY


class Chosen(Struct, frozen=True):
    """One to ask. `seconds` is how long it took until its first token lately; None where it never answered."""

    fit: Fit
    score: float
    because: Because
    seconds: float | None = None

    @property
    def candidate(self) -> Candidate:
        """Who."""
        return self.fit.candidate

    @property
    def estimate(self) -> Estimate:
        """The most tokens that it may take. Its answer must be bounded by `estimate.output`."""
        return self.fit.estimate

    @property
    def amounts(self) -> Mapping[str, int]:
        """What to reserve, by pool."""
        return self.fit.amounts

    @property
    def reason(self) -> str:
        """One sentence."""
        fit = self.fit
        left = f"{fit.left:.0%} of its quota is left" if fit.amounts else "nobody counts what it gives"
        if self.because == "sticky":
            return f"It answers this conversation already, and {left}."
        if self.because == "explored":
            return "It is tried once in a while, to see how well it answers."
        if fit.pace > PACED and fit.expires is not None:
            return f"{left}, and lost in {duration(fit.expires)} if nobody uses it."
        if self.seconds is not None and self.seconds < QUICK:
            return f"It begins to answer after {self.seconds:.1f} s, and {left}."
        return f"It is one of the ablest, and {left}." if fit.quality >= ABLE else f"It can give more: {left}."


class PassedOver(Struct, frozen=True):
    """One that is not asked now. `wait` is how long until it may be, None if no time helps.

    `draw` and `head` are the pool in the way, where it is one; `detail` completes the sentence.
    """

    candidate: Candidate
    why: Why
    wait: Micros | None = None
    draw: Draw | None = None
    head: Headroom | None = None
    amount: int = 0
    detail: str = ""

    @property
    def reason(self) -> str:
        """One sentence, with what to do where something can be done."""
        sentence = SENTENCES[self.why].format(
            detail=self.detail,
            pool=pool_words(self.draw, self.head),
            cap=0 if self.head is None else quantity(self.draw, max(0, self.head.cap - self.head.margin)),
            amount=quantity(self.draw, self.amount),
            left=0 if self.head is None else quantity(self.draw, self.head.left),
            account=self.candidate.backend.name,
            provider="" if self.candidate.metered is None else self.candidate.metered.provider,
        )
        if self.wait is None or self.why == "cooling":
            return sentence
        return f"{sentence[:-1]}; it opens in {duration(self.wait)}."

    def shown(self) -> dict[str, str]:
        """For a notice or a log line."""
        return {"model": self.candidate.model, "backend": self.candidate.backend.name, "reason": self.reason}


SENTENCES: Mapping[Why, str] = {
    "terms": "Its terms were not accepted ({detail}): see `streamlane free terms {provider}`.",
    "training": "The request may not be trained on, and this provider {detail}.",
    "confidential": "The request is confidential, and this is another's machine.",
    "billing": "It bills beyond its free amount, and allow_billing is not set for {account}.",
    "paid": "It costs money, and only free models were asked for.",
    "cooling": "It is not asked for {detail}.",
    "off": "It is not asked any more: {detail}. Mend it, and restart the gateway.",
    "unknown": "The ledger does not know its pool {detail}: restart the gateway.",
    "closed": "The provider has closed its {pool}.",
    "spent": "Of its {pool} ({cap}) too little is left: {amount} needed, {left} left.",
    "too_large": "The request needs {amount} of its {pool}, and it has {cap}: ask for a shorter answer, or say less.",
    "context": "The conversation is longer than the {detail} tokens that it can read.",
    "kept": "What is left of its {pool} is kept for more urgent work.",
    "share": "Your share of its {pool} is used, and what is left belongs to others.",
}


class Selection(Struct, frozen=True):
    """`chosen` in the order in which to ask, the others with their reasons. `opens_at` is when the first of those may
    be asked, by what is known now (a denial by the ledger is exact); None when waiting helps nobody.
    """

    chosen: tuple[Chosen, ...]
    passed_over: tuple[PassedOver, ...]
    opens_at: Micros | None


def scopes(metered: Metered) -> tuple[str, str, str]:
    """The scopes of cooldowns that hold for a model: its own, its account's and its provider's."""
    return scopes_of(metered.account, metered.provider, metered.model)


def pool_words(draw: Draw | None, head: Headroom | None) -> str:
    """What a pool counts, and how long its window is: "requests per day"."""
    if draw is None:
        return "quota"
    per = "" if head is None else words_for(head.pool.window)
    name = METRICS.get(draw.metric, draw.metric)
    return f"{name} in all" if per == "ever" else f"{name} per {per}" if per else name


def quantity(draw: Draw | None, amount: int) -> str:
    """An amount of a metric, as people write it."""
    if draw is not None and draw.metric == "usd_micros":
        return f"${amount / 1_000_000:,.2f}" if amount >= 10_000 else f"${amount / 1_000_000:,.6f}"
    return f"{amount:,}"


def duration(length: Micros) -> str:
    """A length of time in words: "40 s", "12 min", "3 h 20 min", "2 days"."""
    if length < 2 * MINUTE:  # 61 s are no 2 min
        return f"{max(1, -(-length // SECOND))} s"
    if length < HOUR:
        return f"{-(-length // MINUTE)} min"
    if length < 2 * DAY:
        minutes = -(-length // MINUTE)
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{-(-length // DAY)} days"
