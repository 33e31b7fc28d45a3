"""Knows the keys of providers: those in the environment, each with the backend that it makes, and those that lack."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from backends import registry
from backends.http_options import HttpOptions, looks_like_a_placeholder, printable
from backends.presets import presets
from proxy.config import BackendOptions
from proxy.config_check import is_loopback
from proxy.config_table import MIN_KEY_LENGTH

OURS = "sk-sl-"  # our own keys are of no use to a provider, and must not reach one
DOWNLOADS = "HF_TOKEN"  # it is set to download models: nobody who sets it means to be billed for answers


class Place(NamedTuple):
    """Where a provider is, and in which `variables` its key is usual.

    `elsewhere` says that the key is meant for another server; `needed` are settings, by the backend's key.
    """

    kind: str
    host: str
    variables: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    needed: Mapping[str, str] = MappingProxyType({})
    preset: str | None = None

    @property
    def name(self) -> str:
        """What its backend is named."""
        return self.preset or self.kind


OWN = (
    Place("openai", "api.openai.com", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    Place("anthropic", "api.anthropic.com", ("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",)),
    Place(
        "gemini",
        "generativelanguage.googleapis.com",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("GOOGLE_GEMINI_BASE_URL",),
    ),
    Place("cohere", "api.cohere.com", ("CO_API_KEY", "COHERE_API_KEY"), ("CO_API_URL",)),
    Place("azure_openai", ".openai.azure.com", ("AZURE_OPENAI_API_KEY",), needed={"base_url": "AZURE_OPENAI_ENDPOINT"}),
)


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


def left_out(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables that hold a key which is not taken, each with why. Nothing of what they hold."""
    taken = {key.name for key in find(environ)}
    for place in _places():
        there = [name for name in place.variables if environ.get(name)]
        if there and place.name not in taken and DOWNLOADS not in there:
            yield there[0], _why(place, environ, there[0])


def doubts(backends: Sequence[BackendOptions]) -> Iterator[str]:
    """A sentence for each backend whose key is missing, or is none. Nothing of the key."""
    for index, options in enumerate(backends):
        if not isinstance(options, HttpOptions):
            continue
        at, keys = f'backends[{index}] "{options.name}"', options.keys()
        host = urlsplit(options.base_url).hostname or ""
        if any(key.startswith("$") for key in keys):
            yield f'{at}: its key begins with "$". A variable of the environment is written with braces: ${{NAME}}.'
        elif any(map(looks_like_a_placeholder, keys)) and not is_loopback(host):
            yield f"{at}: its key looks like a placeholder. Set its api_key, or take it out."
        elif not keys and options.api_key_file is None and options.key_source == "gateway":
            place = next((each for each in _places() if _is_at(each, host)), None)
            if place is not None:
                yield f"{at}: no api_key; {host} needs one: ${{{place.variables[0]}}}"


def _is_at(place: Place, host: str) -> bool:
    return host.endswith(place.host) if place.host.startswith(".") else host == place.host


def _why(place: Place, environ: Mapping[str, str], variable: str) -> str:
    """Why the key in `variable` is not taken."""
    if other := next((name for name in place.elsewhere if environ.get(name)), None):
        return f"{other} is set, so the key may be for another server"
    if environ[variable].startswith(OURS):
        return "it is a key of a Streamlane gateway"
    if not _like_a_key(environ[variable]):
        return "it looks like a placeholder, not like a key"
    missing = next((name for name in place.needed.values() if not environ.get(name)), None)
    return f"{missing} is not set" if missing else f"{', '.join(place.needed.values())} cannot be used"


def _places() -> Iterator[Place]:
    """Every provider: those with a kind of their own, then the clouds among the presets."""
    yield from OWN
    for preset in presets().values():
        if not preset.local:
            needed = {} if preset.account_env is None else {"account": preset.account_env}
            host = urlsplit(preset.base_url).hostname or ""
            yield Place("openai_compatible", host, preset.key_env, needed=needed, preset=preset.name)


def _candidates(environ: Mapping[str, str]) -> Iterator[ProviderKey]:
    for place in _places():
        variable = _first(place.variables, environ)
        if variable is None or variable == DOWNLOADS or any(environ.get(name) for name in place.elsewhere):
            continue
        if all(environ.get(name) for name in place.needed.values()):
            settings = {} if place.preset is None else {"preset": place.preset}
            yield ProviderKey(place.name, place.kind, variable, environ[variable], settings, place.needed)


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
