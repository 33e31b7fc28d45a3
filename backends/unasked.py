"""Why a backend was not asked at all: there is no place in its line, or it fails. A part of the tree of errors.py."""

from backends.durations import duration
from backends.errors import BackendError, Owner, Scope


class QueueFull(BackendError):
    """No place in the line before the backend: as many calls as may already wait, or it would take too long.

    Then `wait` is how long about. Both are in seconds.
    """

    owner = Owner.US
    retryable = True
    scope = Scope.BACKEND
    asked = False

    def __init__(self, retry_after: float = 1.0, wait: float | None = None) -> None:
        self.retry_after, self.wait = retry_after, wait
        super().__init__(retry_after, wait)

    def __str__(self) -> str:
        why = "as many as may already wait for it"
        if self.wait is not None:
            why = f"the wait for it would be about {duration(self.wait)}, longer than this request may wait"
        return f"{self.who} is overloaded: {why}. Try again in {duration(self.retry_after or 1.0)}."


class CircuitOpen(BackendError):
    """It failed again and again, and is not asked for a while. `retry_after` is in seconds.

    With `probing` one request tries already whether it is well again.
    """

    owner = Owner.PROVIDER
    retryable = True
    scope = Scope.MODEL
    asked = False

    def __init__(self, retry_after: float, scope: Scope = Scope.MODEL, *, probing: bool = False) -> None:
        self.retry_after, self.scope, self.probing = retry_after, scope, probing
        super().__init__(retry_after, scope)

    def __str__(self) -> str:
        what = self.who if self.scope is Scope.BACKEND else f"This model of {self.who[0].lower()}{self.who[1:]}"
        how = "; one request tries it now" if self.probing else ""
        return (
            f"{what} failed again and again and is not asked now{how}. Try again in {duration(self.retry_after or 0)}."
        )
