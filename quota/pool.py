"""What a ledger counts in: a pool, its cap, and the window in which the cap holds. Pure values.

Times are Unix microseconds and amounts whole units, all integers: a float bucket refuses the 20th of 20 tokens.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct

Micros: TypeAlias = int
"""A moment in Unix microseconds, or a length in microseconds."""

SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR

Period: TypeAlias = Literal["second", "minute", "hour", "day", "week", "month", "ever"]
NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Fixed(Struct, frozen=True, tag="fixed", forbid_unknown_fields=True):
    """Begins anew at each start of `period` in `zone`, `anchor` later; "ever" never does, as a credit.

    `zone` is a name of the IANA database. `guard` is how far the provider's clock may be from ours, to either side:
    what was asked that near to an edge counts in both windows.
    """

    period: Period
    zone: str = "UTC"
    anchor: Micros = 0
    guard: Micros = SECOND


class Rolling(Struct, frozen=True, tag="rolling", forbid_unknown_fields=True):
    """The last `length`, at every moment, counted in `slots`: what is legal here is so for any alignment.

    A slot counts until all of it has left. This is what to take where nobody says which window it is.
    """

    length: Micros
    slots: int = 12


class Gcra(Struct, frozen=True, tag="gcra", forbid_unknown_fields=True):
    """A token bucket that holds the cap and refills at cap per `length` (the generic cell rate algorithm)."""

    length: Micros


class Concurrent(Struct, frozen=True, tag="concurrent", forbid_unknown_fields=True):
    """What runs at once: only open reservations count."""


Window: TypeAlias = Fixed | Rolling | Gcra | Concurrent


class Pool(Struct, frozen=True):
    """Something that is used up, and by whom it is given. `id` is its name for ever.

    `margin` of the cap is never granted. With `on_arrival` the provider counts when a request arrives, as it does
    requests; without, at any moment until its answer has ended. `source` says who told the cap: catalog, configuration,
    header, refusal or api. `labels` are the caller's, kept and shown and never read.
    """

    id: str
    cap: int
    window: Window
    margin: int = 0
    on_arrival: bool = False
    source: str = "catalog"
    labels: Mapping[str, str] = NO_LABELS
