"""`streamlane models`: which models are pulled, pulling one, and what models cost."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.shared import Group, config_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import TaskID

    from proxy.config import Config
    from quota.price import Price

MODELS = "models"  # the folder of pulled models within data_dir


@click.group(cls=Group)
def models() -> None:
    """Models that run inside Streamlane: list them, pull one. And what models of providers cost."""


@models.command("list")
@config_file
def list_models(config: Path | None) -> None:
    """Show the pulled models, and what can be pulled."""
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    from backends.errors import EngineUnavailable
    from backends.llama_cpp import catalog, gguf_file

    folder = models_dir(config)
    found = catalog.pulled(folder)
    table = Table("model", "size", "context", "family", box=None, pad_edge=False)
    for name, file in found.items():
        try:
            header = gguf_file.read_header(file)
            context = f"{header.context:,}" if header.context else "unknown"
            table.add_row(name, decimal(file.stat().st_size), context, header.architecture)
        except EngineUnavailable as error:
            table.add_row(name, "", "", str(error))
    console = Console()
    if found:
        console.print(table)
    else:
        console.print(f"No models are pulled yet ({folder}).", soft_wrap=True)
    for name, known in catalog.KNOWN.items():
        if name not in found:
            console.print(f"Can be pulled: {name} - {known.about}.", soft_wrap=True)


@models.command()
@click.argument("model")
@config_file
def pull(model: str, config: Path | None) -> None:
    """Fetch a model, or register a .gguf file of your own (by a link: it stays where it is).

    MODEL is a name that `streamlane models list` shows, the path of a .gguf file, or a file on the Hugging Face hub:
    hf:ORG/REPO/FILE.gguf, or hf:ORG/REPO/FILE.gguf@REVISION (needs `pip install 'streamlane[hf]'`).
    """
    from rich.console import Console

    from backends.errors import EngineUnavailable
    from backends.llama_cpp import catalog, hub
    from backends.llama_cpp.pulling import PullError

    console = Console()
    try:
        folder = models_dir(config)
        with Bars(console) as bars:
            name, new = catalog.pull(folder, model, bars.show)
    except (PullError, EngineUnavailable, OSError) as error:
        click.echo(f"Cannot pull: {error}", err=True)
        raise SystemExit(1) from None
    checked = " Its SHA-256 is the one that the hub names." if model.startswith(hub.PREFIX) else ""
    done = "is ready" if new else "is already pulled"
    console.print(f"{name} {done}, in {folder}.{checked}", soft_wrap=True, highlight=False)


@models.command()
@click.argument("word", default="")
@config_file
def prices(word: str, config: Path | None) -> None:
    """Show what models cost, in dollars for a million tokens: yours, then the published ones.

    With WORD only those of which the name or the provider has it.
    """
    from rich.console import Console
    from rich.table import Table

    from proxy.config_load import load

    table = Table("model", "input", "cached", "output", "known from", box=None, pad_edge=False)
    for column in table.columns[1:4]:
        column.justify = "right"
    for name, price, source in known_prices(load(config, os.environ, Path.cwd()).config):
        if word.lower() in f"{name} {source}".lower():
            told = map(dollars, (price.input, price.cached_input, price.output))
            table.add_row(name, *told, source)
    # What is no terminal keeps its lines whole, so that they can be searched.
    console = Console(width=None if (terminal := Console()).is_terminal else 200)
    if table.row_count:
        console.print(table)
    else:
        missing = f'No price of "{word}" is known.' if word else "No price is known."
        terminal.print(
            f'{missing} Set one: [prices."BACKEND/MODEL"] in the configuration.', soft_wrap=True, markup=False
        )


def known_prices(config: "Config") -> "Iterator[tuple[str, Price, str]]":
    """A model, its price, and who says so: the configuration first."""
    from proxy.configured import model_prices
    from proxy.prices import table

    for name, price in model_prices(config.prices).items():
        yield name, price, price.source
    for provider in table():
        for row in provider.models:
            more = "".join(
                [
                    f", prompts up to {row.longest_input:,} tokens" if row.longest_input else "",
                    f", until {row.until}" if row.until else "",
                ]
            )
            yield row.ids[0], row.price(), f"{provider.provider}, as of {row.date}{more}"


def dollars(micros: int | None) -> str:
    """Millionths of a dollar as dollars; nothing where that is not known."""
    return "" if micros is None else f"{micros / 1_000_000:g}"


class Bars:
    """One progress bar per step on a terminal; elsewhere one line when a step begins."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(),
            DownloadColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._steps: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: str, done: int, total: int) -> None:
        """As pulling.Progress."""
        if step not in self._steps:
            self._steps[step] = self._progress.add_task(step, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{step} ({total / 1e6:.0f} MB) ...")
        self._progress.update(self._steps[step], completed=done, total=total)


def models_dir(config: Path | None) -> Path:
    """Where pulled models are, by the configuration. Makes the data folder."""
    from proxy.config_load import load
    from proxy.data_dir import ensure_data_dir

    data_dir = load(config, os.environ, Path.cwd()).config.data_dir
    ensure_data_dir(data_dir)
    return data_dir / MODELS
