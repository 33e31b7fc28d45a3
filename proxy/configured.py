"""What the configuration says of models, in the runtime's terms."""

from collections.abc import Mapping
from types import MappingProxyType

from backends.base import Model
from backends.capabilities import CAPABILITIES, Capabilities
from backends.request import Sampling
from proxy.config import Abilities
from proxy.config import Alias as AliasOptions
from proxy.runtime import Alias, otherwise


def alias(options: AliasOptions) -> Alias:
    """A [models.NAME]."""
    return Alias(
        targets=options.targets,
        instructions=options.instructions,
        max_output_tokens=options.max_output_tokens,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p),
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
