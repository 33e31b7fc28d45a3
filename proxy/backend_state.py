"""What is known of one backend now, and the sentence for its operator when it is not up."""

from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

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

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
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
            return f"{who} does not answer{at} ({error.why}). {way(url, error.why)}"
        case DeadlineExceeded() | TimeoutError():
            return f"{who} does not answer in time{at}. Look at its log, or correct its base_url."
        case NotReady():
            return f"{who}{at} is not ready: it is starting, or loading its model. If it lasts, look at its log."
        case CallerKeyNeeded():
            return f"{who}{at} lists its models only for a key of its callers. Name them in its models."
        case AuthenticationFailed():
            return error.advice or f"{who}{at} {refusal(error)}"
        case ProtocolViolation():
            return f"{who}{at} broke its protocol: {error.what}. Correct its kind or base_url."
    error.backend = name
    return str(error)


def way(url: str | None, why: str) -> str:
    """What to do about a server at `url` that cannot be reached."""
    if why.startswith("the proxy"):
        return "Correct [transport] proxy."
    parts = urlsplit(url or "")
    if parts.scheme == "https" and parts.hostname not in LOOPBACK and not why.startswith("TLS"):
        return "Check this machine's network, or set [transport] proxy."
    return "Start it, or correct its base_url."


def refusal(error: AuthenticationFailed) -> str:
    """What it did to our key, or to what stands for one, and what to do: the end of a sentence, and the next."""
    match error.lacking:
        case "credentials":
            return f"refuses its account or credentials (HTTP {error.status}). Correct them."
        case "key in the file":
            return "wants a key, and its api_key_file holds none. Write one there, on a line of its own."
        case "key":
            return f"wants a key, and none is set (HTTP {error.status}). Set its api_key."
    if error.status == 403:
        return "forbids this to its key (HTTP 403). Check that key's rights, or set another api_key."
    return f"refuses its key (HTTP {error.status}). Correct its api_key."
