"""What can be asked for: backends, the models they serve, aliases. Immutable; a reload swaps the whole."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain
from types import MappingProxyType

from msgspec import Struct

from backends.base import Backend, Model, Remote
from backends.model_table import published
from backends.request import Sampling
from proxy.errors import AmbiguousModel, UnknownModel


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of the operator's: targets in order, and what a request gets that does not say otherwise."""

    targets: tuple[str, ...]
    instructions: str | None = None
    max_output_tokens: int | None = None
    sampling: Sampling = Sampling()


NO_ALIAS = Alias(())


class Candidate(Struct, frozen=True):
    """One backend, the id under which it serves the model, and what is known of that."""

    backend: Backend
    model: str
    known: Model = Model("")


class Route(Struct, frozen=True):
    """Where a model's name leads: candidates in order, and the alias whose defaults apply."""

    candidates: tuple[Candidate, ...]
    alias: Alias = NO_ALIAS


@dataclass(frozen=True, slots=True)
class Listed:
    """One name that can be asked for. `owner` is the backend, or None for an alias; its `targets` say more then."""

    id: str
    owner: str | None
    model: Model | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Runtime:
    """`models` holds, by backend, what it said it serves; a backend that has not answered yet is not in it.

    `facts` are the operator's, by "BACKEND/MODEL". They go before what a backend says of its models, and that before
    what is published (backends/model_table.py); `models` has all three together.

    The backends `by_name` answer only to BACKEND/MODEL: nobody asked for them in a configuration, and they cost money.
    """

    backends: Mapping[str, Backend]
    aliases: Mapping[str, Alias] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, tuple[Model, ...]] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    by_name: frozenset[str] = frozenset()

    def serving(self, name: str, models: Iterable[Model]) -> "Runtime":
        """With what the backend `name` says it serves now."""
        known = {**self.models, name: tuple(self._known(name, model) for model in models)}
        ordered = {each: known[each] for each in self.backends if each in known}
        return replace(self, models=MappingProxyType(ordered))

    def resolve(self, name: str) -> Route:
        """An alias, then an exact id, then the first segment as the backend's name (ids hold slashes themselves)."""
        if alias := self.aliases.get(name):
            return Route(tuple(self._target(target) for target in alias.targets), alias)
        return Route((self._candidate(name),))

    def listed(self) -> Iterator[Listed]:
        """Every name, in the configuration's order: aliases first. An id that two backends serve has their names."""
        for name, alias in self.aliases.items():
            yield Listed(name, None, targets=alias.targets)
        ids = Counter(model.id for models in self._open().values() for model in models)
        for backend, models in self.models.items():
            for model in models:
                taken = backend in self.by_name or ids[model.id] > 1 or model.id in self.aliases
                yield Listed(f"{backend}/{model.id}" if taken else model.id, backend, model)

    def described(self, name: str) -> Listed:
        """What is known of a name. Raises UnknownModel or AmbiguousModel."""
        for listed in self.listed():
            if listed.id == name:
                return listed
        candidate = self.resolve(name).candidates[0]
        return Listed(name, candidate.backend.name, candidate.known)

    def _target(self, target: str) -> Candidate:
        """BACKEND/MODEL, and nothing else. A model that is not there is the backend's to say: the next may have it."""
        backend, _, model = target.partition("/")
        return self._at(backend, model)

    def _at(self, backend: str, model: str) -> Candidate:
        """With what is known of it, also when the backend does not list it."""
        listed = next((each for each in self.models.get(backend, ()) if each.id == model), None)
        return Candidate(self.backends[backend], model, listed or self._known(backend, Model(model)))

    def _known(self, backend: str, model: Model) -> Model:
        """What the operator says of it, then its backend, then the table."""
        at = self.backends[backend]
        said = otherwise(model, published(at.url if isinstance(at, Remote) else None, model.id))
        facts = self.facts.get(f"{backend}/{model.id}")
        return said if facts is None else otherwise(replace(facts, id=model.id), said)

    def _candidate(self, name: str) -> Candidate:
        serving = [backend for backend, models in self._open().items() if any(model.id == name for model in models)]
        if len(serving) > 1:
            raise AmbiguousModel(name, [f"{backend}/{name}" for backend in serving])
        if serving:
            return self._at(serving[0], name)
        backend, _, model = name.partition("/")
        if backend in self.backends and model:
            known = self.models.get(backend)
            silent = known is None or (not known and backend in self.by_name)  # not asked yet, or it lists none
            if silent or any(each.id == model for each in known or ()):  # then the backend decides
                return self._at(backend, model)
        near = {owner: models for owner, models in self.models.items() if owner not in self.by_name or owner == backend}
        names = chain(self.aliases, (f"{owner}/{each.id}" for owner, models in near.items() for each in models))
        listed = (each.id for each in self.listed() if each.owner is None or each.owner in near)
        raise UnknownModel(name, get_close_matches(name, [*names, *listed], 1))

    def _open(self) -> Mapping[str, tuple[Model, ...]]:
        """The models of the backends that are not asked by name only."""
        return {backend: models for backend, models in self.models.items() if backend not in self.by_name}


def otherwise(model: Model, other: Model) -> Model:
    """What is known of `model`, and of `other` where nothing is."""
    return Model(
        model.id,
        other.context if model.context is None else model.context,
        model.capabilities.otherwise(other.capabilities),
        other.max_output if model.max_output is None else model.max_output,
    )
