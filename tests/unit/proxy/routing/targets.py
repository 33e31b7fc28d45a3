"""Targets for the tests of the choice: backends that are never asked, under whatever name and address."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from msgspec.structs import replace

from backends.base import Model
from backends.fake import FakeBackend
from proxy.metered import Metered
from proxy.routing.values import Facts
from proxy.runtime import Candidate
from quota.price import Price

METERED = Metered("free", "groq", "m", (), "stops")
FACTS = Facts(
    model="chat",
    question="Why is the sky blue?",
    tokens=1000,
    output_tokens=1000,
    turns=1,
    kinds=frozenset(),
    language=None,
    tools=False,
    user="anna",
    groups=frozenset(),
    headers={},
    at=datetime(2026, 1, 5, tzinfo=UTC),
)


class Far(FakeBackend):
    """A server at `url`."""

    def __init__(self, name: str, url: str = "https://api.example.com/v1") -> None:
        super().__init__(name)
        self.url = url


def candidate(name: str = "a/m", known: Model | None = None, price: Price | None = None, **more: Any) -> Candidate:
    """BACKEND/MODEL, at a far server."""
    backend, _, model = name.partition("/")
    return Candidate(
        more.pop("backend", None) or Far(backend), model or "m", known or Model(model), price=price, **more
    )


def facts(**changes: Any) -> Facts:
    """Those of a short question, but for `changes`."""
    return replace(FACTS, **changes)


def dice(*numbers: float) -> Any:
    """Throws these numbers, again and again."""
    rolls: Iterator[float] = cycle(numbers or (0.5,))
    return lambda: next(rolls)


def price(dollars_in: float, dollars_out: float) -> Price:
    """Dollars per million tokens."""
    return Price(round(dollars_in * 1e6), round(dollars_out * 1e6))
