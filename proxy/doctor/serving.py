"""What could be served: each backend is asked, each model file looked at, each alias followed."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from backends.base import Model
from backends.errors import EngineUnavailable
from backends.http_options import HttpOptions
from backends.llama_cpp import catalog, gguf_file
from backends.llama_cpp.backend import Options as InProcess
from backends.llama_cpp.engines import ENGINES, NO_ENGINE, missing
from backends.registry import Parts
from proxy.config import Alias, BackendOptions, Config
from proxy.config_check import is_loopback
from proxy.configured import facts as facts_of
from proxy.doctor.asking import ask
from proxy.doctor.finding import Finding, State, failed
from proxy.local_servers import Server, looked_for
from proxy.provider_keys import ProviderKey


def pulled(models_dir: Path) -> list[Finding]:
    """The pulled models, and those whose file is no longer good."""
    good: list[str] = []
    bad: list[Finding] = []
    for name, file in catalog.pulled(models_dir).items():
        try:
            gguf_file.read_header(file)
        except EngineUnavailable as error:
            bad.append(failed("Pulled models", f"{name}: {error}"))
        else:
            good.append(name)
    return [Finding("Pulled models", "ok", ", ".join(good) or f"None in {models_dir}."), *bad]


def nothing(models_dir: Path, servers: Sequence[Server], keys: Sequence[ProviderKey] = ()) -> list[Finding]:
    """What is left to say when no backend is configured: whether something would be served all the same."""
    ready = [str(server) for server in servers if not server.locked]
    if catalog.pulled(models_dir):
        ready.append("the model that was pulled last")
    ready += [key.variable for key in keys]
    if ready:
        return [Finding("Backends", "ok", "None is configured. What is found is served.")]
    step = (
        f"Pull a model (streamlane models pull smollm2), start a server ({looked_for()}), set a provider's key, "
        "or name yours in a file (streamlane config init)."
    )
    return [
        Finding("Backends", "fix", f"There is nothing to serve: no backend, no model in {models_dir}, no server.", step)
    ]


def on_this_machine(servers: Sequence[Server], config: Config | None) -> list[Finding]:
    """The servers that were found, with a word about those that nobody would ask."""
    named = {port for options in (config.backends if config else ()) if (port := local_port(options)) is not None}
    findings: list[Finding] = []
    for server in servers:
        port = urlsplit(server.origin).port
        if server.locked:
            findings.append(Finding("Local server", "note", f"{server}."))
        elif config and (config.backends or config.accounts) and port not in named:
            step = "To use it, name it as one of the [[backends]]."
            findings.append(Finding("Local server", "note", f"{server}; no backend of the configuration.", step))
        else:
            findings.append(Finding("Local server", "ok", f"{server}."))
    return findings


def local_port(options: BackendOptions) -> int | None:
    """The port of a backend on this machine."""
    parts = urlsplit(options.base_url) if isinstance(options, HttpOptions) else None
    return parts.port if parts and is_loopback(parts.hostname or "") else None


async def backends(config: Config, parts: Parts) -> list[Finding]:
    """Every backend, all asked at once, then the aliases that lead to them."""
    facts = {name: facts_of(name, each) for name, each in config.capabilities.items()}
    asked = await asyncio.gather(*(one(options, parts, facts) for options in config.backends))
    models = {options.name: found for options, (_, found) in zip(config.backends, asked, strict=True)}
    return [*(finding for finding, _ in asked), *aliases(config.models, models)]


async def providers(keys: Sequence[ProviderKey], environ: Mapping[str, str], parts: Parts) -> list[Finding]:
    """What each key of the environment is good for. Nobody said that it must be good for anything: none needs a fix."""
    asked = await asyncio.gather(*(ask(key.options(environ), parts, {}) for key in keys))
    return [
        replace(each, about=f"{key.variable}, for {key.name}/MODEL", state="ok" if each.state == "ok" else "note")
        for key, (each, _) in zip(keys, asked, strict=True)
    ]


async def one(
    options: BackendOptions, parts: Parts, facts: Mapping[str, Model]
) -> tuple[Finding, frozenset[str] | None]:
    """What is to be said of one backend, and the models that it has; None when it could not be asked."""
    if isinstance(options, InProcess):
        return in_process(f"Backend {options.name}", options, parts.models_dir)
    finding, models = await ask(options, parts, facts)
    return finding, None if models is None else frozenset(model.id for model in models)


def in_process(about: str, options: InProcess, models_dir: Path) -> tuple[Finding, frozenset[str] | None]:
    """The model file and the engine, without loading the one into the other."""
    try:
        name, file = catalog.find(models_dir, options.model)
        gguf_file.check(file, gguf_file.read_header(file))
    except EngineUnavailable as error:
        return failed(about, str(error)), None
    wanted = ENGINES if options.engine == "auto" else (options.engine,)
    if not any(find_spec(ENGINES[engine].package) for engine in wanted):
        return failed(about, NO_ENGINE if options.engine == "auto" else missing(options.engine)), None
    return Finding(about, "ok", f"Can load {name} ({file})."), frozenset([name])


def aliases(aliases: Mapping[str, Alias], models: Mapping[str, frozenset[str] | None]) -> list[Finding]:
    """Aliases that lead to a model which its backend does not have."""
    findings: list[Finding] = []
    for name, alias in aliases.items():
        pairs = [target.partition("/")[::2] for target in alias.targets]
        gone = [f"{backend}/{model}" for backend, model in pairs if model not in (models.get(backend) or {model})]
        if gone:
            state: State = "fix" if len(gone) == len(pairs) else "note"
            text = f"No such model: {', '.join(gone)}."
            findings.append(Finding(f"Alias {name}", state, text, "Correct its targets, or load the model there."))
    return findings
