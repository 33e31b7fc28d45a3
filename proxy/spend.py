"""One reservation, from its grant to its one settlement, by what became of the attempt."""

from asyncio import Future
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Protocol, TypeVar

from msgspec.structs import replace

from backends.base import Batches, Sink
from backends.errors import (
    BackendError,
    DeadlineExceeded,
    ModelNotFound,
    Owner,
    QuotaExhausted,
    RateLimited,
    Unreachable,
)
from backends.events import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.limits import Limited
from backends.request import EmbeddingRequest, Request
from backends.unasked import QueueFull
from proxy.estimate import Ended, Estimate, used, utf8
from proxy.metered import Metered
from quota.ledger import Attempt

R = TypeVar("R", Request, EmbeddingRequest)


class Books(Protocol):
    """Where a reservation is settled, and what it heard is noted. Nothing here waits."""

    def settle(self, attempt: Attempt, used: Mapping[str, int], answered: float | None) -> None:
        """Book what was used. `answered` is how many seconds ago the answer began."""

    def release(self, attempt: Attempt, why: str) -> None:
        """Give all back."""

    def heard(self, metered: Metered, limits: Mapping[str, str]) -> None:
        """The headers of an answer."""

    def succeeded(self, metered: Metered) -> None:
        """It said something."""

    def refused(self, metered: Metered, error: BackendError) -> None:
        """An error of the provider."""

    def learn(self, metered: Metered, text: int | None, usage: Usage) -> None:
        """What the provider counted."""


class Spend:
    """What was reserved for one attempt at `metered`. `text` is the size of its prompt where that is text alone."""

    def __init__(self, books: Books, metered: Metered, attempt: Attempt, bound: Estimate, text: int | None) -> None:
        self._books, self.metered, self._attempt, self._bound, self._text = books, metered, attempt, bound, text
        self._answered: float | None = None
        self._counted: int | None = None
        self._sink: Sink
        self._open, self._sent, self._said = True, False, False

    def request(self, asked: R) -> R:
        """`asked`, for no longer an answer than was reserved. It is sent now."""
        self._sent = True
        if isinstance(asked, Request) and asked.max_output_tokens > self._bound.output:
            return replace(asked, max_output_tokens=self._bound.output)
        return asked

    def heard(self, batches: Batches) -> None:
        """The answer has begun: what its headers say of limits."""
        self._answered = monotonic()
        if isinstance(batches, Limited) and batches.limits:
            self._books.heard(self.metered, batches.limits)

    def answered(self) -> None:
        """The first content is there, at the latest."""
        if self._answered is None:
            self._answered = monotonic()
        self._said = True
        self._books.succeeded(self.metered)

    def over(self, sink: Sink) -> Sink:
        """`sink`, with what passes counted on its way: nobody else counts an answer that is cut."""
        self._sink, self._counted = sink, 0
        return self._count

    def _count(self, batch: Sequence[Event]) -> "Future[None] | None":
        for event in batch:
            match event:
                case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
                    self._counted = (self._counted or 0) + utf8(text)
                case ToolCallDelta(arguments=text) | ToolCallStart(name=text):
                    self._counted = (self._counted or 0) + utf8(text)
        return self._sink(batch)

    def failed(self, error: BackendError) -> None:
        """The attempt ended with an error, before its first content or after it."""
        if not self._open:
            return
        if not self._sent or (self._answered is None and never_sent(error)):
            self._release(type(error).__name__)
            return
        self._books.refused(self.metered, error)
        if self._answered is None:
            refused = before_work(error)
        else:  # some refuse with a 200, and say so in its body
            refused = not self._said and isinstance(error, RateLimited | QuotaExhausted)
        self._end(None, "refused" if refused else "broken")

    def ended(self, usage: Usage | None) -> None:
        """The attempt is over: `usage` is what the provider counted, None where it was left, or did not say."""
        if self._open and not self._sent:
            self._release("left")
        elif self._open:
            if usage is not None and not usage.estimated:
                self._books.learn(self.metered, self._text, usage)
            self._end(usage, "broken" if usage is None else "answered")

    def _release(self, why: str) -> None:
        self._open = False
        self._books.release(self._attempt, why)

    def _end(self, usage: Usage | None, how: Ended) -> None:
        self._open = False
        ago = None if self._answered is None else monotonic() - self._answered
        self._books.settle(self._attempt, used(self.metered, usage, self._bound, self._counted, how), ago)


def never_sent(error: BackendError) -> bool:
    """Whether nothing of the request can have reached the provider."""
    return isinstance(error, Unreachable | QueueFull) or (
        isinstance(error, DeadlineExceeded) and error.name in {"connect", "queue", "retry"}
    )


def before_work(error: BackendError) -> bool:
    """Whether the provider refused it without reading on: it counts as a request, and took no tokens."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500
    return error.owner is Owner.CLIENT or isinstance(error, RateLimited | QuotaExhausted | ModelNotFound)
