"""The whole examination, in the order in which a person would ask."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from backends.registry import Parts
from proxy import account_doubts, accounts, local_servers, outgoing, provider_keys
from proxy.catalog import merged
from proxy.config import Config
from proxy.config_error import ConfigError
from proxy.config_load import NO_FLAGS, Loaded, load
from proxy.doctor import machine, serving
from proxy.doctor.finding import Finding, failed
from proxy.provider_keys import ProviderKey

CONNECT = 5.0  # seconds


async def examine(
    path: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    ports: Iterable[int] = local_servers.PORTS,
    flags: Mapping[str, tuple[str, str]] = NO_FLAGS,
) -> list[Finding]:
    """What is found and what is missing. The configuration is found as `load` does it.

    Local servers are looked for on `ports`. A wrong configuration is a finding; what does not need one is looked at
    all the same.
    """
    servers = await local_servers.find(ports)
    findings = machine.programs()
    try:
        loaded = load(path, environ, cwd, flags)
    except ConfigError as error:
        findings += [failed("Configuration", problem) for problem in error.problems]
        found = serving.on_this_machine(servers, None)
        return [*findings, machine.engines(), *found, machine.descriptors()]
    config = loaded.config
    file = str(loaded.path) if loaded.path else "No file: the defaults, and the environment."
    findings.append(Finding("Configuration", "ok", file))
    findings += [machine.data_dir(config.data_dir), *machine.ledger(config.data_dir)]
    findings += await machine.ports(config.server, config.ops)
    findings += [machine.engines(), *serving.pulled(config.data_dir / "models")]
    wanted = config.discovery.environment
    named = config.backends or config.accounts
    keys = provider_keys.find(environ) if wanted and not named else []
    providers = merged(config.catalog)
    built = accounts.build(config, providers)
    doubts = account_doubts.doubts(config.accounts, providers, built, config.backends)
    findings += [Finding("Accounts", "note", doubt) for doubt in doubts]
    findings += await asked(replace(config, backends=(*config.backends, *built.backends)), keys, environ)
    if not named:
        findings += serving.nothing(config.data_dir / "models", servers, keys)
    if wanted:
        findings += unused(loaded, environ)
    return [*findings, *serving.on_this_machine(servers, config), machine.descriptors()]


def unused(loaded: Loaded, environ: Mapping[str, str]) -> list[Finding]:
    """A note for each key of a provider in the environment that no backend is sent."""
    reasons: Iterable[tuple[str, str]] = provider_keys.left_out(environ)
    if loaded.config.backends or loaded.config.accounts:
        why = "the configuration names others, and nothing else is asked"
        named = " ".join(loaded.origins.values())
        found = (key.variable for key in provider_keys.find(environ))
        reasons = [(variable, why) for variable in found if f"${{{variable}}}" not in named]
    return [Finding(variable, "note", f"Not used: {why}.") for variable, why in reasons]


async def asked(config: Config, keys: Sequence[ProviderKey], environ: Mapping[str, str]) -> list[Finding]:
    """The backends of the configuration, and those that `keys` make."""
    try:
        transport = outgoing.transport(config.transport, CONNECT)
    except ValueError as error:
        return [failed("Transport", str(error))]
    try:
        parts = Parts(transport=transport, models_dir=config.data_dir / "models")
        return [*await serving.backends(config, parts), *await serving.providers(keys, environ, parts)]
    finally:
        transport.close()
