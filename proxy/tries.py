"""What all attempts of one call share, and the small questions that the dispatcher asks of requests and candidates."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Generic, TypeAlias, TypeVar

from backends.base import Batches
from backends.errors import BackendError, QuotaExhausted, RateLimited, UnsupportedFeature
from backends.events import Citation, Event, Signature
from backends.request import EmbeddingRequest, Request
from proxy.outcome import Notice
from proxy.record import Record
from proxy.routing.constraints import fitting
from proxy.routing.values import Decision, Target
from proxy.runtime import Candidate
from proxy.wire.extras import wish_of

T = TypeVar("T")
R = TypeVar("R", Request, EmbeddingRequest)
Head: TypeAlias = Sequence[Event]


@dataclass(slots=True)
class Tries(Generic[R, T]):
    """What `ask` enters stays on `stack`, which is empty before each attempt. `made` counts those by which a backend
    was asked, and `asked` has how each target failed; `followed` is the last failure after which others were asked.

    `alone`: the route has one candidate, which may be asked again; of several none is. `may` tells whether the caller
    allows a candidate that is none of the route's.
    """

    stack: AsyncExitStack
    request: R
    record: Record
    notify: Callable[[Notice], None]
    ask: Callable[["Tries[R, T]", Candidate, R], Awaitable[T]]
    made: int = 0
    alone: bool = False
    may: Callable[[Candidate], bool] = lambda _: True
    asked: dict[Target, BackendError] = field(default_factory=dict)
    followed: Exception | None = None

    def rival(self, notify: Callable[[Notice], None]) -> "Tries[R, T]":
        """For another attempt beside the one that runs."""
        return Tries(AsyncExitStack(), self.request, self.record.rival(), notify, self.ask)

    def failed(self, candidate: Candidate, error: BackendError) -> None:
        """An attempt ended with an error."""
        if error.asked:
            self.made += 1
            self.asked[candidate.backend.name, candidate.model] = error

    def left(self, candidates: Sequence[Candidate], *, refused: bool = False) -> Sequence[Candidate]:
        """Those that were not asked yet; with `refused` also those that only had no quota left."""
        if not self.asked:
            return candidates

        def may_be(candidate: Candidate) -> bool:
            error = self.asked.get((candidate.backend.name, candidate.model))
            return error is None or (refused and isinstance(error, QuotaExhausted | RateLimited))

        return [each for each in candidates if may_be(each)]

    def goes_on(self, failure: Exception | None) -> None:
        """Others are asked, after all before them ended with this."""
        if isinstance(failure, BackendError) and failure.backend is not None and failure is not self.followed:
            self.followed = failure
            self.record.failed(self.record.candidate, failure)


def steps_of(decision: Decision) -> Iterator[tuple[str | None, Sequence[Candidate]]]:
    """The candidates in order: of sets that follow each other together; of one of free/… alone, with its profile."""
    for (profile, _), among in groupby(decision.sets, lambda each: (each.profile, each.name if each.profile else "")):
        yield profile, [pick.candidate for each in among for pick in each.picks]


def told(notify: Callable[[Notice], None], candidate: Candidate, place: int, wait: float | None) -> None:
    """Say where a request goes, its place in line there, and about how long that will take."""
    data: dict[str, object] = {"model": candidate.model, "backend": candidate.backend.name, "queue_position": place}
    if wait is not None:
        data["estimated_wait"] = round(wait, 1)
    notify(Notice("route", data))


def able(candidates: Sequence[Candidate], request: Request | EmbeddingRequest) -> list[Candidate]:
    """Those of them that may be able to do what is asked; maybe none."""
    with suppress(UnsupportedFeature):
        return list(fitting(candidates, request)[0]) if candidates else []
    return []


def patience(request: Request) -> float | None:
    """How many seconds its caller wants to wait for the first token; None for as long as the deadlines allow."""
    milliseconds = wish_of(request).deadline_ms
    return None if milliseconds is None else milliseconds / 1000


def may_hedge(request: Request | EmbeddingRequest, candidates: Sequence[Candidate]) -> bool:
    """Whether both may be asked at once: not against the caller's wish, nor where that would spend a quota."""
    if len(candidates) != 2 or isinstance(request, EmbeddingRequest) or wish_of(request).hedge is False:
        return False
    return all(each.metered is None for each in candidates)


async def content(batches: Batches) -> Head:
    """All up to the first batch that says something. An answer may also end without a word."""
    head: list[Event] = []
    async for batch in batches:
        head += batch
        if any(not isinstance(event, Signature | Citation) for event in batch):
            return head
    raise AssertionError("a stream ends with Finished or a BackendError")
