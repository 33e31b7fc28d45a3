"""What the stages of a choice tell each other: what a request looks like, and which candidates were chosen, and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from proxy import choice_words
from proxy.runtime import Candidate

Work: TypeAlias = choice_words.Work
Data: TypeAlias = choice_words.Data
Kind: TypeAlias = choice_words.Kind
Target: TypeAlias = tuple[str, str]
"""A backend's name and the id of its model."""


class Facts(Struct, frozen=True):
    """What can be said of one request without asking anybody.

    `question` is the text of the last user's message, its first and last 2,000 characters. `tokens` are those of the
    whole prompt, estimated; `output_tokens` the longest answer. `language` is an ISO 639-1 code, None where it is not
    asked for or not sure. `headers` are those that rules name, in lower case. `at` is in the operator's time zone.
    `conversation` is a hash (proxy/free_memory.py), None for none. `deadline` is in seconds from now.
    """

    model: str
    question: str
    tokens: int
    output_tokens: int
    turns: int
    kinds: frozenset[Kind]
    language: str | None
    tools: bool
    user: str
    groups: frozenset[str]
    headers: Mapping[str, str]
    at: datetime
    work: Work = "interactive"
    data: Data = "any"
    conversation: str | None = None
    deadline: float | None = None
    max_cost: int | None = None  # micro-dollars for the whole answer at its longest


class Scored(Struct, frozen=True):
    """The learned router's verdict: the probability that the strong model wins. `share` is where that lies in the
    calibrated mix, 0 to 1; `unfamiliar` how little the prompt is like what it was trained on, 0 to 1; `guarded` whether
    that was too much for the score to be trusted.
    """

    score: float
    share: float
    unfamiliar: float = 0.0
    guarded: bool = False


class Pick(Struct, frozen=True):
    """One to ask, and why it has its place, as a part of a sentence: "the cheapest of 3"."""

    candidate: Candidate
    reason: str


class PassedOver(Struct, frozen=True):
    """One that is not asked. `why` is a word for metrics, `reason` a part of a sentence for people.

    `opens_in` is in seconds, where it is known to pass.
    """

    candidate: Candidate
    why: Literal["capability", "context", "data", "open", "cooling", "down", "deadline", "cost"]
    reason: str
    param: str | None = None
    opens_in: float | None = None

    def shown(self) -> dict[str, str]:
        """For a notice or a log line."""
        return {"model": self.candidate.model, "backend": self.candidate.backend.name, "reason": self.reason}


class Ordered(Struct, frozen=True):
    """The candidates of one target set, in order. With a `profile` (free/…) their order is decided by their quotas."""

    name: str
    picks: tuple[Pick, ...]
    profile: str | None = None


class Decision(Struct, frozen=True):
    """Who is asked, in order, and why. `rule` is the name of the one that matched.

    `profile`, `threshold` and `scored` are those of the learned router where it was asked. `seconds` is how long the
    decision took.
    """

    sets: tuple[Ordered, ...]
    passed_over: tuple[PassedOver, ...] = ()
    rule: str | None = None
    profile: str | None = None
    threshold: float | None = None
    scored: Scored | None = None
    seconds: float = 0.0
