"""`streamlane serve`: run the gateway."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.models import MODELS
from proxy.cli.shared import config_file, program

if TYPE_CHECKING:
    from asyncio import Runner
    from collections.abc import Sequence

    from backends.llama_cpp.backend import Options
    from proxy.app import Gateway
    from proxy.config import BackendOptions, Config
    from proxy.provider_keys import ProviderKey

NOTHING = """\
Nothing to serve: {file}, no model is pulled in {models}, and no server on this machine can be used.
Looked for {ports}. Do one of these, then serve again:

  start one of those servers, or set a provider's key, such as OPENAI_API_KEY
  {pull}    a small model that runs inside Streamlane
  {init}    a streamlane.toml to name your own servers in"""

GARBAGE = 20_000  # objects made and not freed, between two looks for cycles
USUAL = "http://127.0.0.1:8765"  # where `streamlane chat` looks
EXAMPLE = """\
From Python (pip install "openai[realtime]"):

    from openai import OpenAI
    with OpenAI(base_url="{base_url}", api_key="{key}").responses.connect() as connection:
        connection.response.create(model="{model}", input="What is the capital of France?", temperature=0)
        for event in connection:
            if event.type == "response.output_text.delta": print(event.delta, end="", flush=True)
            elif event.type == "response.completed": break
            elif event.type in ("response.incomplete", "response.failed", "error"): raise SystemExit(event.to_json())
"""


@click.command()
@config_file
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="TCP port; 0 takes a free one.")
@click.option("--ops-port", type=int, help="TCP port for health and metrics; 0 takes a free one.")
@click.option("--log-level", help="debug, info, warning or error.")
def serve(config: Path | None, host: str | None, port: int | None, ops_port: int | None, log_level: str | None) -> None:
    """Run the gateway until it is stopped."""
    from proxy.config_load import load

    given = {
        "server.host": ("--host", host),
        "server.port": ("--port", port),
        "ops.port": ("--ops-port", ops_port),
        "log.level": ("--log-level", log_level),
    }
    flags = {path: (flag, str(value)) for path, (flag, value) in given.items() if value is not None}
    loaded = load(config, os.environ, Path.cwd(), flags)

    import asyncio  # after the configuration, whose mistakes should be told at once

    from proxy import local_servers

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        found, keys = loaded.config, list["ProviderKey"]()
        if not found.backends and not found.accounts:
            found, keys = with_found(found, runner), found_keys(found)
        if not found.backends and not found.accounts and not keys:
            file = f"{loaded.path} names no [[backends]]" if loaded.path else "there is no streamlane.toml here"
            pull, init = f"{program()} models pull smollm2", f"{program()} config init"
            told = {"models": found.data_dir / MODELS, "pull": pull, "init": init.ljust(len(pull))}
            click.echo(NOTHING.format(file=file, ports=local_servers.looked_for(), **told), err=True)
            raise SystemExit(1)
        run(found, runner, [key.options(os.environ) for key in keys])


def run(config: "Config", runner: "Runner", by_name: "Sequence[BackendOptions]" = ()) -> None:
    """The gateway, from its start to its end. The backends `by_name` answer only to BACKEND/MODEL."""
    import asyncio
    import gc

    from proxy import app, logs
    from proxy.ports import PortTaken, StartError

    logs.configure(config.log.level, config.log.format)
    raise_descriptor_limit()
    gc.freeze()  # what is loaded now stays: collections need not walk it again, which would be felt as a pause
    # Nearly all is freed by counting. With Python's own 700 a busy gateway's slowest tokens came 25 ms late, not 6.
    gc.set_threshold(GARBAGE)
    try:
        runner.run(
            app.serve(
                config,
                lambda gateway: announce(gateway, keyed=bool(config.server.api_keys)),
                lambda: loading(config),
                by_name,
            )
        )
    except asyncio.CancelledError:  # a second Ctrl+C: no time to drain
        raise SystemExit(130) from None
    except StartError as error:
        click.echo(f"Cannot start: {error}", err=True)
        if isinstance(error, PortTaken):
            from proxy.doctor.machine import is_ours  # where it is needed: it would make every start slower

            if runner.run(is_ours(error.host, error.port)):
                click.echo("A Streamlane gateway already runs there.", err=True)
        raise SystemExit(1) from None


def loading(config: "Config") -> None:
    """Name the models that run inside: seconds pass before anything else is said."""
    for model in [getattr(options, "model", None) for options in config.backends]:
        if model is not None:
            click.echo(f"Loading {model} …")
    sys.stdout.flush()


def with_found(config: "Config", runner: "Runner") -> "Config":
    """Without any backend: the servers of this machine, then the model that was pulled last. Says what it finds."""
    from msgspec.structs import replace

    from proxy import local_servers

    servers = runner.run(local_servers.find(local_servers.PORTS)) if config.discovery.local_servers else []
    for server in servers:
        click.echo(server)
    backends = [server.options() for server in servers if not server.locked]
    return replace(config, backends=(*backends, *pulled_model(config.data_dir / MODELS, others=bool(backends))))


def found_keys(config: "Config") -> "list[ProviderKey]":
    """The keys of providers in the environment. Says which variables hold them, and nothing of what they hold."""
    if not config.discovery.environment:
        return []
    from proxy import provider_keys  # a start that names its backends should not wait for it

    keys = provider_keys.find(os.environ)
    if keys:
        click.echo(provider_keys.told(keys))
    return keys


def pulled_model(models_dir: Path, others: bool) -> "list[Options]":
    """The model that was pulled last, to run inside. With `others` to serve it is left out where no engine is."""
    from backends.llama_cpp import catalog
    from backends.llama_cpp.backend import Options
    from backends.llama_cpp.engines import ENGINES

    pulled = catalog.pulled(models_dir)
    if not pulled or (others and not any(find_spec(engine.package) for engine in ENGINES.values())):
        return []
    newest = max(pulled, key=lambda name: pulled[name].lstat().st_mtime)
    click.echo(f"Found the pulled model {newest}")
    return [Options(name="local", model=newest)]


def announce(gateway: "Gateway", keyed: bool) -> None:
    """Say where it listens and how to ask: a person reads this."""
    runtime = gateway.runtime()
    names = [listed.id for listed in runtime.listed()]
    silent = [name for name in runtime.backends if name not in runtime.models and name not in runtime.by_name]
    origin = gateway.base_url.removesuffix("/v1")
    click.echo(f"Chat page: {origin}/")
    click.echo(f"API base URL: {gateway.base_url} (described at {origin}/docs)")
    if names:
        missing = f" (no answer yet from {', '.join(silent)})" if silent else ""
        click.echo(f"Models: {', '.join(names[:8])}{', …' if len(names) > 8 else ''}{missing}")
        where = "" if origin == USUAL else f" --base-url {gateway.base_url}"
        click.echo(f"In a terminal: {program()} chat{where}\n")
        key = "YOUR_KEY" if keyed else "none-needed"
        click.echo(EXAMPLE.format(base_url=gateway.base_url, key=key, model=names[0]))
    elif silent:
        click.echo(f"No answer yet from {', '.join(silent)}. GET /v1/models shows their models when they answer.")
    elif runtime.by_name:
        click.echo("GET /v1/models shows the providers' models in a moment.")
    else:
        click.echo("No backend has a model yet. GET /v1/models shows it within a minute, once one has.")
    click.echo(f"Health: {gateway.ops_url}/health. Stop the gateway with Ctrl+C.")
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
