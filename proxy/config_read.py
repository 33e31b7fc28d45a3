"""Converts one table into one Struct, key by key, so that every problem is found and every value has an origin."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo, fields

from proxy.config import settings
from proxy.config_check import NEW_KEY, Problem, nearest
from proxy.config_source import References, join, quoted, without_user_info
from proxy.data_dir import home
from proxy.type_words import name_of, plain

DEFAULT = "default"

S = TypeVar("S", bound=msgspec.Struct)

_UNSET: Any = object()
_WHERE = re.compile(r" - at `\$(.*)`$")
_HINTS = {"server.api_keys": f". Make one with {NEW_KEY}"}


class Reader:
    """Reads tables of the file called `label`, empty without a file; its relative paths start at `folder`.

    `overrides` are settings from outside: path → (variable or flag, text); their relative paths start at `cwd`.
    `origins` and `problems` grow with each table.
    """

    def __init__(
        self,
        label: str,
        *,
        folder: Path,
        cwd: Path,
        environ: Mapping[str, str],
        overrides: Mapping[str, tuple[str, str]],
        references: References,
    ) -> None:
        self.origins: dict[str, str] = {}
        self.problems: list[Problem] = []  # the path, and a whole sentence with its place
        self._label, self._folder, self._cwd, self._environ = label, folder, cwd, environ
        self._overrides, self._references = overrides, references

    def table(self, cls: type[S], raw: object, path: str, extra: Iterable[str] = ()) -> S | None:
        """One table. `extra` are keys that are known but not the Struct's. None when there is a problem."""
        if not isinstance(raw, dict):
            self.problem(path, f"expected a table [{path}], got {toml_type(raw)}")
            return None
        before = len(self.problems)
        keys = {field.encode_name: field for field in fields(cls)}
        self.unknown_keys(raw, [*keys, *extra], path)
        values = {field.name: self.key(field, raw, path) for field in keys.values()}
        if len(self.problems) > before:
            return None
        try:
            return cls(**{name: value for name, value in values.items() if value is not _UNSET})
        except ValueError as error:  # what a Struct checks in __post_init__
            name, key = raw.get("name"), getattr(error, "key", None)
            shown = f"{path} {quoted(name)}" if isinstance(name, str) else path
            self.problem(path, str(error), join(shown, key) if key else shown)
            return None

    def key(self, field: FieldInfo, raw: dict[str, Any], parent: str, default: Any = _UNSET) -> Any:
        """The value of one key: from outside, else from the file, else `default`. _UNSET also marks a problem."""
        path = join(parent, field.encode_name)
        if path in self._overrides:
            self.origins[path], text = self._overrides[path]
            is_list = get_origin(_bare(field.type)) is tuple
            value = [item.strip() for item in text.split(",") if item.strip()] if is_list else text
            return self._convert(value, field.type, path, strict=False, folder=self._cwd)
        if field.encode_name in raw:
            self.origins[path] = self.origin(path)
            return self._convert(raw[field.encode_name], field.type, path, strict=True, folder=self._folder)
        self.origins[path] = DEFAULT
        if field.required and default is _UNSET:
            self.problem(path, "missing. Add it.")
        return default

    def unknown_keys(self, raw: Iterable[str], known: list[str], path: str) -> None:
        """One problem for each key of `raw` that is not `known`."""
        for key in raw:
            if key not in known:
                elsewhere = [other for other in settings() if other.rpartition(".")[2] == key]
                listed = f' Did you mean "{elsewhere[0]}"?' if elsewhere else f" Known keys: {', '.join(known)}."
                self.problem(join(path, key), f"unknown key.{nearest(key, known) or listed}")

    def origin(self, path: str) -> str:
        """The file, and the variables that the value at `path` refers to."""
        inside = (path, f"{path}[", f"{path}.")
        names = [
            f"${{{name}}}"
            for used, names in self._references.used.items()
            if used == path or used.startswith(inside[1:])
            for name in names
        ]
        return f"{self._label} ({', '.join(names)})" if names else self._label

    def path(self, text: str) -> Path:
        """A path of the file as an absolute one."""
        return self._path(text, self._folder)

    def report(self, problems: Iterable[Problem]) -> None:
        """Take over what a check has found."""
        for path, text in problems:
            self.problem(path, text)

    def problem(self, path: str, text: str, shown: str | None = None) -> None:
        """Note one problem, with the place where the user can mend it: `shown`, where that says more than `path`."""
        outside = self._overrides.get(path.partition("[")[0])
        place = outside[0] if outside else ": ".join(filter(None, (self._label, shown or path)))
        self.problems.append((path, f"{place}: {without_user_info(text)}"))

    def _convert(self, value: Any, type_: Any, path: str, *, strict: bool, folder: Path) -> Any:
        def read_path(wanted: type, text: Any) -> Path:
            if wanted is not Path:
                raise NotImplementedError(f"a key of the type {wanted} cannot be configured")
            if not isinstance(text, str) or not text:
                raise ValueError("expected a path in quotes")
            return self._path(text, folder)

        try:
            return msgspec.convert(value, type_, strict=strict, dec_hook=read_path)
        except msgspec.ValidationError as error:
            text = str(error)
            where = _WHERE.search(text)
            step = where[1].replace("[...]", "") if where else ""
            self.problem(path + step, _sentence(_WHERE.sub("", text), value, type_) + _HINTS.get(path, ""))
            return _UNSET

    def _path(self, text: str, folder: Path) -> Path:
        if text == "~" or text.startswith("~/"):
            return home(self._environ) / text[2:]
        return folder / text


def toml_type(value: object) -> str:
    """What TOML calls the type of `value`."""
    return name_of(value, "a table")


def _bare(type_: Any) -> Any:
    """`type_` without its Annotated wrapping."""
    return get_args(type_)[0] if get_origin(type_) is Annotated else type_


def _sentence(text: str, value: Any, type_: Any) -> str:
    """msgspec's message in our words: the choices that there are, else plain ones."""
    bare = _bare(type_)
    if get_origin(bare) is tuple and isinstance(value, list):  # what is wrong is one of its items
        bare = get_args(bare)[0]
        value = next((each for each in value if each not in get_args(bare)), value)
    if get_origin(bare) is Literal and isinstance(value, str):
        choices = get_args(bare)
        near = nearest(value, choices)
        listed = ", ".join(f'"{choice}"' for choice in choices)
        return f'expected one of {listed}, got "{value}"{"." if near else ""}{near}'
    return plain(text, "a table").replace("`", "")
