"""`streamlane serve`: run the gateway."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.models import MODELS
from proxy.cli.shared import config_file

if TYPE_CHECKING:
    from proxy.app import Gateway
    from proxy.config import Config

NOTHING = """\
Nothing to serve: {file}, and no model is pulled. Do one of these, then serve again:

  streamlane models pull smollm2    a small model that runs inside Streamlane
  streamlane config init            a streamlane.toml to name your own servers in"""

EXAMPLE = """\
Ask it something (pip install "openai[realtime]"):

    from openai import OpenAI
    with OpenAI(base_url="{base_url}", api_key="{key}").responses.connect() as connection:
        connection.response.create(model="{model}", input="What is the capital of France?", temperature=0)
        for event in connection:
            if event.type == "response.output_text.delta": print(event.delta, end="", flush=True)
            elif event.type in ("response.completed", "response.incomplete", "response.failed", "error"): break
"""


@click.command()
@config_file
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port; 0 takes a free one.")
@click.option("--log-level", help="debug, info, warning or error.")
def serve(config: Path | None, host: str | None, port: int | None, log_level: str | None) -> None:
    """Run the gateway until it is stopped."""
    from proxy.config_load import load

    given = {"server.host": ("--host", host), "server.port": ("--port", port), "log.level": ("--log-level", log_level)}
    flags = {path: (flag, str(value)) for path, (flag, value) in given.items() if value is not None}
    loaded = load(config, os.environ, Path.cwd(), flags)
    found = loaded.config if loaded.config.backends else with_pulled_model(loaded.config)
    if not found.backends:
        file = f"{loaded.path} names no [[backends]]" if loaded.path else "there is no streamlane.toml here"
        click.echo(NOTHING.format(file=file), err=True)
        raise SystemExit(1)

    import asyncio
    import gc

    from proxy import app, logs  # after the configuration, whose mistakes should be told at once

    logs.configure(found.log.level, found.log.format)
    raise_descriptor_limit()
    for model in [getattr(options, "model", None) for options in found.backends]:
        if model is not None:  # one that runs inside: seconds pass before anything else is said
            click.echo(f"Loading {model} …")
    gc.freeze()  # what is loaded now stays: collections need not walk it again, which would be felt as a pause
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(app.serve(found, lambda gateway: announce(gateway, keyed=bool(found.server.api_keys))))
    except asyncio.CancelledError:  # a second Ctrl+C: no time to drain
        raise SystemExit(130) from None
    except app.StartError as error:
        click.echo(f"Cannot start: {error}", err=True)
        raise SystemExit(1) from None


def with_pulled_model(config: "Config") -> "Config":
    """Without any backend: the model that was pulled last, if there is one, runs inside the gateway."""
    from msgspec.structs import replace

    from backends.llama_cpp import catalog
    from backends.llama_cpp.backend import Options

    pulled = catalog.pulled(config.data_dir / MODELS)
    if not pulled:
        return config
    newest = max(pulled, key=lambda name: pulled[name].lstat().st_mtime)
    return replace(config, backends=(Options(name="local", model=newest),))


def announce(gateway: "Gateway", keyed: bool) -> None:
    """Say where it listens and how to ask; a person reads this, and programs read the first line."""
    names = [listed.id for listed in gateway.runtime().listed()]
    click.echo(
        f"Streamlane listens on {gateway.base_url} (health: {gateway.ops_url}/health/ready). Stop it with Ctrl+C."
    )
    if names:
        click.echo(f"Models: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}\n")
        key = "YOUR_KEY" if keyed else "none-needed"
        click.echo(EXAMPLE.format(base_url=gateway.base_url, key=key, model=names[0]))
    else:
        click.echo("No backend has answered yet. GET /v1/models shows their models when they do.")
    sys.stdout.flush()


def raise_descriptor_limit() -> None:
    """Each client takes a file descriptor: use as many as the system lets us."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY  # some systems refuse to set that
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536 if unlimited else hard, hard))


def _loop_factory() -> Any:
    """uvloop, where there is one: Windows has none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
