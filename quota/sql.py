"""The named queries of a .sql file, by name."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@cache
def queries(package: str) -> Mapping[str, str]:
    """Those of the package's queries.sql: each begins with a line `-- name: NAME` and ends with the next one."""
    text = files(package).joinpath("queries.sql").read_text(encoding="utf-8")
    named = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return MappingProxyType(dict(zip(named[::2], map(str.strip, named[1::2]), strict=True)))
