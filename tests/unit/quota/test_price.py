"""What a request cost: exact, additive but for one rounding, never less for more, and None where a price is unknown."""

from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from quota.price import MILLION, Price, cost, most

RATES = st.integers(0, 1_000 * MILLION)
TOKENS = st.integers(0, 3_000_000)
PRICES = st.builds(
    Price, RATES, RATES, cached_input=st.none() | RATES, cache_write=st.none() | RATES, longest_input=st.none()
)


def known(amount: int | None) -> int:
    assert amount is not None
    return amount


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Tokens as `cost` takes them: input, output, cached, written."""
    fresh, cached, written = draw(TOKENS), draw(TOKENS), draw(TOKENS)
    return fresh + cached + written, draw(TOKENS), cached, written


@settings(max_examples=150)
@given(PRICES, counts())
def test_the_exact_sum_is_rounded_once_half_up(price: Price, used: tuple[int, int, int, int]) -> None:
    read, said, cached, written = used
    assert price.input is not None
    assert price.output is not None
    exact = Fraction(
        (read - cached - written) * price.input
        + cached * (price.input if price.cached_input is None else price.cached_input)
        + written * (price.input if price.cache_write is None else price.cache_write)
        + said * price.output,
        MILLION,
    )
    assert cost(price, *used) == floor(exact + Fraction(1, 2))


@settings(max_examples=150)
@given(PRICES, counts(), counts())
def test_two_requests_cost_what_one_of_both_would_and_more_tokens_never_cost_less(
    price: Price, one: tuple[int, int, int, int], other: tuple[int, int, int, int]
) -> None:
    both = tuple(map(sum, zip(one, other, strict=True)))
    first, second, together = (known(cost(price, *each)) for each in (one, other, both))
    assert abs(together - first - second) <= 1  # each was rounded by at most a half
    assert 0 <= first <= together


@settings(max_examples=150)
@given(PRICES, counts(), TOKENS, TOKENS)
def test_no_request_within_the_bounds_costs_more_than_the_most(
    price: Price, used: tuple[int, int, int, int], more_read: int, more_said: int
) -> None:
    assert known(cost(price, *used)) <= known(most(price, used[0] + more_read, used[1] + more_said))


def test_half_a_micro_dollar_goes_up_and_a_bound_is_never_rounded_down() -> None:
    assert cost(Price(500_000, 0), 1, 0) == 1
    assert cost(Price(499_999, 0), 1, 0) == 0
    assert most(Price(1, 0), 1, 0) == 1


def test_what_is_needed_and_unknown_makes_the_cost_unknown() -> None:
    assert cost(Price(None, 1), 5, 5) is None
    assert cost(Price(1, None), 5, 5) is None
    assert most(Price(1, None), 5, 5) is None
    assert most(Price(None, 1, cached_input=1), 5, 5) is None
    assert cost(Price(0, 0), 5, 5) == 0  # for free, as your own hardware is: that is known
    assert cost(Price(2 * MILLION, None), 5, 0) == 10  # embeddings have no output


def test_a_price_says_nothing_of_longer_prompts_nor_of_counts_that_contradict_each_other() -> None:
    short = replace(Price(MILLION, MILLION), longest_input=10)
    assert (cost(short, 10, 0), most(short, 10, 0)) == (10, 10)
    assert cost(short, 11, 0) is None
    assert most(short, 11, 0) is None
    assert cost(Price(1, 1), 5, 0, cached_tokens=4, written_tokens=2) is None
    assert cost(Price(1, 1), -5, 0) is None
