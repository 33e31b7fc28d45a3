"""The configuration's types for how many requests a backend gets at once, and how many wait for it."""

from typing import Annotated

from msgspec import Meta, field

from proxy.config_table import Count, Table


class Load(Table, frozen=True):
    """How many requests a backend gets at once, and how many may wait for it. One that knows its own number (llama_cpp)
    gets that many; for others it is found out.
    """

    queue: Annotated[
        int, Meta(ge=0, description="Requests that may wait for one backend; beyond it they are refused at once.")
    ] = 256
    queue_tokens: Annotated[
        Count, Meta(description="Tokens of their prompts and longest answers, estimated. One may always wait.")
    ] = 2_000_000
    adaptive: Annotated[
        bool,
        Meta(
            description="Whether fewer are let in while the time to the first token is more than twice, and a second "
            "above, the usual one."
        ),
    ] = True
    min_running: Annotated[Count, Meta(description="How many are always let in.")] = 4
    max_running: Annotated[
        Count | None, Meta(description="The most that run at once at one backend. Unset: no limit.", examples=[64])
    ] = None
    backends: Annotated[
        dict[str, "BackendLoad"],
        Meta(
            description="Other values for single backends, one [load.backends.NAME] each.",
            examples=[{"local": {"max_running": 4}}],
        ),
    ] = field(default_factory=dict)


class BackendLoad(Table, frozen=True):
    """What is different for one backend. Unset: as in [load]."""

    queue: Annotated[Annotated[int, Meta(ge=0)] | None, Meta(description="Requests that may wait.")] = None
    queue_tokens: Annotated[Count | None, Meta(description="Tokens that may wait.")] = None
    adaptive: Annotated[bool | None, Meta(description="Whether fewer are let in while it is slow.")] = None
    min_running: Annotated[Count | None, Meta(description="How many are always let in.")] = None
    max_running: Annotated[Count | None, Meta(description="The most that run at once.")] = None
