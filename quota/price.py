"""What tokens cost, in integers: micro-dollars, and micro-dollars per million tokens. Pure.

What is not known is None, never 0: a sum of prices that are half known would look like a bargain.
"""

from msgspec import Struct

MILLION = 1_000_000


class Price(Struct, frozen=True):
    """What one model costs, in micro-dollars per million tokens: 2_500_000 is $2.50. None is unknown, never 0.

    `cached_input` is for what the provider read from its prompt cache, `cache_write` for what it wrote there; None: as
    `input`. All of it holds for prompts of at most `longest_input` tokens, where that is not None: what longer ones
    cost is unknown. `source` is where it was read, `date` when (ISO 8601).
    """

    input: int | None
    output: int | None
    cached_input: int | None = None
    source: str = ""
    date: str = ""
    cache_write: int | None = None
    longest_input: int | None = None


def cost(
    price: Price, input_tokens: int, output_tokens: int, cached_tokens: int = 0, written_tokens: int = 0
) -> int | None:
    """What one request cost, in micro-dollars; None where a price that it needs is unknown, or the counts contradict.

    The input is all of the prompt, cached and written tokens included; the output is all of the answer, reasoning
    included. The sum is exact, and rounded once: half a micro-dollar goes up.
    """
    fresh = input_tokens - cached_tokens - written_tokens
    if min(fresh, output_tokens, cached_tokens, written_tokens) < 0 or too_long(price, input_tokens):
        return None
    total = 0
    for tokens, each in (
        (fresh, price.input),
        (cached_tokens, price.input if price.cached_input is None else price.cached_input),
        (written_tokens, price.input if price.cache_write is None else price.cache_write),
        (output_tokens, price.output),
    ):
        if tokens and each is None:
            return None
        total += tokens * (each or 0)
    return (total + MILLION // 2) // MILLION


def most(price: Price, input_tokens: int, output_tokens: int) -> int | None:
    """What a request of at most so many tokens can cost, in micro-dollars, rounded up; None where that is unknown.

    No prompt and answer within these bounds cost more, whatever a cache does.
    """
    if too_long(price, input_tokens):
        return None
    read = [each for each in (price.input, price.cached_input, price.cache_write) if each is not None]
    if (input_tokens and price.input is None) or (output_tokens and price.output is None):
        return None
    return -(-(input_tokens * max(read, default=0) + output_tokens * (price.output or 0)) // MILLION)


def too_long(price: Price, input_tokens: int) -> bool:
    """Whether a prompt is longer than the price holds for."""
    return price.longest_input is not None and input_tokens > price.longest_input
