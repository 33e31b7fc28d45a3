"""Backend kinds by name. A kind's module is imported when a configuration names it, never before."""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from backends.base import Backend

if TYPE_CHECKING:
    from backends.http import Transport

KINDS = {
    "azure_openai": "backends.azure_openai",
    "anthropic": "backends.anthropic",
    "bedrock": "backends.bedrock",
    "cohere": "backends.cohere",
    "fake": "backends.fake",
    "gemini": "backends.gemini",
    "llama_cpp": "backends.llama_cpp.backend",
    "localai": "backends.localai",
    "ollama": "backends.ollama",
    "openai": "backends.openai",
    "openai_compatible": "backends.openai_compatible",
    "vertex": "backends.vertex",
    "vllm": "backends.vllm",
}
ENTRY_POINTS = "streamlane.backends"  # a plugin's group: name = kind, value = module


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process shares among its backends: one transport, and the folder that holds pulled models."""

    transport: "Transport"
    models_dir: Path


class Kind(Protocol):
    """What a kind's module holds: its options, and how to build a backend from them."""

    Options: type[msgspec.Struct]

    def build(self, options: Any, parts: Parts) -> Backend:
        """A backend that is not started yet."""


def load(kind: str) -> Kind:
    """The module of `kind`. Raises KeyError when there is none."""
    if kind in KINDS:
        return cast(Kind, import_module(KINDS[kind]))
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == kind:
            return cast(Kind, point.load())
    raise KeyError(kind)


def kinds() -> list[str]:
    """Every kind that can be configured, ours and the plugins'."""
    return sorted({*KINDS, *(point.name for point in entry_points(group=ENTRY_POINTS))})
