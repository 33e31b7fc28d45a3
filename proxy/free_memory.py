"""What the choice among free models remembers: how each did, which conversation is where, who is active. Pure.

All of it is small, bounded, and lost with the process: it makes choices better and decides nothing that must be right.
No text is kept, only hashes of it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TypeVar

from backends.request import EmbeddingRequest, Request, Text
from proxy.calibration import Calibration
from proxy.conversations import Conversations
from proxy.estimate import parts
from proxy.fairness import Span
from proxy.outcome import Outcome
from quota.pool import MINUTE, Concurrent, Fixed, Micros, Pool
from quota.windows import ENDLESS, fixed_span

K = TypeVar("K")
V = TypeVar("V")

STICKY: Micros = 30 * MINUTE  # a prompt cache is rarely kept longer
ACTIVE: Micros = 15 * MINUTE  # whoever asked within it has a share of every pool
MOST_MODELS, MOST_PEOPLE = 1000, 1000  # a hundred bytes or so each
NEWEST = 0.2  # what the newest answer counts of an average: half of it is of the last three
ANSWER = 300  # tokens of a usual answer, for its time
FIRST, RATE = 1.5, 50.0  # seconds and tokens per second, of who has not answered yet
FADING = 0.98  # of the tries before, at each new one: the last fifty count
FAILURES = frozenset(
    {
        "backend_overloaded", "backend_not_ready", "backend_failed", "backend_protocol_error", "backend_unreachable",
        "backend_stream_broken", "deadline_exceeded", "engine_unavailable", "model_not_found", "model_load_failed",
        "backend_authentication_failed",
    }
)  # fmt: skip
"""Wire codes of what is a model's own failure. A refusal for quota is not: the ledger knows of that."""
HASHED = 4096  # characters of each text; two conversations that begin alike for longer are one to us


class Seen:
    """How one model did. `seconds` until its first token, `rate` in tokens per second; None until there was one.

    `good` and `bad` count tries, older ones less; they begin with what is true of a good provider.
    """

    __slots__ = ("bad", "duration", "good", "rate", "reliability", "seconds")

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.rate: float | None = None
        self.good, self.bad = 4.0, 0.5
        self.reliability = self.good / (self.good + self.bad)
        self.duration = FIRST + ANSWER / RATE  # seconds of a usual answer

    def learn(self, seconds: float | None, rate: float | None) -> None:
        """One more answer took so long. What is None says nothing."""
        if seconds is not None:
            self.seconds = seconds if self.seconds is None else self.seconds + NEWEST * (seconds - self.seconds)
        if rate is not None:
            self.rate = rate if self.rate is None else self.rate + NEWEST * (rate - self.rate)
        self.duration = (FIRST if self.seconds is None else self.seconds) + ANSWER / (self.rate or RATE)

    def tried(self, success: bool) -> None:
        """One more try succeeded, or did not."""
        self.good, self.bad = self.good * FADING + success, self.bad * FADING + (not success)
        self.reliability = self.good / (self.good + self.bad)


class FreeMemory:
    """Fed with each outcome. `sticky` is how long a conversation is remembered."""

    def __init__(self, sticky: Micros = STICKY) -> None:
        self._seen: OrderedDict[tuple[str, str], Seen] = OrderedDict()
        self._conversations: Conversations[tuple[str, str]] = Conversations(sticky)
        self._people: OrderedDict[str, Micros] = OrderedDict()
        self.spans: dict[str, tuple[Pool, Span, Micros]] = {}  # by pool, until when they hold
        self.calibration = Calibration()

    @property
    def seen(self) -> Mapping[tuple[str, str], Seen]:
        """How each model did that was ever asked, by account and model."""
        return self._seen

    def asked(self, who: str, now: Micros) -> None:
        """This person wants something of the pools; `now` is the ledger's time."""
        keep(self._people, who, now, MOST_PEOPLE)

    def observe(self, outcome: Outcome) -> None:
        """A call has ended."""
        for attempt in outcome.failed_attempts:
            if attempt.error in FAILURES:
                self._of(attempt.backend, attempt.model).tried(False)
        if outcome.backend is None or outcome.backend_model is None:
            return
        if outcome.first_event is not None:
            seen = self._of(outcome.backend, outcome.backend_model)
            seen.tried(outcome.error not in FAILURES)
            # With failed attempts before it, the time is not this model's alone.
            seen.learn(None if outcome.failed_attempts else outcome.first_event, outcome.tokens_per_second)
        elif outcome.error in FAILURES:
            self._of(outcome.backend, outcome.backend_model).tried(False)

    def stick(self, conversation: str, account: str, model: str, now: Micros) -> None:
        """This model has answered the conversation, and is to go on with it."""
        self._conversations.stick(conversation, (account, model), now)

    def stuck(self, conversation: str | None, now: Micros) -> tuple[str, str] | None:
        """The account and model that answered a conversation, if that was not long ago."""
        return self._conversations.of(conversation, now)

    def active(self, now: Micros) -> Iterable[str]:
        """Who has asked lately."""
        while self._people and next(iter(self._people.values())) <= now - ACTIVE:
            self._people.popitem(last=False)
        return self._people

    def span(self, pool: Pool, now: Micros) -> Span:
        """The window of a pool in which `now` lies. Calendars are slow, so it is kept until it ends."""
        kept = self.spans.get(pool.id)
        if kept is None or kept[0] is not pool or kept[2] <= now:
            span = span_of(pool, now)
            kept = self.spans[pool.id] = pool, span, ENDLESS if span.end is None else span.end
        return kept[1]

    def _of(self, account: str, model: str) -> Seen:
        if (seen := self._seen.get((account, model))) is None:
            seen = Seen()
        keep(self._seen, (account, model), seen, MOST_MODELS)
        return seen


def span_of(pool: Pool, now: Micros) -> Span:
    """The window of a pool in which `now` lies."""
    window = pool.window
    if isinstance(window, Concurrent):
        return Span(0, None)
    if not isinstance(window, Fixed):
        return Span(window.length, None)
    start, end = fixed_span(window, now)
    return Span(end - start, None if window.period == "ever" else end)


def conversation_of(who: str, request: Request | EmbeddingRequest) -> str | None:
    """A name for the conversation that a request continues: a hash of who asks and how it began.

    It began with the texts up to the first of the user's. None for a request without any.
    """
    if isinstance(request, EmbeddingRequest) or not request.messages:
        return None
    found = blake2b(who.encode("utf-8", "replace"), digest_size=16)
    for message in request.messages:
        for part in parts((message,)):
            if isinstance(part, Text):
                found.update(b"\0" + part.text[:HASHED].encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return found.hexdigest()


def keep(kept: "OrderedDict[K, V]", key: K, value: V, most: int) -> None:
    """The newest entry; the oldest go where there are more than `most`."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
