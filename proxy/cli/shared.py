"""What several commands have in common: the option that names the file, and help for a group without a command."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The file. Otherwise $STREAMLANE_CONFIG, then ./streamlane.toml.")
]


def show_help(context: typer.Context) -> None:
    """The callback of a group: called alone, it shows what there is."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
