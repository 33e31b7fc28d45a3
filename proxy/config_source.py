"""Where configuration comes from: finds and parses the file, replaces ${NAME}, picks out STREAMLANE_ variables."""

import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from proxy.config import settings, variable
from proxy.config_error import ConfigError

FILE_NAME = "streamlane.toml"
FILE_VARIABLE = "STREAMLANE_CONFIG"
CLIENT_VARIABLES = ("STREAMLANE_API_KEY", "STREAMLANE_BASE_URL")  # where to ask; a gateway has no use for them

_PREFIX = "STREAMLANE_"
_TESTS = "STREAMLANE_TEST_"
_REFERENCE = re.compile(r"\$(?:\$|\{([^}]*)\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# Kubernetes sets STREAMLANE_SERVICE_HOST, STREAMLANE_PORT=tcp://… and so on for a Service that is named streamlane.
_SERVICE_NAME = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_\d+_(TCP|UDP|SCTP)(_|$)")
_SERVICE_VALUE = re.compile(r"(tcp|udp|sctp)://")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


def find(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The file to read: `path`, else $STREAMLANE_CONFIG, else ./streamlane.toml, else None. A named file must exist."""
    named = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if named is None:
        file = cwd / FILE_NAME
        return file if file.is_file() else None
    file = cwd / named.expanduser()
    if not file.exists():
        by = "" if path else f" (named by {FILE_VARIABLE})"
        raise ConfigError([f"{named}: no such file{by}. Write one with: streamlane config init {named}"])
    return file


def parse(file: Path, label: str) -> dict[str, Any]:
    """The tables of `file`. Raises ConfigError, which calls it `label`."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # -sig: Windows editors like to add a mark
    except OSError as error:
        raise ConfigError([f"{label}: cannot be read: {error.strerror or error}."]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{label}: not UTF-8 at byte {error.start}. Save it as UTF-8."]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{label}: not valid TOML: {error}"]) from None


def join(path: str, key: str | int) -> str:
    """`path` and one step further: a key, quoted where TOML would, or an index."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    key = key if _BARE.fullmatch(key) else quoted(key)
    return f"{path}.{key}" if path else key


def quoted(text: str) -> str:
    """`text` as a basic string of TOML, which is JSON's but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def without_user_info(text: str) -> str:
    """`text` with the name and password in each URL masked."""
    return _USER_INFO.sub("****", text)


class References:
    """Replaces ${NAME} in strings, and $$ by $.

    `used` says which path held which names; `problems` are pairs of a path and what is wrong there.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.used: dict[str, list[str]] = {}
        self.problems: list[tuple[str, str]] = []

    def expand(self, value: Any, path: str = "") -> Any:
        """`value` with every string inside it replaced."""
        match value:
            case str():
                return _REFERENCE.sub(lambda found: self._replace(found, path), value)
            case list():
                return [self.expand(item, join(path, index)) for index, item in enumerate(value)]
            case dict():
                return {key: self.expand(item, join(path, key)) for key, item in value.items()}
        return value

    def names(self) -> set[str]:
        """Every variable that some string names."""
        return {name for names in self.used.values() for name in names}

    def _replace(self, found: re.Match[str], path: str) -> str:
        whole, name = found[0], found[1]
        if whole == "$$":
            return "$"
        if not whole.endswith("}") or not _NAME.fullmatch(name):
            self.problems.append((path, 'expected ${NAME} after "$". A dollar sign itself is written $$.'))
            return ""
        self.used.setdefault(path, []).append(name)
        if name not in self._environ:
            self.problems.append((path, f"the environment variable {name} is not set. Set it, or remove ${{{name}}}."))
        return self._environ.get(name, "")


def overrides(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What the environment sets: path → (variable, text). An empty variable counts as not set."""
    return {
        path: (name, text)
        for path in settings()
        if (text := environ.get(name := variable(path))) and not _is_service(name, text)
    }


def unknown_variables(environ: Mapping[str, str], referenced: Collection[str]) -> Iterator[str]:
    """One problem for each STREAMLANE_ variable that looks like one of ours and is none."""
    known = [variable(path) for path in settings()]
    others = {FILE_VARIABLE, *CLIENT_VARIABLES}
    tables = {f"{_PREFIX}{path.partition('.')[0].upper()}_" for path in settings() if "." in path}
    for name, text in sorted(environ.items()):
        ours = name.startswith(_PREFIX) and name not in known and name not in others and not name.startswith(_TESTS)
        if not ours or name in referenced or _is_service(name, text):
            continue
        start = next((table for table in tables if name.startswith(table)), _PREFIX)
        end = name.removeprefix(start)
        ends = [other.removeprefix(start) for other in known if other.startswith(start)]
        near = [other for other in ends if other.endswith(f"_{end}")] or get_close_matches(end, ends, n=1)
        if near:
            yield f"{name}: unknown variable. Did you mean {start}{near[0]}?"
        elif start in tables:
            yield f"{name}: unknown variable. Known here: {', '.join(start + other for other in ends)}."


def _is_service(name: str, text: str) -> bool:
    return bool(_SERVICE_NAME.search(name) or _SERVICE_VALUE.match(text))
