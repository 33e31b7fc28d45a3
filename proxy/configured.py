"""What the configuration says of models, in the runtime's terms."""

from collections.abc import Mapping
from types import MappingProxyType

from backends.base import Model
from backends.capabilities import CAPABILITIES, Capabilities
from backends.request import Sampling
from proxy.config import Abilities
from proxy.config import Alias as AliasOptions
from proxy.config_health import Health
from proxy.config_places import BackendLoad, Load
from proxy.config_prices import Pricing
from proxy.limiting import Bounds
from proxy.places import Room
from proxy.prices import micros
from proxy.routing.breaker import Rules
from proxy.runtime import Alias, otherwise
from quota.price import Price


def alias(options: AliasOptions) -> Alias:
    """A [models.NAME]."""
    return Alias(
        targets=options.targets,
        instructions=options.instructions,
        max_output_tokens=options.max_output_tokens,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p),
        strategy=options.strategy,
        weights=options.weights,
        sticky=options.sticky,
    )


def model_facts(said: Mapping[str, Abilities], catalog: Mapping[str, Model]) -> Mapping[str, Model]:
    """What is known of models by "BACKEND/MODEL": what [capabilities] says, before what the catalog has of accounts."""
    ours = {name: facts(name, each) for name, each in said.items()}
    merged = {name: otherwise(each, catalog[name]) if name in catalog else each for name, each in ours.items()}
    return MappingProxyType({**catalog, **merged})


def facts(name: str, options: Abilities) -> Model:
    """A [capabilities."BACKEND/MODEL"], which is its `name`."""
    able = Capabilities(**{each: getattr(options, each) for each in CAPABILITIES})
    return Model(name.partition("/")[2], options.context, able, options.max_output)


def room(load: Load, backend: str) -> Room:
    """What [load] says, and the backend's own table before it."""
    own = load.backends.get(backend, BackendLoad())
    keys = ("queue", "queue_tokens", "adaptive", "min_running", "max_running")
    said = {key: getattr(load if getattr(own, key) is None else own, key) for key in keys}
    bounds = Bounds(least=said["min_running"], most=said["max_running"], adaptive=said["adaptive"])
    return Room(bounds, said["queue"], said["queue_tokens"])


def breaker_rules(options: Health) -> Rules:
    """The [health]."""
    return Rules(
        failures=options.failures,
        share=options.error_share,
        slow_factor=options.slow_factor,
        slow_least=options.slow_seconds,
        first=options.open_seconds,
        longest=max(options.open_seconds, options.longest_open_seconds),
        slow_start=options.slow_start_seconds,
    )


def model_prices(said: Mapping[str, Pricing]) -> Mapping[str, Price]:
    """What the operator pays, by "BACKEND/MODEL"."""
    return MappingProxyType(
        {
            name: Price(micros(each.input), micros(each.output), micros(each.cached_input), "the configuration")
            for name, each in said.items()
        }
    )
