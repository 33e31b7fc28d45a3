"""What models cost: the operator's word, then the account's, then what is published, which is in data/prices.json.

A row of the table holds for the hosts of its provider alone, and for no host below them: some charge more elsewhere.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from urllib.parse import urlsplit

from msgspec import Struct, convert

from backends.capabilities import needs
from backends.events import Usage
from backends.json import loads_own
from backends.request import EmbeddingRequest, Request
from proxy.metered import Metered
from quota import price as arithmetic
from quota.price import MILLION, Price

FREE = Price(0, 0, 0, source="a free quota, by which nothing is ever charged", cache_write=0)
USUAL = frozenset({None, "auto", "default", "standard", "standard_only"})
"""The values of `service_tier` by which the published price holds."""


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model: dollars per million tokens, as decimals in text, because a float cannot hold a tenth. Null is unknown.

    Prices hold for prompts of at most `longest_input` tokens, and up to the day `until` (UTC). `source` is where they
    were read, `date` when that was written.
    """

    ids: tuple[str, ...]
    input: str | None
    cached_input: str | None
    cache_write: str | None
    output: str | None
    longest_input: int | None
    until: str | None
    source: str
    date: str

    def price(self) -> Price:
        """In micro-dollars."""
        return Price(
            micros(self.input),
            micros(self.output),
            cached_input=micros(self.cached_input),
            source=self.source,
            date=self.date,
            cache_write=micros(self.cache_write),
            longest_input=self.longest_input,
        )


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who sells them, at which hosts; `page` is where the provider itself says its prices."""

    provider: str
    hosts: tuple[str, ...]
    page: str
    models: tuple[Row, ...]


@cache
def table() -> tuple[Provider, ...]:
    """The whole of it."""
    return convert(loads_own(files("proxy").joinpath("data/prices.json").read_bytes()), tuple[Provider, ...])


@cache
def rows() -> Mapping[tuple[str, str], tuple[Price, str | None]]:
    """By host and id: the price, and the last day on which it holds."""

    def each() -> Iterator[tuple[tuple[str, str], tuple[Price, str | None]]]:
        for provider in table():
            for row in provider.models:
                found = row.price(), row.until
                yield from (((host, name), found) for host in provider.hosts for name in row.ids)

    return MappingProxyType(dict(each()))


def published(url: str | None, model: str, today: str | None = None) -> Price | None:
    """What `model` costs at a server's `url`; None where nobody told us. `today` is a date, of UTC, as text."""
    host = (urlsplit(url).hostname or "") if url else ""
    price, until = rows().get((host, model), (None, None))
    if until is not None and (today or datetime.now(UTC).date().isoformat()) > until:
        return None
    return price


def of_account(metered: Metered) -> Price | None:
    """What an account pays: by the prices of its budget; nothing where its provider stops when a free quota is spent.

    None where it has no prices and may be billed.
    """
    for draw in metered.draws:
        if draw.metric == "usd_micros":
            return Price(draw.input, draw.output, source="the prices of the account")
    return FREE if metered.free and metered.overrun == "stops" else None


def known(
    said: Mapping[str, Price], backend: str, url: str | None, model: str, metered: Metered | None
) -> Price | None:
    """What `model` costs at a backend: what is `said` of "BACKEND/MODEL", or its account pays, or is published."""
    if (ours := said.get(f"{backend}/{model}")) is not None:
        return ours
    if metered is not None:
        own = of_account(metered)
        if own is not None or metered.free:  # the published price of what may be free would be too high
            return own
    return published(url, model)


def micros(dollars: str | float | None) -> int | None:
    """Dollars in millionths; a float is taken by its shortest decimal, which is what somebody wrote."""
    return None if dollars is None else int((Decimal(str(dollars)) * MILLION).to_integral_value())


def chargeable(request: Request | EmbeddingRequest) -> bool:
    """Whether a request is charged by the tokens of its usage, as the table has them: not one with audio, which has a
    price of its own and is not counted apart, nor one in another tier of service or with an hour in the cache.
    """
    if not isinstance(request, Request):
        return True
    if "audio" in needs(request) or request.extras.get("service_tier") not in USUAL:
        return False
    control = request.extras.get("cache_control")
    return not (isinstance(control, Mapping) and control.get("ttl") not in (None, "5m"))


def cost(price: Price | None, usage: Usage | None) -> int | None:
    """What a request cost, in micro-dollars, by what its backend counted; None where that or the price is unknown."""
    if price is None or usage is None or usage.estimated:
        return None
    return arithmetic.cost(price, usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.written_tokens)
