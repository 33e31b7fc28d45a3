"""Finds the keys of providers in the environment, each with the backend that it makes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

from backends import registry
from backends.http_options import looks_like_a_placeholder, printable
from backends.presets import presets
from proxy.config import MIN_KEY_LENGTH, BackendOptions

OURS = "sk-sl-"  # our own keys are of no use to a provider, and must not reach one
OWN: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    # By kind: where its key is usual; and what says that the key is meant for another server than the provider's.
    {
        "openai": (("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
        "anthropic": (("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",)),
        "gemini": (("GEMINI_API_KEY", "GOOGLE_API_KEY"), ("GOOGLE_GEMINI_BASE_URL",)),
        "cohere": (("CO_API_KEY", "COHERE_API_KEY"), ("CO_API_URL",)),
    }
)
AZURE = ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT")


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """The key in `variable`, and the backend `name` of that kind. `settings` are the table's other keys.

    `variables` are the settings that are in the environment too, by their key.
    """

    name: str
    kind: str
    variable: str
    key: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def options(self, environ: Mapping[str, str]) -> BackendOptions:
        """As a [[backends]] table would say it. Raises ValueError where the other variables make no sense."""
        found = {key: environ[variable] for key, variable in self.variables.items()}
        options = registry.load(self.kind).Options
        return cast(BackendOptions, options(name=self.name, api_key=self.key, **self.settings, **found))

    def table(self) -> Mapping[str, str]:
        """The same in a file, which only refers to the variables."""
        found = {key: f"${{{variable}}}" for key, variable in self.variables.items()}
        return {"name": self.name, "kind": self.kind, **self.settings, **found, "api_key": f"${{{self.variable}}}"}


def find(environ: Mapping[str, str]) -> list[ProviderKey]:
    """Every provider whose key is there, with all that is needed to ask it."""
    return [key for key in _candidates(environ) if _usable(key, environ)]


def told(keys: Sequence[ProviderKey]) -> str:
    """One line for a person."""
    variables, names = ", ".join(key.variable for key in keys), ", ".join(f"{key.name}/MODEL" for key in keys)
    return f"Found in the environment: {variables}. Asked only for models named {names}"


def _candidates(environ: Mapping[str, str]) -> Iterator[ProviderKey]:
    for kind, (variables, elsewhere) in OWN.items():
        if not any(environ.get(name) for name in elsewhere) and (name := _first(variables, environ)):
            yield ProviderKey(kind, kind, name, environ[name])
    key, endpoint = AZURE
    if environ.get(endpoint) and _first((key,), environ):
        yield ProviderKey("azure_openai", "azure_openai", key, environ[key], variables={"base_url": endpoint})
    for preset in presets().values():
        needed = {} if preset.account_env is None else {"account": preset.account_env}
        if (name := _first(preset.key_env, environ)) and all(environ.get(each) for each in needed.values()):
            settings = {"preset": preset.name}
            yield ProviderKey(preset.name, "openai_compatible", name, environ[name], settings, needed)


def _first(variables: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The first variable that holds what could be a key."""
    return next((name for name in variables if _like_a_key(environ.get(name, ""))), None)


def _like_a_key(text: str) -> bool:
    long = len(text) >= MIN_KEY_LENGTH and printable(text)
    return long and not text.startswith(OURS) and not looks_like_a_placeholder(text)


def _usable(key: ProviderKey, environ: Mapping[str, str]) -> bool:
    try:
        key.options(environ)
    except ValueError:
        return False
    return True
