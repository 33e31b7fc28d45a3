"""What can be asked for: backends, the models they serve, aliases. Immutable; a reload swaps the whole."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain
from types import MappingProxyType
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace as changed

from backends.base import Backend, Model, Remote
from backends.model_table import published
from backends.request import Sampling
from proxy import choice_words
from proxy.errors import AmbiguousModel, UnknownModel, UnknownRouter
from proxy.metered import Metered
from proxy.prices import known as known_price
from proxy.router_names import AUTO, BY_THRESHOLD, NO_ROUTER, SHIPPED, Router, Targets, Use, is_router_name
from quota.price import Price

Strategy: TypeAlias = choice_words.Strategy
Sticky: TypeAlias = choice_words.Sticky


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of the operator's: targets in order, and what a request gets that does not say otherwise."""

    targets: tuple[str, ...]
    instructions: str | None = None
    max_output_tokens: int | None = None
    sampling: Sampling = Sampling()
    strategy: Strategy = "ordered"
    weights: tuple[float, ...] = ()
    sticky: Sticky = "none"


NO_ALIAS = Alias(())
FREE = "free/"
NO_AUTO = "It needs a [router] in the gateway's configuration: strong and weak models to choose among."
PROFILES = ("auto", "fast", "best", "cheap")  # of proxy/free.py
NAMES_OF_PROFILES = {f"{FREE}auto": "auto", **{f"{FREE}auto:{profile}": profile for profile in PROFILES}}
NOT_METERED: Mapping[str, Metered] = MappingProxyType({})


class Candidate(Struct, frozen=True):
    """One backend, the id under which it serves the model, and what is known of that.

    With `metered` each request to it spends somebody's quota, and has to be reserved first. `price` None is unknown.
    """

    backend: Backend
    model: str
    known: Model = Model("")
    metered: Metered | None = None
    price: Price | None = None


class TargetSet(Struct, frozen=True):
    """Candidates that may stand for each other, and how one of them is chosen. `name` is the operator's, for people.

    With a `profile` (proxy/free.py) their order is decided by what is left of their quotas. Who costs more than
    `max_price`, in micro-dollars per million tokens of answer, or may, for its price is not known, is passed over.
    """

    name: str
    candidates: tuple[Candidate, ...]
    strategy: Strategy = "ordered"
    weights: tuple[float, ...] = ()
    sticky: Sticky = "none"
    profile: str | None = None
    max_price: int | None = None

    def only(self, kept: Callable[[Candidate], bool]) -> "TargetSet":
        """With those candidates alone, each with its weight."""
        places = [place for place, each in enumerate(self.candidates) if kept(each)]
        weights = tuple([self.weights[place] for place in places]) if self.weights else ()
        return changed(self, candidates=tuple([self.candidates[place] for place in places]), weights=weights)


class RouterAsk(Struct, frozen=True):
    """What the learned router decides: which of a route's sets comes first. They are in order, the weakest first.

    `shares` are the parts of the calibrated mix that each set gets, in the same order. A `threshold` goes before them:
    from that score on it is the last set, else the first. `router` is the name of the weights that score.
    """

    profile: str
    shares: tuple[float, ...] = ()
    threshold: float | None = None
    router: str = SHIPPED


class Route(Struct, frozen=True):
    """Where a model's name leads: sets of candidates, tried in order, and the alias whose defaults apply.

    With `ask` the learned router says which set is the first.
    """

    sets: tuple[TargetSet, ...]
    alias: Alias = NO_ALIAS
    ask: RouterAsk | None = None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All of them, set by set."""
        return tuple(each for among in self.sets for each in among.candidates)

    @property
    def profile(self) -> str | None:
        """That of the only set, where it is one of free/…."""
        return self.sets[0].profile if len(self.sets) == 1 else None

    def only(self, kept: Callable[[Candidate], bool]) -> "Route":
        """With those candidates alone; as it is where that would leave none."""
        sets = tuple(each for each in (among.only(kept) for among in self.sets) if each.candidates)
        return changed(self, sets=sets) if sets else self


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

    The backends `by_name` answer only to BACKEND/MODEL: nobody asked for them in a configuration, or they cost money or
    quota. `metered` holds, by backend and model, what spends a quota; "free/…" leads to all of that. `prices` are the
    operator's, by "BACKEND/MODEL"; they go before what an account pays, and that before what is published.
    """

    backends: Mapping[str, Backend]
    aliases: Mapping[str, Alias] = field(default_factory=lambda: MappingProxyType({}))
    models: Mapping[str, tuple[Model, ...]] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    by_name: frozenset[str] = frozenset()
    metered: Mapping[str, Mapping[str, Metered]] = field(default_factory=lambda: MappingProxyType({}))
    prices: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    router: Router = NO_ROUTER

    def serving(self, name: str, models: Iterable[Model]) -> "Runtime":
        """With what the backend `name` says it serves now."""
        known = {**self.models, name: tuple(self._known(name, model) for model in models)}
        ordered = {each: known[each] for each in self.backends if each in known}
        return replace(self, models=MappingProxyType(ordered))

    def resolve(self, name: str) -> Route:
        """An alias, then auto… and router-…, then free/…, then an exact id, then the first segment as the backend's
        name (ids hold slashes). Raises UnknownModel, AmbiguousModel or UnknownRouter.
        """
        if alias := self.aliases.get(name):
            return Route((self._set(name, alias),), alias)
        if is_router_name(name) and (route := self._routed(name)) is not None:
            return route
        if self.metered and name.startswith(FREE):
            return self._free(name)
        return Route((TargetSet(name, (self._candidate(name),)),))

    def used(self, use: Use, alias: Alias = NO_ALIAS) -> Route:
        """Where a rule leads. `alias` is that of the name that was asked for, whose defaults stay; of an alias that the
        rule names, only the targets and their strategy count.

        What is not there any more, as a free model that was taken out, is left out. Raises UnknownModel where that is
        all of it.
        """
        first = use.entries[0]
        if is_router_name(first) and (route := self._routed(first)) is not None:
            return changed(
                route, alias=alias, sets=tuple(changed(each, max_price=use.max_price) for each in route.sets)
            )
        sets = tuple(each for each in map(self._entry, use.entries) if each.candidates)
        if not sets:
            raise UnknownModel(first, [])
        if use.strategy is not None or use.sticky != "none":
            among = tuple(each for one in sets for each in one.candidates)
            sets = (TargetSet(use.name, among, use.strategy or "ordered", use.weights, use.sticky),)
        return Route(tuple(changed(each, max_price=use.max_price) for each in sets), alias)

    def targets(self, names: Iterable[str]) -> tuple[Candidate, ...]:
        """The candidates of these BACKEND/MODEL."""
        return tuple(map(self._target, names))

    def listed(self) -> Iterator[Listed]:
        """Every name, in the configuration's order: aliases first. An id that two backends serve has their names."""
        for name, alias in self.aliases.items():
            yield Listed(name, None, targets=alias.targets)
        for name in self.router.names():
            with suppress(UnknownModel):  # nothing that it leads to is there now
                led = dict.fromkeys(f"{each.backend.name}/{each.model}" for each in self.resolve(name).candidates)
                yield Listed(name, None, targets=tuple(led))
        if self.metered:
            targets = tuple(f"{each.backend.name}/{each.model}" for each in self._metered())
            for name in NAMES_OF_PROFILES:
                if name != f"{FREE}auto:auto":
                    yield Listed(name, None, targets=targets)
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

    def _routed(self, name: str) -> Route | None:
        """What the router's names lead to; None for one that it does not know, which may be a backend's model.

        Raises UnknownRouter.
        """
        router = self.router
        if (profile := router.profile(name)) is not None:
            return self._by_score(name, profile)
        if name == AUTO and router.otherwise is not None:
            return self.used(router.otherwise)
        if AUTO in router.ladders and name.startswith(BY_THRESHOLD) and not self._serving(name):
            found = router.threshold(name)
            if isinstance(found, str):
                raise UnknownRouter(name, found, router.choices())
            return self._by_score(name, AUTO, found[1], found[0])
        return None

    def _by_score(self, name: str, profile: str, threshold: float | None = None, weights: str = SHIPPED) -> Route:
        """The sets of a profile's ladder, among which the learned router chooses; some may be empty, not all."""
        ladder = self.router.ladders[profile]
        route = Route(
            tuple(self._set(each.name, each) for each in ladder.sets),
            ask=RouterAsk(profile, ladder.shares, threshold, weights),
        )
        if not route.candidates:
            raise UnknownModel(name, [])
        return route

    def _set(self, name: str, of: Targets | Alias) -> TargetSet:
        """A set of BACKEND/MODEL, or a single free/…."""
        if self._is_free(of.targets[0]):
            return changed(self._free_set(of.targets[0]), name=name)
        return TargetSet(name, self.targets(of.targets), of.strategy, of.weights, of.sticky)

    def _entry(self, entry: str) -> TargetSet:
        """What a rule may name: a set of the ladder, an alias, free/…, BACKEND/MODEL."""
        rungs = self.router.ladders[AUTO].sets if AUTO in self.router.ladders else ()
        found = next((each for each in rungs if each.name == entry), None) or self.aliases.get(entry)
        if found is not None:
            return self._set(entry, found)
        return self._free_set(entry) if self._is_free(entry) else TargetSet(entry, (self._target(entry),))

    def _is_free(self, target: str) -> bool:
        return target.startswith(FREE) and FREE.rstrip("/") not in self.backends

    def _free_set(self, name: str) -> TargetSet:
        """That of a free/…; empty where no account can be used, or none has that model."""
        with suppress(UnknownModel):
            return self._free(name).sets[0]
        return TargetSet(name, ())

    def _free(self, name: str) -> Route:
        """free/auto[:PROFILE] is every metered model; free/MODEL those of that id, or whose id ends with it."""
        if name in NAMES_OF_PROFILES:
            return Route((TargetSet(name, tuple(self._metered()), profile=NAMES_OF_PROFILES[name]),))
        wanted = name.removeprefix(FREE)
        found = tuple(each for each in self._metered() if each.model == wanted or each.model.endswith(f"/{wanted}"))
        if not found:
            after = [each.removeprefix(FREE) for each in NAMES_OF_PROFILES]
            ids = {each.model.rpartition("/")[2] for each in self._metered()}
            raise UnknownModel(name, [f"{FREE}{each}" for each in get_close_matches(wanted, [*after, *ids], 1)])
        return Route((TargetSet(name, found, profile="auto"),))

    def _metered(self) -> Iterator[Candidate]:
        """Every model that spends a quota."""
        for backend, models in self.metered.items():
            for model in models:
                yield self._at(backend, model)

    def _at(self, backend: str, model: str) -> Candidate:
        """With what is known of it, also when the backend does not list it."""
        listed = next((each for each in self.models.get(backend, ()) if each.id == model), None)
        known = listed or self._known(backend, Model(model))
        at, metered = self.backends[backend], self.metered.get(backend, NOT_METERED).get(model)
        price = known_price(self.prices, backend, at.url if isinstance(at, Remote) else None, model, metered)
        return Candidate(at, model, known, metered, price)

    def _known(self, backend: str, model: Model) -> Model:
        """What the operator says of it, then its backend, then the table."""
        at = self.backends[backend]
        said = otherwise(model, published(at.url if isinstance(at, Remote) else None, model.id))
        facts = self.facts.get(f"{backend}/{model.id}")
        return said if facts is None else otherwise(replace(facts, id=model.id), said)

    def _candidate(self, name: str) -> Candidate:
        serving = self._serving(name)
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
        if is_router_name(name) and not self.router.ladders:
            raise UnknownModel(name, [], NO_AUTO)
        raise UnknownModel(name, get_close_matches(name, [*names, *listed], 1))

    def _serving(self, name: str) -> list[str]:
        """The backends that serve exactly this id."""
        return [backend for backend, models in self._open().items() if any(model.id == name for model in models)]

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
