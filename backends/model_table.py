"""What is published about well-known models: one row each in data/models.json, read when it is first asked for.

A row holds for the servers of its provider alone: others may serve anything under the same name. Rows of no host are
open models, by the names that they have everywhere, with what is true of the weights and not of one server.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from msgspec import Struct, convert

from backends.base import Model
from backends.capabilities import CAPABILITIES, UNKNOWN, Capabilities
from backends.json import loads_own


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model. Null is unknown, never a guess. `source` is where it was read, `date` when."""

    ids: tuple[str, ...]
    context: int | None
    max_output: int | None
    tools: bool | None
    images: bool | None
    audio: bool | None
    files: bool | None
    json_schema: bool | None
    reasoning: bool | None
    embeddings: bool | None
    source: str
    date: str

    def model(self, name: str) -> Model:
        """As a backend would have listed it."""
        able = Capabilities(**{each: getattr(self, each, None) for each in CAPABILITIES})
        return Model(name, self.context, able, self.max_output)


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose models they are, and the hosts of its API; those below one count too. No host: open models."""

    provider: str
    hosts: tuple[str, ...]
    models: tuple[Row, ...]


@cache
def table() -> tuple[Provider, ...]:
    """The whole of it."""
    return convert(loads_own(files("backends").joinpath("data/models.json").read_bytes()), tuple[Provider, ...])


@cache
def rows() -> Mapping[tuple[str, str], Row]:
    """By host ("" for open models) and id."""
    found: dict[tuple[str, str], Row] = {}
    for provider in table():
        for host in provider.hosts or ("",):
            found |= {(host, name): row for row in provider.models for name in row.ids}
    return found


def published(url: str | None, model: str) -> Model:
    """What is known of `model` at a server's `url`, or of the open model of that name; a Model of nothing else."""
    host = (urlsplit(url).hostname or "") if url else ""
    while host:
        if row := rows().get((host, model)):
            return row.model(model)
        host = host.partition(".")[2]  # eu.api.openai.com is below api.openai.com
    open_model = rows().get(("", model))
    return open_model.model(model) if open_model else Model(model, None, UNKNOWN)
