"""What is known of one call while it runs; becomes its Outcome."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from backends.base import Embeddings
from backends.errors import BackendError, DeadlineExceeded, ModelNotFound
from backends.events import Finished, Usage
from proxy.outcome import Attempt, Call, Outcome, Routed, Status
from proxy.pace import Pace
from proxy.places import Place
from proxy.prices import cost
from proxy.routing.vitals import Visit
from proxy.runtime import Candidate
from proxy.spend import Spend
from proxy.wire_errors import sentence, wire
from quota.price import Price

log = structlog.get_logger()


class Record:
    """One call. `model` is the name that was asked for; `now` in seconds, from any clock that does not go back."""

    def __init__(self, call: Call, model: str, now: Callable[[], float] = time.monotonic) -> None:
        self.call, self.model, self._now = call, model, now
        self.began = now()
        self.routed: Routed | None = None
        self.candidate: Candidate  # of the attempt that runs
        self.status: Status = "incomplete"
        self.error: str | None = None
        self.reason: str | None = None
        self.backend: str | None = None
        self.backend_model: str | None = None
        self.failed_attempts: list[Attempt] = []
        self.first_event: float | None = None
        self.usage: Usage | None = None
        self.pace: Pace | None = None
        self.place: Place | None = None  # of the attempt that runs, as all that follow
        self.visit: Visit | None = None
        self.spend: Spend | None = None  # what it has reserved
        self.price: Price | None = None
        self.cost: int | None = None  # micro-dollars

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
        self.begins(candidate)
        ended = [(each.backend, each.model) == (self.backend, self.backend_model) for each in self.failed_attempts]
        del self.failed_attempts[len(ended) - 1 - ended[::-1].index(True)]

    def begins(self, candidate: Candidate) -> None:
        """An attempt at this one."""
        self.candidate = candidate
        self.backend, self.backend_model = candidate.backend.name, candidate.model

    def answered(self) -> None:
        """The attempt that runs has given its first content."""
        now = self._now()
        self.first_event = now - self.began
        if self.visit is not None:
            self.visit.first(now)
            if self.place is not None:
                self.place.first(self.visit.seconds(now))
        if self.spend is not None:
            self.spend.answered()

    def settle(self, error: BackendError | None) -> None:
        """The attempt that runs failed with `error`, or is over: what it has reserved is settled, if it is not, and its
        target known to be well or not.
        """
        if self.visit is not None:
            if error is not None:
                self.visit.failed(error, self._now())
            elif self.status in {"completed", "incomplete"} and self.first_event is not None:
                self.visit.done(self._now(), self.usage.output_tokens if self.usage else None)
            else:
                self.visit.left(self._now())
            self.visit = None
        if self.spend is not None:
            if error is None:
                self.spend.ended(self.usage)
            else:
                self.spend.failed(error)
            self.spend = None

    def rival(self) -> "Record":
        """For another attempt of the same call, beside the one that runs."""
        made = Record(self.call, self.model, self._now)
        made.began = self.began
        return made

    def won(self, rival: "Record") -> None:
        """The rival's attempt is the one that runs; the other was cancelled. A probe that was overtaken has failed."""
        probing = self.visit is not None and self.visit.probe
        self.settle(DeadlineExceeded("first_event", round(self._now() - self.began, 3)) if probing else None)
        self.begins(rival.candidate)
        self.place, self.visit, self.spend, self.price = rival.place, rival.visit, rival.spend, rival.price
        rival.visit = rival.spend = None
        self.first_event = rival.first_event

    def finished(self, event: Finished) -> None:
        """The backend said all."""
        self.status = "completed" if event.reason == "stop" else "incomplete"
        self.usage = event.usage
        self.cost = self.costs(event.usage)

    def costs(self, usage: Usage | None) -> int | None:
        """What the attempt that runs costs, in micro-dollars; None where the price or the usage is not known."""
        if usage is not None and not usage.output_tokens and self.pace is not None and self.pace.said:
            return None  # the backend did not count what it said
        return cost(self.price, usage)

    def embedded(self, made: Embeddings) -> None:
        """The backend gave all vectors."""
        self.status = "completed"
        if made.input_tokens is not None:
            self.usage = Usage(made.input_tokens, 0)
            self.cost = self.costs(self.usage)

    def outcome(self) -> Outcome:
        """The record as a value, now."""
        return Outcome(
            request_id=self.call.request_id,
            principal=self.call.principal.id,
            model=self.model,
            status=self.status,
            error=self.error,
            backend=self.backend,
            backend_model=self.backend_model,
            failed_attempts=tuple(self.failed_attempts),
            first_event=self.first_event,
            duration=self._now() - self.began,
            usage=self.usage,
            gaps=self.pace.gaps() if self.pace else None,
            reason=self.reason,
            response_id=self.call.response_id,
            cost=self.cost,
            routed=self.routed,
        )


@contextmanager
def recorded(record: Record, observers: Sequence[Callable[[Outcome], None]]) -> Iterator[None]:
    """What happens inside becomes the record's outcome, which each of the observers is told."""
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
        for observe in observers:
            observe(outcome)
