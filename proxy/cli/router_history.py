"""`streamlane router history`: the newest decisions, what became of them, and what people thought."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.router_shared import console, fail, print_json
from proxy.cli.shared import config_file, without_keys

if TYPE_CHECKING:
    from rich.console import RenderableType

    from proxy.history.labels import Kept
    from proxy.history.reading import HistoryFile


@click.command()
@config_file
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many at most.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def history(config: Path | None, limit: int, as_json: bool) -> None:
    """Show the newest decisions: what was asked, its score, who answered, what it cost, and what was thought of it.

    Works with a gateway that runs and without one. Times are this machine's. No question is shown.
    """
    with history_file(config) as file:
        rows = list(file.newest(limit))
    if as_json:
        print_json({"object": "list", "data": [shown(row) for row in rows]})
    elif not rows:
        click.echo("Nothing was routed yet. Ask the gateway for auto.")
    else:
        console().print(table(rows))
        if len(rows) == limit:
            click.echo(f"These are the newest {limit}; --limit shows more.")


@contextmanager
def history_file(config: Path | None) -> "Iterator[HistoryFile]":
    """That of the configured gateway. What is wrong with it is one sentence, and exit code 2."""
    from proxy.config_error import ConfigError
    from proxy.history.reading import reading
    from proxy.store.sqlite_file import StoreUnusable

    try:
        with reading(without_keys(config).data_dir) as file:
            yield file
    except (ConfigError, StoreUnusable) as error:
        fail(str(error))


def shown(row: "Kept") -> dict[str, Any]:
    """One call, for programs: no question, and nothing that was made of it."""
    from msgspec.structs import asdict

    told = {name: value for name, value in asdict(row).items() if name not in ("features", "question", "rating")}
    return {**told, "rating": {1: "up", -1: "down"}.get(row.rating or 0)}


def table(rows: "Sequence[Kept]") -> "RenderableType":
    """A line for each call."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("time", "asked", "because", "answered", "cost", "feedback"):
        made.add_column(heading, overflow="fold", justify="right" if heading == "cost" else "left")
    for row in rows:
        made.add_row(
            datetime.fromtimestamp(row.at).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            plain(row.asked),
            plain(because(row)),
            plain(answered(row)),
            dollars(row.cost),
            plain(row.feedback),
        )
    return made


def because(row: "Kept") -> str:
    """What chose: a rule, or the score against its threshold."""
    if row.rule is not None:
        return f"rule {row.rule}"
    if row.asked_again:
        return "asked again"
    if row.score is None:
        return ""
    unfamiliar = ", unfamiliar" if row.guarded else ""
    if row.threshold is None:
        return f"{row.score:.3f}{unfamiliar}"
    sign = ">=" if row.score >= row.threshold else "<"
    return f"{row.score:.3f} {sign} {row.threshold:.3f}{unfamiliar}"


def answered(row: "Kept") -> str:
    """Who did, after whom; or why nobody did."""
    after = f", after {', '.join(f'{backend}/{model}' for backend, model, _ in row.failed)}" if row.failed else ""
    if row.status == "failed":
        return f"failed: {row.error}{after}"
    return f"{row.answered or 'nobody'}{after}" + (f" ({row.status})" if row.status != "completed" else "")


def dollars(cost: int | None) -> str:
    """Micro-dollars in dollars; nothing where it is not known."""
    return "" if cost is None else f"${cost / 1_000_000:.6f}"


def plain(text: str) -> str:
    """As it is: nothing in it is markup."""
    from rich.markup import escape

    return escape(text)
