"""`streamlane config`: write, check and show the configuration."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxy.cli.models import MODELS
from proxy.cli.shared import Group, config_file
from proxy.config_error import ConfigError

if TYPE_CHECKING:
    from proxy.config_load import Loaded


@click.group("config", cls=Group)
def config() -> None:
    """Write, check and show the configuration."""


@config.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("streamlane.toml"))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a file that shows every key with its default, for you to edit.

    What is found here is a backend in it: servers on their usual ports, the model that was pulled last, and keys of
    providers in the environment, which the file only names. PATH is the file to write; streamlane.toml when it is not
    given.
    """
    from proxy.config_docs import example_file

    # 0600, because keys will be written into it.
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(example_file(list(_found())))
    except FileExistsError:
        raise ConfigError([f"{path}: already there. Overwrite it with --force, or name another file."]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}."]) from None
    click.echo(f"Wrote {path}. Edit it, then run: streamlane config check --config {path}")


@config.command()
@config_file
def check(config: Path | None) -> None:
    """Say "ok", with a warning for a key that is missing, or list every problem (exit code 2)."""
    from proxy import account_doubts, accounts, catalog
    from proxy.cli import router_rules
    from proxy.provider_keys import doubts

    loaded = _load(config)
    if problems := [*_model_files(loaded), *_other_files(loaded)] or [*_weights(loaded)]:
        raise ConfigError(problems)
    found = loaded.config
    listening = f"{found.server.host}:{found.server.port}"
    accounts_too = f", accounts: {len(found.accounts)}" if found.accounts else ""
    counts = f"aliases: {len(found.models)}, keys: {len(found.server.api_keys)}"
    counts = f"backends: {len(found.backends)}{accounts_too}, {counts}"
    click.echo(f"ok: {loaded.path or 'no file, defaults and the environment'} (listens on {listening}, {counts})")
    providers = catalog.merged(found.catalog)
    built = accounts.build(found, providers)
    for doubt in (
        *doubts(found.backends),
        *router_rules.doubts(found.router),
        *account_doubts.doubts(found.accounts, providers, built, found.backends),
    ):
        click.echo(f"warning: {doubt}", err=True)
    if not found.backends and not found.accounts:
        from proxy.local_servers import looked_for

        click.echo(f"There are no [[backends]]: serve takes what it finds here ({looked_for()}; a pulled model; keys).")


@config.command()
@config_file
@click.option("--json", "as_json", is_flag=True, help="As JSON, with origins by path.")
def show(config: Path | None, as_json: bool) -> None:
    """Show the values in effect and where each came from. Secrets are masked."""
    from proxy.config_show import as_data, as_text

    loaded = _load(config)
    click.echo(_json(as_data(loaded)) if as_json else as_text(loaded), nl=as_json)


@config.command()
def schema() -> None:
    """Print the file's JSON schema, for editors."""
    from backends.registry import kinds
    from proxy.config_schema import schema as whole

    click.echo(_json(whole(kinds())))


def _found() -> Iterator[Mapping[str, str]]:
    """A table for each backend that could be served here. Says what it finds."""
    import asyncio

    from proxy import local_servers, provider_keys
    from proxy.cli.serve import pulled_model
    from proxy.config import variable
    from proxy.data_dir import default_data_dir

    for server in asyncio.run(local_servers.find(local_servers.PORTS)):
        click.echo(server)
        if not server.locked:
            yield server.table()
    data_dir = Path(os.environ.get(variable("data_dir")) or default_data_dir(os.environ))
    for model in pulled_model(data_dir / MODELS, others=True):  # without an engine it would stop the start
        yield {"name": model.name, "kind": "llama_cpp", "model": model.model}
    for key in provider_keys.find(os.environ):
        click.echo(f"Found {key.variable}")
        yield key.table()


def _model_files(loaded: "Loaded") -> Iterator[str]:
    """A sentence for each model file that could not be loaded: not pulled, not there, not one."""
    from backends.errors import EngineUnavailable
    from backends.llama_cpp import catalog, gguf_file
    from backends.llama_cpp.backend import Options

    for index, options in enumerate(loaded.config.backends):
        if isinstance(options, Options):
            path = f"backends[{index}].model"
            try:
                _, file = catalog.find(loaded.config.data_dir / MODELS, options.model)
                gguf_file.read_header(file)
            except EngineUnavailable as error:
                yield f"{loaded.origins[path]}: {path}: {error}"


def _weights(loaded: "Loaded") -> Iterator[str]:
    """A sentence for weights, models of them or a calibration with which the learned router could not start."""
    from proxy.dispatch_setup import scorers_of
    from proxy.ports import StartError

    try:
        scorers_of(loaded.config.router)
    except StartError as error:
        yield f"{loaded.path or 'the environment'}: {error}"


def _other_files(loaded: "Loaded") -> Iterator[str]:
    """A sentence for each file of keys, of credentials or of the router that cannot be used."""
    import time

    from backends.errors import EngineUnavailable
    from backends.key_file import KeyFile, KeyFileUnusable
    from proxy.config_source import join

    router = loaded.config.router
    ours = {"weights_file": router.weights_file, "calibration": router.calibration}
    ours |= {join("names", name): file for name, file in router.names.items()}
    for key, file in ours.items():
        if file is not None and not file.is_file():
            origin = loaded.origins[f"router.{key.partition('.')[0]}"]
            yield f"{origin}: router.{key}: There is no file '{file}'."
    tables = {f"backends[{index}]": options for index, options in enumerate(loaded.config.backends)}
    tables |= {f"accounts[{index}]": account for index, account in enumerate(loaded.config.accounts)}
    for table, options in tables.items():
        for key in ("api_key_file", "credentials_file"):
            file, path = getattr(options, key, None), f"{table}.{key}"
            if not isinstance(file, Path):
                continue
            try:
                if key == "api_key_file":
                    KeyFile(file, time.monotonic).news()
                else:
                    from backends.vertex import read

                    read(file)
            except KeyFileUnusable as error:
                yield f"{loaded.origins[path]}: {path}: The file '{file}' cannot be used: {error}."
            except EngineUnavailable as error:
                yield f"{loaded.origins[path]}: {path}: The file '{file}' cannot be used. {error}"


def _load(config: Path | None) -> "Loaded":
    from proxy.config_load import load

    return load(config, os.environ, Path.cwd())


def _json(value: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
