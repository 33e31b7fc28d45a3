"""What is known of one backend now, and the sentence for its operator when it is not up."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from backends.base import Load
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    CallerKeyNeeded,
    DeadlineExceeded,
    NotReady,
    ProtocolViolation,
    Unreachable,
)

State: TypeAlias = Literal["up", "loading", "down"]


@dataclass(frozen=True, slots=True)
class BackendState:
    """One backend at its latest answer. `reason` is for its operator: why it is not up, and what to do; empty when up.

    `load` is None where the backend does not tell, and while it is not up.
    """

    name: str
    state: State
    reason: str = ""
    load: Load | None = None


def trouble(name: str, url: str | None, error: BackendError | TimeoutError) -> str:
    """What the operator of the backend `name` reads about `error`. `url` is None where it is no server."""
    who, at = f'The backend "{name}"', f" at {url}" if url else ""
    match error:
        case Unreachable():
            return f"{who} does not answer{at} ({error.why}). Start it, or correct its base_url."
        case DeadlineExceeded() | TimeoutError():
            return f"{who} does not answer in time{at}. Look at its log, or correct its base_url."
        case NotReady():
            return f"{who}{at} is not ready: it is starting, or loading its model. If it lasts, look at its log."
        case CallerKeyNeeded():
            return f"{who}{at} lists its models only for a key of its callers. Name them in its models."
        case AuthenticationFailed(status=403):
            return f"{who}{at} forbids this to its key (HTTP 403). Check that key's rights, or set another api_key."
        case AuthenticationFailed():
            return f"{who}{at} refuses its key (HTTP {error.status}). Set its api_key, or correct it."
        case ProtocolViolation():
            return f"{who}{at} broke its protocol: {error.what}. Correct its kind or base_url."
    error.backend = name
    return str(error)
