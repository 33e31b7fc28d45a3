"""The command line: one program, one file per command. Each loads what it needs when it is called."""

import sys
from typing import Annotated

import typer

from proxy import __version__
from proxy.cli import config, models, serve
from proxy.config_error import ConfigError

app = typer.Typer(
    name="streamlane",
    help="A WebSocket-first streaming gateway to language models.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # rich alone takes longer to load than everything else that help needs
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamlane {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[  # its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line. A wrong configuration ends every command with its problems and exit code 2."""
    try:
        app(prog_name="streamlane")
    except ConfigError as error:
        typer.echo(error, err=True)
        sys.exit(2)
