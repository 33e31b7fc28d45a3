"""What several commands have in common: the file and what is in it, and help for a group without a command."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from proxy.config import Config

Command = TypeVar("Command", bound=Callable[..., Any])

KEYS = re.compile(r"(accounts|backends)\[\d+\]\.(account|account_id|api_key|api_keys\[\d+\])")


class Group(click.Group):
    """Commands in the order in which they were added. Called alone it shows what there is, and that is no mistake."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(0)
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            if found := self._command_with(error.option_name, args):
                right = f"{ctx.command_path} {found} {error.option_name} …"
                error = click.NoSuchOption(error.option_name, f"Options come after the command: {right}", ctx=ctx)
            raise error from None

    def _command_with(self, option: str, args: list[str]) -> str:
        """The command that `args` name, when it has that option; its words after this group's."""
        words: list[str] = []
        command: click.Command = self
        for word in args:
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
                words.append(word)
        return " ".join(words) if any(option in parameter.opts for parameter in command.params) else ""


def config_file(command: Command) -> Command:
    """The option --config."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The file. Otherwise $STREAMLANE_CONFIG, then ./streamlane.toml.",
    )(command)


def without_keys(file: Path | None) -> "Config":
    """The configuration for who asks no provider: the variables of keys need not be set, as in a second terminal.

    Raises ConfigError.
    """
    from proxy.config_load import load
    from proxy.config_source import References, find, parse

    found = find(file, os.environ, Path.cwd())
    references = References(os.environ)
    references.expand(parse(found, found.name) if found else {})
    keys = {name for path, names in references.used.items() if KEYS.fullmatch(path) for name in names}
    return load(file, {**{name: name for name in keys}, **os.environ}, Path.cwd()).config


def program() -> str:
    """What to type to run this program again: its name, or its path where the name is not on PATH."""
    started = Path(sys.argv[0])
    if started.stem != "streamlane" or shutil.which("streamlane"):
        return "streamlane"
    return os.path.relpath(started) if Path.cwd() in started.parents else str(started)
