"""What is known of one call while it runs; becomes its Outcome."""

import time

import structlog

from backends.base import Embeddings
from backends.errors import BackendError, ModelNotFound
from backends.events import Finished, Usage
from proxy.outcome import Attempt, Call, Outcome, Status
from proxy.pace import Pace
from proxy.runtime import Candidate
from proxy.spend import Spend
from proxy.wire_errors import wire

log = structlog.get_logger()


class Record:
    """One call. `model` is the name that was asked for."""

    def __init__(self, call: Call, model: str) -> None:
        self.call, self._model = call, model
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
        self.spend: Spend | None = None  # what the attempt that runs has reserved

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

    def answered(self) -> None:
        """The attempt that runs has given its first content."""
        self.first_event = time.monotonic() - self.began
        if self.spend is not None:
            self.spend.answered()

    def settle(self, error: BackendError | None) -> None:
        """What the attempt that runs has reserved is settled, if it is not: it failed with `error`, or is over."""
        if self.spend is not None:
            if error is None:
                self.spend.ended(self.usage)
            else:
                self.spend.failed(error)
            self.spend = None

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
            request_id=self.call.request_id,
            principal=self.call.principal.id,
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
