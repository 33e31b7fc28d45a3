"""What one reservation is settled for, by what became of the attempt."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    Unreachable,
)
from backends.events import Event, Finished, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.request import Request, said
from backends.unasked import QueueFull
from proxy.estimate import Estimate
from proxy.metered import Draw, Metered
from proxy.spend import Spend
from quota.ledger import Attempt

METERED = Metered("me", "groq", "m", (Draw("requests", "requests"), Draw("tokens", "tokens")), "stops")
ATTEMPT = Attempt("a")
ASKED = Request("m", (said("user", "Hi"),), 4096)


class Noted:
    """Books that remember."""

    def __init__(self) -> None:
        self.settled: list[Mapping[str, int]] = []
        self.answered: float | None = None
        self.released: list[str] = []
        self.told: list[BackendError] = []
        self.limits: list[Mapping[str, str]] = []
        self.learned: list[tuple[int | None, Usage]] = []
        self.successes = 0

    def settle(self, attempt: Attempt, used: Mapping[str, int], answered: float | None) -> None:
        assert attempt == ATTEMPT
        self.settled.append(used)
        self.answered = answered

    def release(self, attempt: Attempt, why: str) -> None:
        self.released.append(why)

    def heard(self, metered: Metered, limits: Mapping[str, str]) -> None:
        self.limits.append(limits)

    def succeeded(self, metered: Metered) -> None:
        self.successes += 1

    def refused(self, metered: Metered, error: BackendError) -> None:
        self.told.append(error)

    def learn(self, metered: Metered, text: int | None, usage: Usage) -> None:
        self.learned.append((text, usage))


def spend() -> tuple[Spend, Noted]:
    """A reservation whose request is sent."""
    made, books = unsent()
    made.request(ASKED)
    return made, books


def unsent() -> tuple[Spend, Noted]:
    books = Noted()
    return Spend(books, METERED, ATTEMPT, Estimate(100, 50), 80), books


@pytest.mark.parametrize(
    ("error", "booked"),
    [
        (RateLimited(), {"requests": 1, "tokens": 0}),
        (QuotaExhausted(), {"requests": 1, "tokens": 0}),
        (ModelNotFound("m"), {"requests": 1, "tokens": 0}),
        (AuthenticationFailed(401), {"requests": 1, "tokens": 0}),
        (InvalidRequest(422), {"requests": 1, "tokens": 0}),
        (ContextLengthExceeded(), {"requests": 1, "tokens": 0}),
        (ServerFailed(502), {"requests": 1, "tokens": 150}),
        (Overloaded(), {"requests": 1, "tokens": 150}),
        (ProtocolViolation("x"), {"requests": 1, "tokens": 150}),
        (StreamBroken(), {"requests": 1, "tokens": 150}),
        (DeadlineExceeded("first_event", 1), {"requests": 1, "tokens": 150}),
        (Unreachable("refused"), None),
        (QueueFull(), None),
        (DeadlineExceeded("connect", 1), None),
        (DeadlineExceeded("queue", 1), None),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, BackendError) else "",
)
def test_a_failure_before_the_answer_is_charged_for_what_the_provider_may_have_counted(
    error: BackendError, booked: dict[str, int] | None
) -> None:
    spent, books = spend()
    spent.failed(error)
    spent.ended(None)  # the call is over: nothing more happens
    assert books.settled == ([] if booked is None else [booked])
    assert len(books.released) == (booked is None)
    assert books.told == ([] if booked is None else [error])


@pytest.mark.parametrize("error", [None, DeadlineExceeded("total", 1), DeadlineExceeded("retry", 1)])
def test_what_is_left_before_it_was_sent_costs_nothing(error: BackendError | None) -> None:
    spent, books = unsent()
    if error is not None:
        spent.failed(error)
    spent.ended(None)
    assert len(books.released) == 1
    assert not books.settled
    assert not books.told


@pytest.mark.parametrize(
    ("error", "tokens"), [(RateLimited(), 0), (QuotaExhausted(), 0), (ServerFailed(502), 150), (StreamBroken(), 150)]
)
async def test_a_refusal_in_the_body_of_a_200_is_one_like_any_other(error: BackendError, tokens: int) -> None:
    async def broken() -> AsyncIterator[Sequence[Event]]:
        raise error
        yield ()

    spent, books = spend()
    spent.heard(broken())
    spent.failed(error)
    assert books.settled == [{"requests": 1, "tokens": tokens}]


def test_a_whole_answer_is_charged_as_the_provider_counted_it_and_learned_from() -> None:
    spent, books = spend()
    spent.answered()
    spent.ended(Usage(30, 7))
    assert books.settled == [{"requests": 1, "tokens": 37}]
    assert books.answered is not None
    assert books.learned == [(80, Usage(30, 7))]
    assert books.successes == 1


@pytest.mark.parametrize("error", [StreamBroken(), None, DeadlineExceeded("idle", 1), QuotaExhausted()])
async def test_an_answer_that_breaks_off_is_charged_for_its_prompt_and_what_came(error: BackendError | None) -> None:
    spent, books = spend()
    spent.answered()
    taken: list[Any] = []
    sink = spent.over(taken.extend)
    sink([TextDelta("wörd"), ToolCallStart(0, "id", "tool")])
    sink([ToolCallDelta(0, "{}")])
    if error is not None:
        spent.failed(error)
    spent.ended(None)
    assert len(taken) == 3
    assert books.settled == [{"requests": 1, "tokens": 100 + 5 + 4 + 2}]


def test_what_the_gateway_itself_estimated_is_not_taken_for_the_providers_count() -> None:
    spent, books = spend()
    spent.answered()
    spent.over(lambda batch: None)([TextDelta("four"), Finished("stop", Usage(1, 1, estimated=True))])
    spent.ended(Usage(1, 1, estimated=True))
    assert books.settled == [{"requests": 1, "tokens": 104}]
    assert books.learned == []


def test_a_request_is_asked_for_no_longer_an_answer_than_was_reserved() -> None:
    spent, _ = spend()
    assert spent.request(ASKED).max_output_tokens == 50
    assert spent.request(replace(ASKED, max_output_tokens=20)).max_output_tokens == 20
