"""The command line: one program, one file per command. Each loads what it needs when it is called."""

import sys

import click

from proxy import __version__
from proxy.cli import chat, config, doctor, free, models, quota, router, serve
from proxy.cli.shared import Group
from proxy.config_error import ConfigError


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="streamlane %(version)s")
def app() -> None:
    """A WebSocket-first streaming gateway to language models."""


app.add_command(serve.serve)
app.add_command(chat.chat)
app.add_command(models.models)
app.add_command(free.free)
app.add_command(quota.quota)
app.add_command(router.router)
app.add_command(config.config)
app.add_command(doctor.doctor)


def main() -> None:
    """Run the command line. A wrong configuration ends every command with its problems and exit code 2."""
    try:
        app(prog_name="streamlane")
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(2)
