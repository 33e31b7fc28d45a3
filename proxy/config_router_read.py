"""Reads [router], table by table, and checks that its parts fit together."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from proxy.config_accounts import known
from proxy.config_read import Reader, toml_type
from proxy.config_router import Profile, Router, Rule, Share, Step
from proxy.config_router_check import Names, problems
from proxy.config_source import join

PATH = "router"
TABLES = ("ladder", "profiles", "rules")  # read one by one, so that each mistake is found


def read(reader: Reader, raw: object, backends: Sequence[str], aliases: Sequence[str], accounts: bool) -> Router | None:
    """The table, or None when there is a problem. `backends` are the names of backends and accounts; `accounts` says
    whether there are any of these.
    """
    if not isinstance(raw, dict):
        return reader.table(Router, raw, PATH)
    before = len(reader.problems)
    rest = {key: value for key, value in raw.items() if key not in TABLES}
    router = reader.table(Router, known(reader, rest, Router, PATH), PATH, extra=TABLES)
    ladder = _listed(reader, raw.get("ladder", []), Step, f"{PATH}.ladder")
    rules = _listed(reader, raw.get("rules", []), Rule, f"{PATH}.rules")
    profiles = _profiles(reader, raw.get("profiles", {}))
    if router is None or len(reader.problems) > before:
        return None
    for key in TABLES:
        del reader.origins[f"{PATH}.{key}"]
        if key in raw:
            reader.origins[f"{PATH}.{key}"] = reader.origin(f"{PATH}.{key}")
    router = replace(router, ladder=tuple(ladder), rules=tuple(rules), profiles=profiles)
    reader.report(problems(router, Names(tuple(backends), tuple(aliases), accounts)))
    return router


def _listed(reader: Reader, raw: object, cls: Any, path: str) -> list[Any]:
    """The tables of a list, without those that have a problem."""
    if not isinstance(raw, list):
        reader.problem(path, f"expected tables [[{path}]], with two brackets, got {toml_type(raw)}")
        return []
    found = []
    for index, table in enumerate(raw):
        at = join(path, index)
        found.append(reader.table(cls, known(reader, table, cls, at), at))
    return [each for each in found if each is not None]


def _profiles(reader: Reader, raw: object) -> dict[str, Share | Profile]:
    """Each a number or a table."""
    path = f"{PATH}.profiles"
    if not isinstance(raw, dict):
        reader.problem(path, f"expected tables [{path}.NAME], or NAME = NUMBER, got {toml_type(raw)}")
        return {}
    found: dict[str, Share | Profile] = {}
    for name, value in raw.items():
        at = join(path, name)
        if isinstance(value, dict):
            rest = {key: each for key, each in value.items() if key != "ladder"}
            profile = reader.table(Profile, known(reader, rest, Profile, at), at, extra=["ladder"])
            steps = _listed(reader, value.get("ladder", []), Step, f"{at}.ladder")
            if profile is not None:
                found[name] = replace(profile, ladder=tuple(steps))
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            got = value if isinstance(value, int | float) and not isinstance(value, bool) else toml_type(value)
            reader.problem(at, f"expected a strong share, a number from 0 to 1, or a table, got {got}")
        else:
            reader.origins[at] = reader.origin(at)
            found[name] = float(value)
    return found
