"""What several commands have in common: the option that names the file, and help for a group without a command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Group(click.Group):
    """Commands in the order in which they were added. Called alone it shows what there is, and that is no mistake."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)


def config_file(command: Command) -> Command:
    """The option --config."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The file. Otherwise $STREAMLANE_CONFIG, then ./streamlane.toml.",
    )(command)
