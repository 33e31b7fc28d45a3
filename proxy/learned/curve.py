"""Draws the cost-quality curve of a router as an SVG picture. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, log10
from xml.sax.saxutils import escape

import numpy as np

from proxy.learned.measures import Curve, Floats, Prices, of_random, share_at

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 24, 84, 84
POINTS = 201  # of a line; more would not be seen
TARGET = 0.95  # of the strong model's quality; marked
MIDDLE = 0.55  # of the share: the target's words stand to the right of a point that is left of it
INK, QUIET, GRID = "#1f2328", "#59636e", "#d8dee4"
BAND = "#b6d8ff"
ROUTER = 'stroke="#0969da" stroke-width="2.5"'
RANDOM = 'stroke="#8c959f" stroke-width="1.8" stroke-dasharray="6 5"'
ORACLE = 'stroke="#1a7f37" stroke-width="1.8" stroke-dasharray="2 4"'


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn: one router on one set of prompts, whose qualities are parts of 1."""

    title: str
    strong: str  # the models' names
    weak: str
    prices: Prices
    router: Curve
    oracle: Curve
    low: Floats  # of the router's quality, a 95 % interval at equal steps of the share from 0 to 1
    high: Floats


def svg(picture: Picture) -> str:
    """The picture as a file."""
    return "\n".join(_Drawing(picture).lines()) + "\n"


class _Drawing:
    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._grid = np.linspace(0, 1, POINTS)
        self._random = of_random(picture.router.strong, picture.router.weak)
        self._router = picture.router.at(self._grid)
        self._oracle = picture.oracle.at(self._grid)
        steps = np.linspace(0, 1, len(picture.low))
        self._low = np.interp(self._grid, steps, picture.low)
        self._high = np.interp(self._grid, steps, picture.high)
        every = np.concatenate((self._low, self._high, self._oracle))
        self._ticks = ticks(float(every.min()), float(every.max()))

    def lines(self) -> Iterator[str]:
        picture = self._picture
        about = f"{picture.title}: quality against the share of calls that go to {picture.strong}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" aria-label="{escape(about, {chr(34): "&quot;"})}" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" font-size="13">'
        )
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        yield text(LEFT, 26, picture.title, size=16, weight="600")
        yield from self._legend()
        yield from self._axes()
        yield f'<polygon points="{self._points(self._low, self._high)}" fill="{BAND}" opacity="0.55"/>'
        yield self._line(self._random.at(self._grid), RANDOM)
        yield self._line(self._oracle, ORACLE)
        yield self._line(self._router, ROUTER)
        yield from self._target()
        yield from self._ends()
        yield "</svg>"

    def _legend(self) -> Iterator[str]:
        left = LEFT
        for label, style in (
            ("this router, with its 95 % interval", ROUTER),
            ("random", RANDOM),
            ("oracle: knows every outcome", ORACLE),
        ):
            yield f'<line x1="{left}" y1="52" x2="{left + 26}" y2="52" {style}/>'
            yield text(left + 33, 56, label, color=QUIET)
            left += 33 + 7 * len(label) + 18

    def _axes(self) -> Iterator[str]:
        bottom = HEIGHT - BOTTOM
        for tick in self._ticks:
            level = self._y(tick)
            yield f'<line x1="{LEFT}" y1="{level:.1f}" x2="{WIDTH - RIGHT}" y2="{level:.1f}" stroke="{GRID}"/>'
            yield text(LEFT - 8, level + 4, f"{tick * 100:g} %", anchor="end", color=QUIET)
        for tenth in range(0, 11, 2):
            across = self._x(tenth / 10)
            yield f'<line x1="{across:.1f}" y1="{bottom}" x2="{across:.1f}" y2="{bottom + 5}" stroke="{QUIET}"/>'
            yield text(across, bottom + 20, f"{tenth * 10} %", anchor="middle", color=QUIET)
            cost = self._picture.prices.cost(tenth / 10)
            yield text(across, bottom + 37, f"${cost:.2f}", anchor="middle", color=QUIET)
        middle = (LEFT + WIDTH - RIGHT) / 2
        said = "share of calls to the strong model, and the price of a million tokens then"
        yield text(middle, bottom + 62, said, anchor="middle", color=QUIET)
        yield text(LEFT, TOP - 8, "quality: mean score of the answers", color=QUIET)

    def _target(self) -> Iterator[str]:
        """Where the router has the target quality, and what is saved there."""
        curve = self._picture.router
        share = share_at(curve, TARGET)
        random = share_at(self._random, TARGET)
        quality = max(TARGET * curve.strong, curve.weak)
        across, level, bottom = self._x(share), self._y(quality), HEIGHT - BOTTOM
        for edge in (f'x2="{LEFT}" y2="{level:.1f}"', f'x2="{across:.1f}" y2="{bottom}"'):
            yield f'<line x1="{across:.1f}" y1="{level:.1f}" {edge} stroke="{INK}" stroke-dasharray="1 3"/>'
        yield f'<circle cx="{across:.1f}" cy="{level:.1f}" r="4.5" fill="{INK}" stroke="#ffffff" stroke-width="1.5"/>'
        prices = self._picture.prices
        told = (
            f"{TARGET:.0%} of the strong model's quality".replace("%", " %"),
            f"at {share * 100:.0f} % strong calls: saves {prices.saving(share) * 100:.0f} %",
            f"(random: {random * 100:.0f} %, saves {prices.saving(random) * 100:.0f} %)",
        )
        right = share < MIDDLE
        for row, words in enumerate(told):
            place = (across + 14, "start") if right else (across - 14, "end")
            lower = level + 26 + 18 * row if right else level - 48 + 18 * row
            yield text(place[0], lower, words, anchor=place[1], weight="600" if row == 1 else "400")

    def _ends(self) -> Iterator[str]:
        picture = self._picture
        beside = 40 if share_at(picture.router, TARGET) < MIDDLE else -14  # where the words of the target are not
        for share, quality, name, anchor, below in (
            (0.0, picture.router.weak, picture.weak, "start", 20),
            (1.0, picture.router.strong, picture.strong, "end", beside),
        ):
            yield f'<circle cx="{self._x(share):.1f}" cy="{self._y(quality):.1f}" r="3.5" fill="{INK}"/>'
            across = self._x(share) + (8 if anchor == "start" else -2)
            yield text(across, self._y(quality) + below, f"{name}: {quality * 100:.1f} %", anchor=anchor)

    def _x(self, share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def _y(self, quality: float) -> float:
        low, high = self._ticks[0], self._ticks[-1]
        return HEIGHT - BOTTOM - (quality - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def _points(self, *ways: Floats) -> str:
        """Points along the first of these, and back along the second."""
        there = [(share, quality) for share, quality in zip(self._grid, ways[0], strict=True)]
        back = [(share, quality) for way in ways[1:] for share, quality in zip(self._grid, way, strict=True)][::-1]
        return " ".join(f"{self._x(share):.1f},{self._y(quality):.1f}" for share, quality in there + back)

    def _line(self, qualities: Floats, style: str) -> str:
        return f'<polyline points="{self._points(qualities)}" fill="none" {style}/>'


def ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers from at most `low` to at least `high`, at least two and at most eleven of them."""
    rough = max(high - low, 1e-6) / 6
    unit = 10 ** floor(log10(rough))
    step = next(unit * times for times in (1, 2, 2.5, 5, 10) if unit * times >= rough)
    first, last = floor(low / step), -floor(-high / step)
    return [round(step * count, 10) for count in range(first, max(last, first + 1) + 1)]


def text(
    x: float, y: float, words: str, *, anchor: str = "start", color: str = INK, size: int = 13, weight: str = "400"
) -> str:
    """A line of words, with a white rim so that it can be read over lines."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}" font-size="{size}" '
        f'font-weight="{weight}" paint-order="stroke" stroke="#ffffff" stroke-width="3">{escape(words)}</text>'
    )
