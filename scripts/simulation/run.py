"""Runs the day under each strategy, shows how far it is, and prints the table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from proxy.runtime import Strategy
from scripts.simulation import day
from scripts.simulation.backend import SimulatedBackend
from scripts.simulation.picture import draw
from scripts.simulation.report import Row, row, table
from scripts.simulation.traffic import Talk, talks
from scripts.simulation.virtual_time import virtually
from scripts.simulation.weather import HOUR
from scripts.simulation.world import World

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
LOOK = 0.25  # hours of the day between two looks at how far it is


async def lived(
    strategy: Strategy, people: Sequence[Talk], hours: float, seed: int, tell: Callable[[float], None]
) -> Row:
    """The day under one strategy. `tell` hears the hour."""
    backends = day.backends(seed, hours)
    weights = day.WEIGHTS if strategy == "weighted" else ()
    world = World(backends, strategy, weights=weights, seed=seed)

    async def watch() -> None:
        now = asyncio.get_running_loop().time
        while True:
            tell(now() / HOUR)
            await asyncio.sleep(LOOK * HOUR)

    watching = asyncio.create_task(watch())
    try:
        await world.day(people)
    finally:
        watching.cancel()
    return row(strategy, world.ended, backends, hours)


def run(strategies: Sequence[Strategy], hours: float, seed: int, out: Path | None) -> None:
    """All of them, one after the other; the same people come to each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = time.perf_counter()
    people = talks(random.Random(f"{seed}/people"), hours, round(day.REQUESTS * hours / 24))
    rows = []
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(),
        TextColumn("{task.completed:4.1f} of {task.total:g} h"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:
        for strategy in strategies:
            task = progress.add_task(strategy, total=hours)
            rows.append(virtually(lived(strategy, people, hours, seed, partial(shown, progress, task))))
            progress.update(task, completed=hours)
            if not console.is_terminal:
                print(f"{strategy}: {rows[-1].requests:,} requests", file=sys.stderr, flush=True)
    print(table(rows))
    asked = sum(each.requests for each in rows)
    print(f"\n{asked:,} requests, of which {rows[0].requests:,} a day, in {time.perf_counter() - began:.0f} seconds.")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        weather = {each.name: each.weather for each in virtually(built(seed, hours))}
        count = f"{rows[0].requests:,} requests" if len({each.requests for each in rows}) == 1 else "The same callers"
        foot = f"{count} each. Drawn by scripts/simulate --hours {hours:g} --seed {seed}."
        (out / "simulation.svg").write_text(draw(rows, weather, day.WHAT, hours, foot))
        print(f"The picture is {out / 'simulation.svg'}", file=sys.stderr)


def shown(progress: Progress, task: TaskID, hour: float) -> None:
    """How far a day is."""
    progress.update(task, completed=hour)


async def built(seed: int, hours: float) -> Sequence[SimulatedBackend]:
    return day.backends(seed, hours)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--hours", type=float, default=24, help="how much of the day, from midnight (default 24)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice: another day of the same kind (default 1)")
    parser.add_argument("--out", type=Path, help="a folder for the picture, simulation.svg (default: none is drawn)")
    parser.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=STRATEGIES, metavar="NAME",
        help=f"only these of {', '.join(STRATEGIES)}",
    )  # fmt: skip
    options = parser.parse_args()
    if not 0 < options.hours <= 24 * 7:
        parser.error("--hours must be more than 0 and at most 168, a week.")
    run(options.strategies, options.hours, options.seed, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
