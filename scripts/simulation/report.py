"""What a strategy made of the day, in numbers, and the table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.simulation.backend import SimulatedBackend
from scripts.simulation.weather import DEAD, HOUR
from scripts.simulation.world import Ended

IN_TIME = 5.0  # seconds to the first token, after which an answer is not counted as good
SLOTS = 48  # of the day, in the picture
COLUMNS = (
    ("strategy", 16), ("requests", 9), ("answered", 10), ("", 8), ("an hour", 8), ("p50 s", 7), ("p95 s", 8),
    ("cost $", 10), ("attempts", 9), ("s lost", 9), ("429", 6),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One strategy. `good` is the part of all requests that was answered in full and began in time; `goodput` how many
    of them an hour. The `p50` and `p95` of the seconds to the first token are of all who got one, or left for want of
    it. `dear` is what the answers cost, in micro-dollars. `wasted` attempts were made at a backend that was dead, and
    took `lost` seconds; `limited` ones were answered with 429.
    """

    strategy: str
    requests: int
    answered: float
    good: float
    goodput: float
    p50: float
    p95: float
    dear: int
    wasted: int
    lost: float
    limited: int
    by: dict[str, list[int]]  # answers in each slot of the day, by backend
    bad: list[int]  # and those that were refused, broken or left


def row(strategy: str, ended: Sequence[Ended], backends: Sequence[SimulatedBackend], hours: float) -> Row:
    """The numbers of one run."""
    answered = [each for each in ended if each.how == "answered"]
    good = [each for each in answered if each.waited is not None and each.waited <= IN_TIME]
    waits = sorted(
        each.ended - each.came if each.waited is None else each.waited
        for each in ended
        if each.waited is not None or each.how == "left"
    )
    dead = [each for backend in backends for each in backend.asked if each.how in DEAD]
    by = {backend.name: [0] * SLOTS for backend in backends}
    bad = [0] * SLOTS
    for each in ended:
        slot = min(SLOTS - 1, int(each.came / (hours * HOUR) * SLOTS))
        if each.how == "answered" and each.backend is not None:
            by[each.backend][slot] += 1
        else:
            bad[slot] += 1
    count = max(1, len(ended))
    return Row(
        strategy=strategy,
        requests=len(ended),
        answered=len(answered) / count,
        good=len(good) / count,
        goodput=len(good) / hours,
        p50=percentile(waits, 0.5),
        p95=percentile(waits, 0.95),
        dear=sum(each.cost for each in ended),
        wasted=len(dead),
        lost=sum(each.left - each.came for each in dead),
        limited=sum(each.how == "limited" for backend in backends for each in backend.asked),
        by=by,
        bad=bad,
    )


def percentile(ordered: Sequence[float], part: float) -> float:
    """Of values in order; 0 of none."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def table(rows: Sequence[Row]) -> str:
    """For a terminal, and for the page."""
    lines = [
        f"{'':<16}{'':>9}{'':>10}{'good':>8}{'good':>8}{'first token':>15}{'':>10}{'dead backend':>18}{'':>6}",
        "".join(f"{name:>{width}}" if index else f"{name:<{width}}" for index, (name, width) in enumerate(COLUMNS)),
    ]
    lines += [
        f"{each.strategy:<16}{each.requests:>9,}{each.answered:>10.2%}{each.good:>8.1%}{each.goodput:>8.0f}"
        f"{each.p50:>7.2f}{each.p95:>8.2f}{each.dear / 1e6:>10.3f}{each.wasted:>9,}{each.lost:>9,.0f}{each.limited:>6,}"
        for each in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
