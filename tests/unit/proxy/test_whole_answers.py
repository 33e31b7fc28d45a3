"""Calls without a stream, embeddings and token counts, take the way that every call takes."""

import asyncio
from types import MappingProxyType

import pytest

from backends.base import Embeddings, Model
from backends.errors import BackendError, DeadlineExceeded, Overloaded, QuotaExhausted, UnsupportedFeature
from backends.fake import FakeBackend
from backends.request import EmbeddingRequest, Request, said
from proxy.deadlines import Deadlines
from proxy.dispatcher import Dispatcher
from proxy.errors import UnknownModel
from proxy.outcome import ANONYMOUS, Call, Outcome
from proxy.places import Places
from proxy.queueing import Ticket
from proxy.runtime import Alias, Runtime
from tests import dispatching

CALL = Call(ANONYMOUS, "req_1")
ASKED = EmbeddingRequest("both", ("one two",))


class Wordless(FakeBackend):
    """A backend that neither embeds nor counts."""

    embed = None  # type: ignore[assignment]  # what it lacks is no Embedder
    count_tokens = None  # type: ignore[assignment]  # and no TokenCounter


class Full(FakeBackend):
    """A backend that is full."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        raise Overloaded

    async def count_tokens(self, request: Request) -> int:
        raise Overloaded


class Spent(FakeBackend):
    """A backend whose account is spent."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        raise QuotaExhausted


class Stuck(FakeBackend):
    """A backend that never answers."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        return await asyncio.Future()


def dispatcher(
    *backends: FakeBackend, first_event: float = 60, places: Places | None = None
) -> tuple[Dispatcher, list[Outcome]]:
    """One whose alias "both" leads to `backends` in order, and what it records."""
    outcomes: list[Outcome] = []
    runtime = Runtime(
        backends=MappingProxyType({each.name: each for each in backends}),
        aliases=MappingProxyType({"both": Alias(tuple(f"{each.name}/fake" for each in backends))}),
        models=MappingProxyType({each.name: (Model("fake"),) for each in backends}),
    )
    made = dispatching.dispatcher(
        lambda: runtime, deadlines=Deadlines(first_event=first_event), places=places, on_outcome=[outcomes.append]
    )
    return made, outcomes


class Unable(FakeBackend):
    """A backend that learns only from its server that there are no vectors."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        raise UnsupportedFeature("embeddings", "model")


@pytest.mark.parametrize(("first", "failed"), [(Wordless, []), (Unable, ["a"]), (Full, ["a"])])
async def test_the_next_target_embeds_what_the_first_cannot(first: type[FakeBackend], failed: list[str]) -> None:
    calls, outcomes = dispatcher(first("a"), FakeBackend("b"))
    made, _ = await calls.embed(CALL, ASKED)
    assert (len(made.vectors), made.input_tokens) == (1, 2)
    [outcome] = outcomes
    assert (outcome.status, outcome.model, outcome.backend, outcome.request_id) == ("completed", "both", "b", "req_1")
    assert [attempt.backend for attempt in outcome.failed_attempts] == failed
    assert outcome.usage is not None
    assert outcome.usage.input_tokens == 2


async def test_nobody_waits_in_the_line_of_a_target_that_has_no_vectors() -> None:
    places, first = Places(seconds=60), Wordless("a", slots=1)
    calls, _ = dispatcher(first, FakeBackend("b"), places=places)
    async with places.place(first, Ticket("other"), lambda *_: None):
        assert (await calls.embed(CALL, ASKED))[0].vectors


@pytest.mark.parametrize(
    ("first", "last", "backend", "error", "code"),
    [
        (Wordless, Wordless, "b", UnsupportedFeature, "unsupported_feature"),
        (Spent, Unable, "a", QuotaExhausted, "insufficient_quota"),  # what passes goes before what was refused
    ],
    ids=["both cannot", "one is spent"],
)
async def test_the_error_that_leaves_most_hope_is_the_answer_and_is_recorded(
    first: type[FakeBackend], last: type[FakeBackend], backend: str, error: type[BackendError], code: str
) -> None:
    calls, outcomes = dispatcher(first("a"), last("b"))
    with pytest.raises(error) as raised:
        await calls.embed(CALL, ASKED)
    assert raised.value.backend == backend
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [("failed", code)]


async def test_an_embedding_has_the_deadline_of_a_first_event() -> None:
    calls, outcomes = dispatcher(Stuck("a"), first_event=0.01)
    with pytest.raises(DeadlineExceeded, match="first_event"):
        await calls.embed(CALL, ASKED)
    assert outcomes[0].error == "deadline_exceeded"


async def test_an_unknown_model_is_no_call() -> None:
    calls, outcomes = dispatcher(FakeBackend("a"))
    with pytest.raises(UnknownModel):
        await calls.embed(CALL, EmbeddingRequest("nope", ("x",)))
    assert outcomes == []


async def test_tokens_are_counted_by_the_first_target_that_can() -> None:
    prompt = Request("both", (said("user", "one two three"),))
    for first in (Wordless("a"), Full("a")):
        calls, outcomes = dispatcher(first, FakeBackend("b"))
        assert await calls.count_tokens(prompt) == 3
        assert outcomes == []
    assert await dispatcher(Wordless("a"))[0].count_tokens(prompt) is None
