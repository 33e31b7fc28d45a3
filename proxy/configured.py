"""What the configuration says of models, in the runtime's terms."""

from backends.base import Model
from backends.capabilities import CAPABILITIES, Capabilities
from backends.request import Sampling
from proxy.config import Abilities
from proxy.config import Alias as AliasOptions
from proxy.runtime import Alias


def alias(options: AliasOptions) -> Alias:
    """A [models.NAME]."""
    return Alias(
        targets=options.targets,
        instructions=options.instructions,
        max_output_tokens=options.max_output_tokens,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p),
    )


def facts(name: str, options: Abilities) -> Model:
    """A [capabilities."BACKEND/MODEL"], which is its `name`."""
    able = Capabilities(**{each: getattr(options, each) for each in CAPABILITIES})
    return Model(name.partition("/")[2], options.context, able, options.max_output)
