"""What tokens cost, in integers: micro-dollars, and micro-dollars per million tokens. Pure."""

from msgspec import Struct


class Price(Struct, frozen=True):
    """What one model costs, in micro-dollars per million tokens: 2_500_000 is $2.50. None is unknown, never 0.

    `cached_input` is for what the provider read from its prompt cache; None: as `input`. `source` is where it was
    read, `date` when (ISO 8601).
    """

    input: int | None
    output: int | None
    cached_input: int | None = None
    source: str = ""
    date: str = ""
