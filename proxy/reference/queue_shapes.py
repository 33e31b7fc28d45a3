"""What `GET /v1/queue` answers: a type for each object, with exactly its members. Pure."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from proxy.reference.shapes import Count, Shape

Limit: TypeAlias = Annotated[int, Meta(ge=0)] | None
Wait: TypeAlias = Annotated[float, Meta(ge=0)] | None


class WaitingCounts(Shape, frozen=True, kw_only=True):
    """How many wait, by priority."""

    interactive: Count
    agent: Count
    batch: Count


class QueuedRequest(Shape, frozen=True, kw_only=True):
    """A request that waits, of the key that asks."""

    id: Annotated[str, Meta(description="That of its response; of vectors, that of the request.")]
    priority: Literal["interactive", "agent", "batch"]
    place: Annotated[int, Meta(ge=1, description="1 is next.")]
    estimated_wait: Annotated[Wait, Meta(description="Seconds, about; null before anything has ended there.")]


class BackendQueue(Shape, frozen=True, kw_only=True):
    """One backend as it is now."""

    object: Literal["queue"]
    backend: str
    running: Annotated[int, Meta(ge=0, description="Requests that have a place. More than `limit` when that has sunk.")]
    limit: Annotated[Limit, Meta(description="How many may have one now; null for no limit.")]
    min_running: Annotated[Limit, Meta(description="What the limit never goes below; null for no limit.")]
    max_running: Annotated[Limit, Meta(description="What it never goes above; null for no limit.")]
    waiting: WaitingCounts
    queued_tokens: Annotated[int, Meta(ge=0, description="Of the prompts and longest answers that wait, estimated.")]
    estimated_wait: Annotated[
        Wait, Meta(description="Seconds until who came now would have a place, about; null for no telling.")
    ]
    yours: Annotated[list[QueuedRequest], Meta(description="Those of the key that asks, the next one first.")]


class Queue(Shape, frozen=True, kw_only=True):
    """Every backend, in the configuration's order."""

    object: Literal["list"]
    data: list[BackendQueue]
