"""What a provider says of its limits: in the headers of any answer, and in the body of a refusal. Pure values."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

Metric: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens", "neurons", "usd_micros"]
Per: TypeAlias = Literal["second", "minute", "hour", "day", "week", "month"]

NOTHING: Mapping[str, str] = MappingProxyType({})
NAMED = re.compile(r"rate-?limit|retry-after|call-limit|call-remaining|^date$|quota", re.IGNORECASE)
"""Headers that may speak of limits. No other leaves the transport: they may hold cookies and ids of accounts."""


class Refused(Struct, frozen=True):
    """The axis on which a request was refused, as the body says it; None for what it does not say.

    `limit` and `used` are amounts of `metric` per `per`. With `account` it is the whole account's, else the model's.
    """

    metric: Metric | None = None
    per: Per | None = None
    limit: int | None = None
    used: int | None = None
    account: bool = False


def spoken(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Those headers that speak of limits, names in lower case."""
    return {name.lower(): value for name, value in headers.items() if NAMED.search(name)}


@runtime_checkable
class Limited(Protocol):
    """What batches may be besides: those of an answer whose headers may speak of limits."""

    @property
    def limits(self) -> Mapping[str, str]:
        """What `spoken` leaves of the answer's headers."""
