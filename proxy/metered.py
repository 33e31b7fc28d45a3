"""What is known of a model that spends somebody's free quota or budget: its pools, its terms. Pure values."""

from typing import Literal, TypeAlias

from msgspec import Struct

from backends.limits import Metric

Overrun: TypeAlias = Literal["stops", "bills", "unknown"]
"""What the provider does with a request beyond the free amount: refuses it, or charges for it."""
Term: TypeAlias = Literal["trains", "evaluation_only", "card", "no_eea", "identity", "logged", "unclear"]
"""What an operator must know before an account is used; proxy/catalog.py has the words for each."""


class Draw(Struct, frozen=True):
    """One pool that each request to a model draws on, in `metric`; 1 where it counts what runs at once.

    `input` and `output` are units of the metric per million tokens, for neurons and money.
    """

    pool: str
    metric: Metric | Literal["concurrent_requests"]
    input: int = 0
    output: int = 0


class Metered(Struct, frozen=True):
    """One model of one account. `account` is also its backend's name, `model` the provider's id.

    `quality` is a rank from 0 to 1, None where nobody said. `free` is False for what costs money from the first
    request on: a budget that its user has set.
    """

    account: str
    provider: str
    model: str
    draws: tuple[Draw, ...]
    overrun: Overrun
    terms: frozenset[Term] = frozenset()
    free: bool = True
    quality: float | None = None
