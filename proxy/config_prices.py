"""The configuration's type for prices: what the operator pays for a model, where that is not what is published."""

from typing import Annotated, TypeAlias

from msgspec import Meta

from proxy.config_table import Table

Dollars: TypeAlias = Annotated[float, Meta(ge=0, le=1_000_000)]


class Pricing(Table, frozen=True):
    """What one backend's model costs you, where you know better than our table; 0 is for your own hardware."""

    input: Annotated[Dollars, Meta(description="For a million tokens of a prompt.", examples=[0.4])]
    output: Annotated[Dollars, Meta(description="For a million tokens of an answer; 0 for embeddings.", examples=[1.6])]
    cached_input: Annotated[
        Dollars | None,
        Meta(description="For those of a prompt that came from the provider's cache. Unset: as input.", examples=[0.1]),
    ] = None
