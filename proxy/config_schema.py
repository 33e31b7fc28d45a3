"""The configuration file as one JSON schema: for editors, and for what is written about it."""

from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from backends import registry
from proxy.config import Config

_NAME = "A word of its own. Its models are addressed as NAME/MODEL."


def schema(kinds: Sequence[str]) -> dict[str, Any]:
    """The whole file, with backends of these kinds."""
    options = [registry.load(kind).Options for kind in kinds]
    (_, *backends), definitions = msgspec.json.schema_components([Config, *options], schema_hook=_hook)
    root = definitions.pop("Config")
    root["required"].remove("data_dir")  # only the file may leave it out: it is filled in before the types are checked
    root["properties"]["backends"]["items"] = {"anyOf": backends}
    root["title"] = "streamlane.toml"
    for definition in definitions.values():
        definition["description"] = cleandoc(definition["description"])
        definition["properties"].get("name", {}).setdefault("description", _NAME)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _hook(type_: type) -> dict[str, Any]:
    return {"type": "string" if type_ is Path else "object"}
