"""One call, and the record of what became of it. Pure values; Structs, because several are made per call."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

from backends.events import Usage

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

Status: TypeAlias = Literal["completed", "incomplete", "cancelled", "failed"]


class Principal(Struct, frozen=True):
    """Who asks. `id` is a fingerprint of the key, never the key; "anonymous" where no key is needed."""

    id: str


ANONYMOUS = Principal("anonymous")


class Call(Struct, frozen=True):
    """What the dispatcher must know of a request besides the request.

    `response_id` is that of the response that it makes, empty for none. `headers` are those that rules name, in lower
    case.
    """

    principal: Principal
    request_id: str
    response_id: str = ""
    headers: Mapping[str, str] = NO_HEADERS


class Notice(Struct, frozen=True):
    """What a client may want to know while its call runs, and what is no part of the answer: for those who ask for it.

    `kind` "route": `data` has model, backend and queue_position: the place in line there, 1 is next, 0 its turn; and
    passed_over, where there are candidates that cannot do what is asked; reason, where one was chosen for it. "queue":
    position and opens_in, of who waits for quota. "quota": the pools that were drawn on (proxy/quota_report.py).
    """

    kind: str
    data: Mapping[str, object]


class Attempt(Struct, frozen=True):
    """One that failed before its first content, and that another followed. `error` is the wire code.

    `wait` is how many seconds the next one was put off.
    """

    backend: str
    model: str
    error: str
    wait: float = 0.0


class Gaps(Struct, frozen=True):
    """The times between the pieces of one answer: how many in each bucket of the metric, and their sum in seconds."""

    counts: tuple[int, ...]
    seconds: float


class Routed(Struct, frozen=True):
    """What chose who answers, where that was a rule or the learned router. `sets` are the names of the target sets, the
    first one first; `question` is what was looked at, and must not reach a log. `seconds` is what the choice took.
    """

    sets: tuple[str, ...]
    question: str
    seconds: float
    rule: str | None = None
    profile: str | None = None
    score: float | None = None
    threshold: float | None = None
    guarded: bool = False


class Outcome(Struct, frozen=True):
    """One finished call. Durations are in seconds since the dispatcher took it; None where it never came so far.

    `cost` is in micro-dollars, None where a price or the usage is not known.
    """

    request_id: str
    principal: str
    model: str
    status: Status
    error: str | None
    backend: str | None
    backend_model: str | None
    failed_attempts: tuple[Attempt, ...]
    first_event: float | None
    duration: float
    usage: Usage | None
    gaps: Gaps | None
    reason: str | None = None  # why it failed, for the operator
    response_id: str = ""
    cost: int | None = None
    routed: Routed | None = None

    @property
    def tokens_per_second(self) -> float | None:
        """How fast the answer came after its first token. None where the backend did not count, or it came at once."""
        if self.usage is None or self.gaps is None or not self.gaps.seconds or self.usage.output_tokens < 2:
            return None
        return (self.usage.output_tokens - 1) / self.gaps.seconds
