"""Servers and clouds that speak chat completions, by name: one row each in data/presets.json, read when first asked."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias

from msgspec import Struct, convert

from backends.capabilities import WORDS, Capability, needs
from backends.errors import UnsupportedFeature
from backends.json import loads_own
from backends.request import EmbeddingRequest, Request

Quirk: TypeAlias = Literal["comments", "error_in_200", "usage_twice", "usage_unasked"]
"""What is special about a stream, and taken from every server, whatever its name is: comments while it waits; an error
in an answer of 200; the usage in the last chunk and in `x_groq` there, counted once; the usage without being asked."""


class Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different about one of them. `key_env` names the environment variables in which its key is usual.

    `base_url` may hold {account}, which `account_env` gives. `refuses` are fields of a request that it answers with an
    error, and that are left out; `renames` those that have another name there; `lacks` what it cannot do at all. With
    `wants_thoughts`, what its model thought before a call must come back with it, as `reasoning_content`.
    `source` is where that was read, `date` when.
    """

    name: str
    title: str
    base_url: str
    key_env: tuple[str, ...]
    account_env: str | None = None
    refuses: tuple[str, ...] = ()
    renames: Mapping[str, str] = {}
    lacks: tuple[Capability, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    lists_models: bool = True
    wants_thoughts: bool = False
    source: str
    date: str

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, where no key is usual."""
        return not self.key_env


@cache
def presets() -> Mapping[str, Preset]:
    """All of them, by name."""
    rows = convert(loads_own(files("backends").joinpath("data/presets.json").read_bytes()), tuple[Preset, ...])
    return {row.name: row for row in rows}


def fitted(body: Mapping[str, Any], request: Request | EmbeddingRequest, preset: Preset) -> dict[str, Any]:
    """The body of a request as this server takes it. Raises UnsupportedFeature for what it lacks."""
    if missing := next((name for name in preset.lacks if name in needs(request)), None):
        raise UnsupportedFeature(*WORDS[missing])
    return {preset.renames.get(name, name): value for name, value in body.items() if name not in preset.refuses}
