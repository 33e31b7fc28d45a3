"""Draws the day as SVG: each limit and what of it was used, and what became of the requests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from day import LENGTH, clock

WIDTH, LEFT, RIGHT = 1180, 250, 170
INNER = WIDTH - LEFT - RIGHT
TOP, ROW, GAP, REQUESTS = 118, 78, 30, 128
FONT = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"
INK, FAINT, GRID, LIMIT = "#1f2933", "#616e7c", "#e4e7eb", "#b42318"
FILLS = {"gemini": "#3b6fb5", "groq": "#c2622d", "openrouter": "#6b57a5", "cloudflare": "#b88a1b"}
OTHER = "#2f8f6b"
ENDS = (("answered within the hour", "#4a90a4"), ("answered later", "#a9cbd4"), ("turned away", LIMIT))


@dataclass(frozen=True)
class Row:
    """One limit: what the provider counted against it, as (moment, amount), and what the ledger held, if known."""

    provider: str
    name: str
    how: str  # in words, how the provider counts
    cap: float
    samples: Sequence[tuple[float, float]]
    ours: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Ended:
    """One request: when it came, and 0, 1 or 2, an index into ENDS."""

    at: float
    how: int


def draw(begins: float, rows: Sequence[Row], requests: Sequence[Ended], foot: str) -> str:
    """The whole picture. `foot` is a sentence under it."""
    height = TOP + REQUESTS + GAP + len(rows) * (ROW + GAP) + 40
    size = f"width='{WIDTH}' height='{height}'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {size} {FONT}>",
        f"<rect {size} fill='white'/>",
        text(24, 38, "Five free accounts behind one endpoint: a day of free/auto", size=22, weight=600),
        text(24, 62, "Filled: what the provider counted. Red: its limit. Where it drops, quota came back.", FAINT),
    ]
    if any(row.ours for row in rows):
        parts.append(text(24, 82, "Black: what the ledger holds as used or reserved.", FAINT))
    parts += bars(begins, requests, TOP)
    for index, row in enumerate(rows):
        parts += panel(begins, row, TOP + REQUESTS + GAP + index * (ROW + GAP), last=index == len(rows) - 1)
    parts.append(text(24, height - 14, foot, FAINT, size=12))
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(begins: float, requests: Sequence[Ended], top: float) -> Iterator[str]:
    """Requests in each half an hour, by what became of them."""
    slots = 48
    counts = [[0] * slots for _ in ENDS]
    for request in requests:
        slot = int((request.at - begins) / LENGTH * slots)
        if 0 <= slot < slots:
            counts[request.how][slot] += 1
    most = max(1, *(sum(each) for each in zip(*counts, strict=True)))
    scale, base = (REQUESTS - 14) / most, top + REQUESTS
    yield from frame(begins, top, REQUESTS, labels=True)
    yield text(24, top + 16, "Requests", weight=600, size=14)
    yield text(24, top + 34, f"in each half hour, up to {most}", FAINT, size=12)
    for index, (name, colour) in enumerate(ENDS):
        yield f"<rect x='24' y='{top + 47 + index * 19}' width='11' height='11' fill='{colour}'/>"
        yield text(41, top + 57 + index * 19, f"{name}: {sum(counts[index]):,}", size=12)
    wide = INNER / slots
    for slot in range(slots):
        low = base
        for index, (_, colour) in enumerate(ENDS):
            tall = counts[index][slot] * scale
            low -= tall
            if tall:
                x = LEFT + slot * wide + 1
                yield f"<rect x='{x:.1f}' y='{low:.1f}' width='{wide - 2:.1f}' height='{tall:.1f}' fill='{colour}'/>"


def panel(begins: float, row: Row, top: float, last: bool) -> Iterator[str]:
    """One limit over the day: 0 at the bottom, the cap is the red line."""
    roof, base = top + 12, top + ROW
    colour = FILLS.get(row.provider, OTHER)

    def place(at: float, used: float) -> tuple[float, float]:
        x = LEFT + min(1.0, max(0.0, (at - begins) / LENGTH)) * INNER
        return x, base - used / row.cap * (base - roof)

    counted, held = ([each for each in samples if each[0] <= begins + LENGTH] for samples in (row.samples, row.ours))
    yield from frame(begins, top, ROW, labels=last)
    area, before = [f"M{LEFT},{base:.1f}"], base
    for x, y in thinned([place(*sample) for sample in counted]):
        area.append(f"L{x:.1f},{before:.1f}L{x:.1f},{y:.1f}")
        before = y
    area.append(f"L{LEFT + INNER},{before:.1f}L{LEFT + INNER},{base:.1f}Z")
    yield f"<path d='{''.join(area)}' fill='{colour}' fill-opacity='.75'/>"
    if held:
        line, before = [], None
        for x, y in thinned([place(*sample) for sample in held]):
            line.append(f"M{x:.1f},{y:.1f}" if before is None else f"H{x:.1f}V{y:.1f}")
            before = y
        yield f"<path d='{''.join(line)}' fill='none' stroke='{INK}' stroke-width='1.1'/>"
    yield f"<path d='M{LEFT},{roof}H{LEFT + INNER}' stroke='{LIMIT}' stroke-width='1.6'/>"
    most = max((used for _, used in row.samples), default=0)
    yield text(24, top + 24, row.provider, weight=600, size=14)
    yield text(24, top + 42, f"{row.cap:,.0f} {row.name}", size=12)
    yield text(24, top + 59, row.how, FAINT, size=12)
    beside = LEFT + INNER + 12
    yield text(beside, roof + 4, f"limit {row.cap:,.0f}", LIMIT, size=12)
    yield text(beside, roof + 22, f"most {most:,.0f} ({most / row.cap:.0%})", size=12)
    over = most > row.cap + 1e-6
    yield text(beside, roof + 40, "exceeded" if over else "never exceeded", LIMIT if over else FAINT, size=12)


def thinned(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """At most four of each pixel's width: the first, highest, lowest and last."""
    start = 0
    while start < len(points):
        end, pixel = start, math.floor(points[start][0])
        while end < len(points) and math.floor(points[end][0]) == pixel:
            end += 1
        here = points[start:end]
        ranks = {0, len(here) - 1, *(f(range(len(here)), key=lambda i: here[i][1]) for f in (min, max))}
        yield from (here[index] for index in sorted(ranks))
        start = end


def frame(begins: float, top: float, height: float, labels: bool) -> Iterator[str]:
    """The time axis: a line every two hours, with its time under it."""
    for step in range(13):
        x = LEFT + step / 12 * INNER
        yield f"<path d='M{x:.1f},{top}V{top + height}' stroke='{GRID}'/>"
        if labels:
            yield text(x, top + height + 16, clock(begins + step / 12 * LENGTH), FAINT, size=11, anchor="middle")
    yield f"<path d='M{LEFT},{top + height}H{LEFT + INNER}' stroke='{FAINT}'/>"
    if labels:
        yield text(LEFT + INNER + 26, top + height + 16, "UTC", FAINT, size=11)


def text(
    x: float, y: float, words: str, colour: str = INK, *, size: int = 13, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}'>{escape(words)}</text>"
    )
