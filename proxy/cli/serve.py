"""`streamlane serve`: run the gateway."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import asyncio

    from proxy.app import Gateway


def serve(
    config: Annotated[
        Path | None, typer.Option("--config", help="The file. Otherwise $STREAMLANE_CONFIG, then ./streamlane.toml.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port; 0 takes a free one.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run the gateway until it is stopped."""
    from proxy.config_load import load

    given = {"server.host": ("--host", host), "server.port": ("--port", port), "log.level": ("--log-level", log_level)}
    flags = {path: (flag, str(value)) for path, (flag, value) in given.items() if value is not None}
    found = load(config, os.environ, Path.cwd(), flags).config

    import asyncio

    from proxy import app, logs  # after the configuration, whose mistakes should be told at once

    logs.configure(found.log.level, found.log.format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(app.serve(found, _announce))
    except app.StartError as error:
        typer.echo(f"Cannot start: {error}", err=True)
        raise typer.Exit(1) from None


def _announce(gateway: "Gateway") -> None:
    typer.echo(f"Streamlane listens on {gateway.base_url} (metrics: {gateway.ops_url}). Stop it with Ctrl+C.")
    sys.stdout.flush()


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """uvloop, where there is one: Windows has none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop
