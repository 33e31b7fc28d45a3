"""`streamlane models`: which models are pulled, and pulling one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.shared import Group, config_file

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

MODELS = "models"  # the folder of pulled models within data_dir


@click.group(cls=Group)
def models() -> None:
    """Models that run inside Streamlane: list them, pull one."""


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
