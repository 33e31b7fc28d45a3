"""When a simulated backend fails, and how: spells that are drawn before the day begins, the same for every strategy."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

HOUR = 3600.0  # seconds
Kind = Literal["refused", "silent", "failing", "stalling", "hanging", "slow", "full"]
"""No connection; a connection that is never answered; HTTP 500; HTTP 504 after a while, with a list of models still;
an answer that never begins; slow; HTTP 503.
"""
DEAD: frozenset[Kind] = frozenset({"refused", "silent", "failing", "stalling", "hanging"})


@dataclass(frozen=True)
class Spell:
    """From `begins` until `ends`, in seconds of the day. A slow one takes `factor` times as long."""

    begins: float
    ends: float
    kind: Kind
    factor: float = 1.0


class Weather:
    """The spells of one backend, which must not overlap."""

    def __init__(self, spells: Iterable[Spell] = ()) -> None:
        self.spells = tuple(sorted(spells, key=lambda each: each.begins))
        self._begins = [each.begins for each in self.spells]

    def at(self, now: float) -> Spell | None:
        """The spell of this moment; None when all is well."""
        last = bisect_right(self._begins, now) - 1
        return self.spells[last] if last >= 0 and now < self.spells[last].ends else None

    def dead(self, now: float) -> bool:
        """Whether nobody is answered now."""
        spell = self.at(now)
        return spell is not None and spell.kind in DEAD


FAIR = Weather()


def always(kind: Kind) -> Weather:
    """From the start, and for ever."""
    return Weather([Spell(0.0, float("inf"), kind)])


def flaps(dice: random.Random, end: float, up: float, down: float, kind: Kind) -> Weather:
    """Well for `up` seconds on average, then bad for `down`, and so on until `end`."""
    spells, now = [], dice.expovariate(1 / up)
    while now < end:
        ends = now + dice.expovariate(1 / down)
        spells.append(Spell(now, ends, kind))
        now = ends + dice.expovariate(1 / up)
    return Weather(spells)
