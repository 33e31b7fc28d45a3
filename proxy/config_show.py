"""Shows a configuration in effect: each value with its origin, secrets masked. Pure."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from proxy.config_load import Loaded
from proxy.config_source import join, quoted, without_user_info

LONG_SECRET = 24  # characters; of a shorter secret nothing is shown

_SECRET = re.compile(r"(^|[_-])(keys?|token|secret|password|authorization)$", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_WIDEST = 48  # characters of `key = value` before origins no longer line up


def as_data(loaded: Loaded) -> dict[str, Any]:
    """File, values and origins as JSON-ready data."""
    values = msgspec.to_builtins(loaded.config, enc_hook=str)
    return {
        "file": str(loaded.path) if loaded.path else None,
        "config": _masked(values, "", "", loaded),
        "origins": dict(loaded.origins),
    }


def as_text(loaded: Loaded) -> str:
    """The same as TOML, with origins as comments. Keys without a value are left out."""
    data = as_data(loaded)
    config = data["config"]
    lists = {key: config.pop(key) for key in ("backends", "accounts")}
    named = {key: config.pop(key) for key in ("models", "capabilities", "prices", "catalog")}
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    lines = [f"# {loaded.path or 'no file: defaults and the environment'}"]
    lines += _table("", "", {key: value for key, value in config.items() if key not in tables}, loaded)
    for key, table in tables.items():
        inner = {name: value for name, value in table.items() if _is_tables(value)}
        flat = {name: value for name, value in table.items() if name not in inner}
        lines += ["", *_table(f"[{key}]", key, flat, loaded)]
        for name, found in inner.items():
            path = join(key, name)
            for index, each in enumerate(found):
                lines += ["", *_table(f"[[{path}]]", join(path, index), _without_empty(each), loaded)]
    for key, listed in lists.items():
        for index, table in enumerate(listed):
            lines += ["", *_table(f"[[{key}]]", join(key, index), table, loaded)]
    for key, found in named.items():
        for name, table in found.items():
            path = join(key, name)
            lines += ["", *_table(f"[{path}]", path, table, loaded)]
    return "\n".join(lines) + "\n"


def mask(secret: str) -> str:
    """Enough of a long secret to tell two apart, nothing of a short one."""
    return f"{secret[:6]}…{secret[-2:]}" if len(secret) >= LONG_SECRET else "****"


def toml_value(value: Any) -> str:
    """`value` as TOML writes it, on one line."""
    match value:
        case bool() | int() | float():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict() if not value:
            return "{}"
        case dict():
            pairs = (f"{join('', key)} = {toml_value(item)}" for key, item in value.items() if item is not None)
            return f"{{ {', '.join(pairs)} }}"
    return quoted(str(value))


def _table(heading: str, path: str, table: dict[str, Any], loaded: Loaded) -> Iterator[str]:
    if heading:
        yield heading
    shown = {key: toml_value(value) for key, value in table.items() if value is not None}
    keys = max(map(len, shown), default=0)
    pairs = [(key, f"{key:<{keys}} = {value}") for key, value in shown.items()]
    width = max((len(pair) for _, pair in pairs if len(pair) <= _WIDEST), default=0)
    for key, pair in pairs:
        yield f"{pair:<{width}}  # {loaded.origins.get(join(path, key), 'default')}"


def _masked(value: Any, key: str, path: str, loaded: Loaded) -> Any:
    """`value` with its secrets masked: by their key's name, or by the name of the variable they come from."""
    match value:
        case dict():
            return {name: _masked(item, name, join(path, name), loaded) for name, item in value.items()}
        case list() | tuple():
            return [_masked(item, key, join(path, index), loaded) for index, item in enumerate(value)]
        case str():
            variables = _REFERENCE.findall(loaded.origins.get(path, ""))
            if any(_SECRET.search(name) for name in (key, *variables)):
                return mask(value) if value else ""
            return without_user_info(value)
    return value


def _is_tables(value: Any) -> bool:
    """Whether it is a list of tables, as rules are."""
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """What is set of a table of many keys, most of which are not."""
    inner = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in inner.items() if value not in (None, [], (), {})}
