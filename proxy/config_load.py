"""Reads the configuration: file, environment and flags become one validated Config, or a list of all problems."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import fields

from backends import registry
from backends.presets import presets
from proxy import config_accounts, config_check, config_router_read, config_source
from proxy.config import Abilities, Alias, BackendOptions, Config
from proxy.config_check import nearest
from proxy.config_error import ConfigError
from proxy.config_prices import Pricing
from proxy.config_read import Reader, toml_type
from proxy.config_router_check import choice
from proxy.config_source import References, join
from proxy.config_table import Table
from proxy.data_dir import default_data_dir

T = TypeVar("T", bound=Table)
NO_FLAGS: Mapping[str, tuple[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Loaded:
    """`path` is the file that was read, None without one.

    `origins` says where each value came from, by its path ("server.port", "backends[0].name"): the file, with the
    environment variables it refers to; a STREAMLANE_ variable; a flag; or "default".
    """

    config: Config
    path: Path | None
    origins: Mapping[str, str]


def load(
    path: Path | None, environ: Mapping[str, str], cwd: Path, flags: Mapping[str, tuple[str, str]] = NO_FLAGS
) -> Loaded:
    """The configuration in effect. `flags` are settings of the command line: path → (flag, text).

    The file is `path`, else $STREAMLANE_CONFIG, else ./streamlane.toml, else none. A flag goes before the environment,
    and that before the file. Raises ConfigError with everything that is wrong.
    """
    file = config_source.find(path, environ, cwd)
    label = str(file.relative_to(cwd) if file.is_relative_to(cwd) else file) if file else ""
    references = References(environ)
    raw = references.expand(config_source.parse(file, label)) if file else {}
    reader = Reader(
        label,
        folder=file.parent if file else cwd,
        cwd=cwd,
        environ=environ,
        overrides={**config_source.overrides(environ), **flags},
        references=references,
    )
    config = _config(reader, raw, default_data_dir(environ))
    problems = [
        *(f"{label}: {path}: {text}" for path, text in references.problems),
        # Whatever else is wrong at such a value, or with the table around it, follows from that.
        *(
            text
            for at, text in reader.problems
            if not any(f"{path}.".startswith(f"{at}.") for path, _ in references.problems)
        ),
        *config_source.unknown_variables(environ, references.names()),
    ]
    if problems or config is None:
        raise ConfigError(problems)
    return Loaded(config, file, reader.origins)


def _config(reader: Reader, raw: dict[str, Any], default: Path) -> Config | None:
    """The whole file. None when there is any problem. `default` is the data_dir unless set."""
    keys = {field.name: field for field in fields(Config)}
    reader.unknown_keys(raw, list(keys), "")
    data_dir = reader.key(keys["data_dir"], raw, "", default)
    tables: dict[str, Any] = {
        name: reader.table(field.type, raw.get(name, {}), name)
        for name, field in keys.items()
        if isinstance(field.type, type) and issubclass(field.type, Table) and name != "router"
    }
    server, ops = tables["server"], tables["ops"]
    if server:
        reader.report(config_check.server(server))
    if tables["transport"]:
        reader.report(config_check.transport(tables["transport"]))
    if server and ops:
        reader.report(config_check.listeners(server, ops))
    backends = _backends(reader, raw.get("backends", []))
    lists = {key: raw.get(key, []) for key in ("backends", "accounts")}
    reader.report(
        config_check.names({path: name for key, tables in lists.items() for path, name in _names(key, tables)})
    )
    ours = list(dict.fromkeys(name for _, name in _names("backends", lists["backends"])))
    accounts, catalog = config_accounts.read(reader, lists["accounts"], raw.get("catalog", {}), ours)
    names = [*ours, *(name for _, name in _names("accounts", lists["accounts"]))]
    if tables["free"]:
        reader.report(config_accounts.free(tables["free"], ours))
    if tables["load"]:
        reader.report(config_check.loaded(list(tables["load"].backends), names))
    if tables["privacy"]:
        reader.report(config_check.own_backends(tables["privacy"].own_backends or (), names))
    models = _models(reader, raw.get("models", {}), names)
    capabilities = _named(reader, raw.get("capabilities", {}), "capabilities", '"BACKEND/MODEL"', Abilities)
    reader.report(config_check.addressed("capabilities", list(capabilities), names))
    prices = _named(reader, raw.get("prices", {}), "prices", '"BACKEND/MODEL"', Pricing)
    reader.report(config_check.addressed("prices", list(prices), names))
    tables["router"] = config_router_read.read(reader, raw.get("router", {}), names, list(models), bool(accounts))
    if reader.problems or not all(tables.values()):
        return None
    return Config(
        data_dir=data_dir,
        **tables,
        backends=backends,
        accounts=accounts,
        models=models,
        capabilities=capabilities,
        prices=prices,
        catalog=catalog,
    )


def _backends(reader: Reader, raw: object) -> tuple[BackendOptions, ...]:
    if not isinstance(raw, list):
        reader.problem("backends", f"expected tables [[backends]], with two brackets, got {toml_type(raw)}")
        return ()
    found = [_backend(reader, table, join("backends", index)) for index, table in enumerate(raw)]
    return tuple(options for options in found if options)


def _backend(reader: Reader, raw: object, path: str) -> Any:
    """The options of one backend, a Struct of its kind's. None when there is a problem."""
    if not isinstance(raw, dict):
        reader.problem(path, f"expected a table, got {toml_type(raw)}")
        return None
    kind, at = raw.get("kind"), join(path, "kind")
    if kind is None and (typo := next((key for key in raw if key == "type" or nearest(key, ["kind"])), None)):
        reader.problem(
            join(path, typo), f'unknown key. Did you mean "kind"? Known kinds: {", ".join(registry.kinds())}.'
        )
        return None
    if not isinstance(kind, str):
        wrong = "missing" if kind is None else f"expected text, got {toml_type(kind)}"
        reader.problem(at, f"{wrong}. Known kinds: {', '.join(registry.kinds())}.")
        return None
    try:
        options = registry.load(kind).Options
    except KeyError:
        known = registry.kinds()
        reader.problem(at, f'unknown kind "{kind}".{_near_kind(kind, known)} Known kinds: {", ".join(known)}.')
        return None
    except ImportError as error:
        reader.problem(at, f'the kind "{kind}" cannot be loaded: {error}.')
        return None
    reader.origins[at] = reader.origin(at)
    rest = {key: value for key, value in raw.items() if key != "kind"}
    if isinstance(model := rest.get("model"), str) and _looks_like_path(model):
        rest["model"] = str(reader.path(model))
    return reader.table(options, rest, path, extra=["kind"])


def _near_kind(kind: str, known: list[str]) -> str:
    """What may have been meant: a preset, the nearest kind, or one that `kind` is the beginning of."""
    if kind in presets():
        return f' Write kind = "openai_compatible", preset = "{kind}".'
    longer = next((each for each in known if kind and each.startswith(kind)), "")
    return nearest(kind, known) or (longer and f' Did you mean "{longer}"?')


def _models(reader: Reader, raw: object, names: list[str]) -> dict[str, Alias]:
    """The aliases. `names` are the backends'."""
    found = _named(reader, raw, "models", "NAME", Alias)
    targets = {name: _targets(table) for name, table in raw.items()} if isinstance(raw, dict) else {}
    reader.report(config_check.aliases(targets, names))
    for name, alias in found.items():
        reader.report(choice(join("models", name), alias.strategy, alias.weights, len(alias.targets), "targets"))
    return found


def _named(reader: Reader, raw: object, path: str, name: str, cls: type[T]) -> dict[str, T]:
    """Tables that the user names, without those that have a problem."""
    if not isinstance(raw, dict):
        reader.problem(path, f"expected tables [{path}.{name}], got {toml_type(raw)}")
        return {}
    found = {each: reader.table(cls, table, join(path, each)) for each, table in raw.items()}
    return {each: table for each, table in found.items() if table is not None}


def _targets(alias: object) -> dict[int, str]:
    """The targets of one [models.NAME] by index, also of one that has other problems."""
    targets = alias.get("targets") if isinstance(alias, dict) else None
    return {
        index: target
        for index, target in enumerate(targets if isinstance(targets, list) else [])
        if isinstance(target, str)
    }


def _names(key: str, tables: object) -> Iterator[tuple[str, str]]:
    """The names in [[backends]] or [[accounts]] by path, also of those that have other problems."""
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        if isinstance(table, dict) and isinstance(name := table.get("name"), str):
            yield join(key, index), name


def _looks_like_path(model: str) -> bool:
    """Whether a `model` is a file rather than a pulled model's name, which may hold a slash too."""
    return model.startswith((".", "~", "/")) or model.endswith(".gguf")
