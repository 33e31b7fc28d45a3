"""`streamlane router eval`: how much quality the learned router keeps, and at which cost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.router_shared import FILE, console, labelled, loaded_pair, not_trained_by, one_sentence, print_json

if TYPE_CHECKING:
    from proxy.cli.router_view import Times
    from proxy.learned.evaluation import Report, Split
    from proxy.learned.measures import Prices
    from proxy.learned.router import PairRouter
    from proxy.learned.rows import Row

LONG = 4_000  # characters: where the router's reading ends
POINTS = 101  # of the curve in JSON


@click.command("eval")
@click.option("--data", type=FILE, metavar="FILE", help="Prompts with outcomes. Otherwise those of the checkout.")
@click.option("--strong", metavar="MODEL", help="The strong model, as the data names it.")
@click.option("--weak", metavar="MODEL", help="The weak model, as the data names it.")
@click.option("--bench", "benches", multiple=True, metavar="NAME", help="Only this benchmark. Can be repeated.")
@click.option("--weights", type=FILE, metavar="FILE", help="Measure these weights as they are; train nothing.")
@click.option("--quick", is_flag=True, help="Only the folds, with fewer samples for the intervals.")
@click.option("--price-strong", type=click.FloatRange(0, min_open=True), default=24.7, show_default=True)
@click.option("--price-weak", type=click.FloatRange(0), default=0.24, show_default=True)
@click.option(
    "--svg", type=FILE, default=Path("router-curve.svg"), metavar="FILE", show_default=True, help="The curve."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def evaluate(
    *,
    data: Path | None,
    strong: str | None,
    weak: str | None,
    benches: tuple[str, ...],
    weights: Path | None,
    quick: bool,
    price_strong: float,
    price_weak: float,
    svg: Path,
    as_json: bool,
) -> None:
    """Measure how much quality the router keeps at which cost, on prompts that did not train it.

    Trains on one part of the data and tests on the other, several ways, and draws the cost-quality curve. Prices are
    dollars for a million tokens; the defaults are those of RouteLLM's paper. Needs `pip install 'streamlane[train]'`.
    """
    with one_sentence():
        from proxy.cli import router_view as view
        from proxy.learned.measures import Prices

        file = data or own_data()
        if weights is not None:
            not_trained_by(loaded_pair(weights, None, None)[0], file)
        rows = labelled(file)
        pair = pair_of(rows, strong, weak)
        prices = Prices(price_strong, price_weak)
        report = _report(rows, pair, benches, weights, prices, quick=quick)
        times = _times([row.prompt for row in rows], weights)
        where = report.lines[0].bench
        _draw(svg, report, pair, prices, where)
    if as_json:
        print_json(_as_json(report, pair, times, svg))
        return
    named = where.split(" + ")
    click.echo(view.heading(report, *pair) + "\n")
    console().print(view.table(report, *pair))
    for lines in (view.legend(prices, *pair, named), view.others(report, times), view.limits(named, *pair)):
        click.echo()
        for line in lines:
            click.echo(line)
    click.echo(f"\nThe curve is in {svg}.")


def _report(
    rows: "Sequence[Row]",
    pair: tuple[str, str],
    benches: Sequence[str],
    weights: Path | None,
    prices: "Prices",
    *,
    quick: bool,
) -> "Report":
    """Raises ValueError when the data does not allow what is asked."""
    from proxy.learned import evaluation
    from proxy.learned.labels import as_rows

    resamples = 200 if quick else 1000
    table = as_rows(rows, *pair)
    known = evaluation.names(table.bench[table.labelled()])
    if unknown := [bench for bench in benches if bench not in known]:
        raise ValueError(f'These models have no outcomes on "{unknown[0]}". They have some on: {", ".join(known)}.')
    if weights is not None:
        scores = chosen(weights, *pair).scores(row.prompt for row in rows)
        return evaluation.measure(table, scores, benches, prices, resamples=resamples)
    planned = evaluation.splits(table, benches, quick=quick)
    if not any(split.protocol == evaluation.IN_DOMAIN for split in planned):
        raise ValueError(
            f"{len(table.labelled(benches))} prompts with outcomes of {pair[0]} and {pair[1]} are too few to measure "
            f"anything: give a few hundred."
        )
    with steps(len(planned)) as step:
        from proxy.learned.learner import Learner

        learner = Learner(rows, *pair)
        return evaluation.evaluate(table, learner.fit, planned, benches, prices, resamples=resamples, step=step)


@contextmanager
def steps(total: int) -> "Iterator[Any]":
    """A function that is told of each split: a bar on a terminal, elsewhere a line for each protocol. On stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description:<30}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading the prompts", total=total)
        told = [""]
        if not console.is_terminal:
            console.print("reading the prompts ...")

        def step(split: "Split") -> None:
            if told[0]:
                progress.advance(task)
            if split.protocol != told[0] and not console.is_terminal:
                console.print(f"{split.protocol} ...")
            told[0] = split.protocol
            progress.update(task, description=split.protocol)

        yield step


def own_data() -> Path:
    """The outcomes that come with a checkout. Raises ValueError where this is none."""
    import proxy

    found = Path(proxy.__file__).parents[1] / "scripts" / "router" / "outcomes.jsonl.xz"
    if not found.is_file():
        raise ValueError(
            "Name the prompts with outcomes to measure on: --data FILE. docs/router.md says how they look."
        )
    return found


def pair_of(rows: "Sequence[Row]", strong: str | None, weak: str | None) -> tuple[str, str]:
    """The models that are asked for, or those of most of the rows. Raises ValueError."""
    from proxy.learned.labels import usual_pair

    if (strong is None) != (weak is None):
        raise ValueError("Name both models, with --strong and --weak.")
    if strong is None or weak is None:
        return usual_pair(rows)
    known = sorted({model for row in rows for model in row.scores})
    for model in (strong, weak):
        if model not in known:
            raise ValueError(f'The data has no outcomes of "{model}". It has those of: {", ".join(known)}.')
    return strong, weak


def chosen(weights: Path, strong: str, weak: str) -> "PairRouter":
    """The heads of these models where the weights have them, otherwise those of the weights' own pair."""
    from proxy.learned.router import LearnedRouter

    loaded = LearnedRouter.load(weights)
    return loaded.pair(strong, weak) if {strong, weak} <= set(loaded.models) else loaded.pair()


def _times(prompts: Sequence[str], weights: Path | None) -> "Sequence[Times]":
    """What a decision takes of one core's time: prompts of the data, and the longest that are read whole."""
    from itertools import islice
    from time import thread_time

    from proxy.cli.router_view import Times
    from proxy.learned.labels import decision_times

    pair = loaded_pair(weights, None, None)[1]
    some = prompts[:: max(len(prompts) // 2000, 1)]
    text = "\n".join(prompts[: 200 * LONG // 100])
    pieces = (text[start : start + LONG] for start in range(0, len(text) - LONG, LONG))
    found = []
    for what, each in (("prompts of the data", some), (f"prompts of {LONG:,} characters", list(islice(pieces, 200)))):
        if each:
            p50, p99 = decision_times(pair.score, each, thread_time)
            found.append(Times(what, p50 * 1000, p99 * 1000))
    return found


def _draw(file: Path, report: "Report", pair: tuple[str, str], prices: "Prices", where: str) -> None:
    from proxy.cli.router_view import few
    from proxy.learned.curve import Picture, svg

    title = f"Quality and cost of the learned router: {few(where)}"
    drawn = svg(Picture(title, *pair, prices, report.router, report.oracle, report.low, report.high))
    file.write_text(drawn, encoding="utf-8")


def _as_json(report: "Report", pair: tuple[str, str], times: "Sequence[Times]", svg: Path) -> dict[str, Any]:
    import numpy as np
    from msgspec import to_builtins

    from proxy.cli import router_view as view

    grid = np.linspace(0, 1, POINTS)
    benches = [line.bench for line in report.lines]
    return {
        "strong": pair[0],
        "weak": pair[1],
        "strong_quality": report.strong_quality,
        "weak_quality": report.weak_quality,
        "lines": to_builtins(report.lines),
        "shares": to_builtins(report.shares),
        "calibration_error": report.calibration_error,
        "decision_ms": to_builtins(times),
        "curve": {
            "share": grid.tolist(),
            "quality": report.router.at(grid).tolist(),
            "low": report.low.tolist(),
            "high": report.high.tolist(),
            "oracle": report.oracle.at(grid).tolist(),
        },
        "published": {"source": view.SOURCE, "lines": to_builtins(view.published(*pair, benches))},
        "not_said": list(view.limits(benches[:1], *pair)),
        "svg": str(svg),
    }
