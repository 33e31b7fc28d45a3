"""Draws the day as SVG: the requests, each backend's bad hours, and who answered under each strategy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from scripts.simulation.report import IN_TIME, SLOTS, Row
from scripts.simulation.weather import HOUR, Weather

WIDTH, LEFT, RIGHT = 1200, 210, 370
INNER = WIDTH - LEFT - RIGHT
TOP, STRIP, ROW, GAP = 104, 24, 66, 18
FONT = "font-family='system-ui, Segoe UI, Helvetica, Arial, sans-serif'"
INK, FAINT, GRID, BAD, SLOW = "#1f2933", "#616e7c", "#e4e7eb", "#b42318", "#e0a458"
FILLS = ("#8a94a0", "#3b6fb5", "#2f8f6b", "#b88a1b", "#6b57a5")  # of the backends, in order
COLUMNS = ((72, "good"), (152, "p95, s"), (232, "cost, $"), (332, "asked the dead"))  # right ends, beside the rows
NAMES = {"two_choices": "two choices", "round_robin": "round robin", "least_busy": "least busy"}


def draw(rows: Sequence[Row], weather: Mapping[str, Weather], what: Mapping[str, str], hours: float, foot: str) -> str:
    """The whole picture. `what` says in words what each backend is; `foot` is a sentence under it."""
    begin = TOP + len(weather) * STRIP + 52
    height = begin + len(rows) * (ROW + GAP) + 62
    size = f"width='{WIDTH}' height='{height:.0f}'"
    fills = dict(zip(weather, FILLS, strict=False))
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' {size} {FONT}>",
        f"<rect {size} fill='white'/>",
        text(24, 36, "One day, five backends, and each way to choose among them", size=22, weight=600),
        text(24, 60, "The same requests and the same bad hours for each. Simulated: the dispatcher is real,", FAINT),
        text(24, 78, "the backends, their prices and the day are invented.", FAINT),
    ]
    for index, (name, spells) in enumerate(weather.items()):
        parts += strip(name, spells, fills[name], TOP + index * STRIP, hours)
        parts.append(text(LEFT + INNER + 14, TOP + index * STRIP + 15, what[name], FAINT, size=12))
    parts += head(begin - 14)
    most = max(1, *(sum(slot) for each in rows for slot in zip(each.bad, *each.by.values(), strict=True)))
    for index, each in enumerate(rows):
        parts += panel(each, fills, most, begin + index * (ROW + GAP), rows)
    parts += hours_under(begin + len(rows) * (ROW + GAP) - GAP, hours)
    good = f"Good: the answer came whole, and began within {IN_TIME:g} s; p95: of the first token; bold: the best. "
    parts.append(text(24, height - 14, good + foot, FAINT, size=12))
    return "\n".join([*parts, "</svg>"]) + "\n"


def strip(name: str, weather: Weather, fill: str, top: float, hours: float) -> Iterator[str]:
    """One backend's day: red where nobody is answered, orange where it is slow."""
    yield f"<rect x='24' y='{top + 4}' width='12' height='12' fill='{fill}'/>"
    yield text(44, top + 15, name, weight=600)
    yield f"<rect x='{LEFT}' y='{top + 5}' width='{INNER}' height='10' fill='#d3e6dc'/>"
    for spell in weather.spells:
        begins, ends = max(0.0, spell.begins), min(spell.ends, hours * HOUR)
        if ends > begins:
            x, width = LEFT + begins / HOUR / hours * INNER, max(2.0, (ends - begins) / HOUR / hours * INNER)
            colour = SLOW if spell.kind == "slow" else BAD
            yield f"<rect x='{x:.1f}' y='{top + 5}' width='{width:.1f}' height='10' fill='{colour}'/>"


def head(y: float) -> Iterator[str]:
    """Over the rows."""
    yield text(LEFT, y, "answers in each half hour, by who gave them", FAINT, size=12)
    yield f"<rect x='{LEFT + 300}' y='{y - 10}' width='11' height='11' fill='{BAD}'/>"
    yield text(LEFT + 317, y, "refused, broken, or the caller left", FAINT, size=12)
    for x, name in COLUMNS:
        yield text(LEFT + INNER + x, y, name, FAINT, size=12, anchor="end")


def panel(each: Row, fills: Mapping[str, str], most: int, top: float, rows: Sequence[Row]) -> Iterator[str]:
    """One strategy: stacked bars, and its numbers; the best of a column is bold."""
    scale, base, width = ROW / most, top + ROW, INNER / SLOTS
    yield text(24, top + 28, NAMES.get(each.strategy, each.strategy.replace("_", " ")), size=15, weight=600)
    yield text(24, top + 46, f"{each.answered:.1%} answered", FAINT, size=12)
    for slot in range(SLOTS):
        y = base
        for colour, counts in [*((fills[name], counts) for name, counts in each.by.items()), (BAD, each.bad)]:
            tall = counts[slot] * scale
            if tall:
                y -= tall
                x = LEFT + slot * width
                yield f"<rect x='{x:.1f}' y='{y:.1f}' width='{width - 1:.1f}' height='{tall:.1f}' fill='{colour}'/>"
    yield f"<path d='M{LEFT},{base}H{LEFT + INNER}' stroke='{FAINT}'/>"
    best = (
        each.good >= max(row.good for row in rows),
        each.p95 <= min(row.p95 for row in rows),
        each.dear <= min(row.dear for row in rows),
        each.wasted <= min(row.wasted for row in rows),
    )
    values = (f"{each.good:.1%}", f"{each.p95:.2f}", f"{each.dear / 1e6:.2f}", f"{each.wasted:,}")
    for (x, _), value, bold in zip(COLUMNS, values, best, strict=True):
        yield text(LEFT + INNER + x, top + 38, value, size=16, weight=700 if bold else 400, anchor="end")


def hours_under(y: float, hours: float) -> Iterator[str]:
    """The time axis."""
    for step in range(13):
        hour = hours * step / 12
        words = f"{int(hour) % 24:02}:{round(hour % 1 * 60):02}"
        yield text(LEFT + step / 12 * INNER, y + 16, words, FAINT, size=11, anchor="middle")


def text(
    x: float, y: float, words: str, colour: str = INK, *, size: int = 13, weight: int = 400, anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' fill='{colour}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}'>{escape(words)}</text>"
    )
