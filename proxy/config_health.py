"""The configuration's type for how targets are watched: when one is not asked for a while, and how it comes back."""

from typing import Annotated

from msgspec import Meta

from proxy.config_table import Count, Seconds, Table


class Health(Table, frozen=True):
    """When a model that fails is not asked any more, and how it comes back."""

    failures: Annotated[Count, Meta(description="Faults in a row after which it is not asked for a while.")] = 5
    error_share: Annotated[
        float, Meta(gt=0, le=1, description="Part of the last minute's requests that were faults, of ten or more.")
    ] = 0.5
    slow_factor: Annotated[
        float, Meta(gt=1, le=1000, description="A first token that takes so many times the usual time is a fault too.")
    ] = 10
    slow_seconds: Annotated[Seconds, Meta(description="Only when it takes so long, too.")] = 10
    open_seconds: Annotated[
        Seconds, Meta(description="How long it is not asked. Then one request tries it; if that fails, twice as long.")
    ] = 5
    longest_open_seconds: Annotated[Seconds, Meta(description="The longest such time.")] = 120
    slow_start_seconds: Annotated[
        float,
        Meta(ge=0, le=3600, description="After it came back: until it gets its whole part of the requests again."),
    ] = 20
