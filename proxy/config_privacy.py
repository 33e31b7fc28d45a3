"""The configuration's type for where texts may go that a caller has called confidential."""

from typing import Annotated

from msgspec import Meta

from proxy.config_table import Table


class Privacy(Table, frozen=True):
    """Where requests with `"sl_route": {"data": "confidential"}` may go: to machines of yours, and nowhere else."""

    own_backends: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Backends whose machines are yours. Unset: those in this process, on loopback or at a private "
            "address. Set it when one of them hands requests on to others, or has a public name.",
            examples=[["gpu"]],
        ),
    ] = None
