"""Every event that a client may send on the socket: a type for each, with exactly its members. Pure."""

from typing import Annotated, Any, ClassVar

from msgspec import UNSET, Meta, UnsetType

from proxy.reference.event_shapes import Event, Lane, SeenBy
from proxy.reference.shapes import Count
from proxy.wire.responses_request import Body


class CreateEvent(Body, frozen=True, kw_only=True, tag_field="type", tag="response.create"):
    """A response begins, or waits for its lane. It takes what `POST /v1/responses` takes, and `stream_id`."""

    seen_by: ClassVar[SeenBy] = "all"
    stream_id: Lane = UNSET


class Cancel(Event, frozen=True, kw_only=True, tag_field="type", tag="response.cancel"):
    """A running response ends with `response.incomplete` and the status `cancelled`. One that has ended stays as it is."""  # noqa: E501  # one line

    response_id: Annotated[str | UnsetType | None, Meta(description="Else the one that runs on the lane.")] = UNSET
    stream_id: Lane = UNSET


class SteerEvent(Event, frozen=True, kw_only=True, tag_field="type", tag="response.steer"):
    """Answered with `response.steer.failed`: cancel the response and create another."""

    previous_response_id: Any = None
    input: Any = None


class Processed(Event, frozen=True, kw_only=True, tag_field="type", tag="response.processed"):
    """Accepted without effect: some clients say it after each response."""

    response_id: Any = None


class Ack(Event, frozen=True, kw_only=True, tag_field="type", tag="streamlane:session.ack"):
    """Every frame up to `sl_seq` has arrived: it need not be held any more, and the window moves on."""

    seen_by: ClassVar[SeenBy] = "session"
    sl_seq: Count


class ResumeEvent(Event, frozen=True, kw_only=True, tag_field="type", tag="streamlane:session.resume"):
    """The first event of a connection that could not name its session in its address."""

    seen_by: ClassVar[SeenBy] = "extended"
    sl_session: Annotated[
        str, Meta(pattern="^[A-Za-z0-9_-]{16,128}$", description="The session's key: make up a random one.")
    ]
    sl_after: Annotated[
        Count | UnsetType | None, Meta(description="The last number that arrived; 0 when nothing did.")
    ] = UNSET
    epoch: Annotated[str | UnsetType | None, Meta(description="As the session was created with.")] = UNSET


class FlowSet(Event, frozen=True, kw_only=True, tag_field="type", tag="streamlane:flow.set"):
    """Sets the window of the connection, or pauses one lane, or both."""

    seen_by: ClassVar[SeenBy] = "session"
    window: Annotated[Count | UnsetType, Meta(description="Frames without an ack; 0 for no bound.")] = UNSET
    pause: Annotated[bool | UnsetType, Meta(description="Hold the lane's events back, or no longer.")] = UNSET
    stream_id: Lane = UNSET


class Ping(Event, frozen=True, kw_only=True, tag_field="type", tag="streamlane:ping"):
    """Answered with `streamlane:pong`: for pages, which cannot see a WebSocket's own pings."""

    seen_by: ClassVar[SeenBy] = "extended"
    id: Annotated[Any, Meta(description="Comes back with the answer.")] = None


CLIENT_EVENTS: tuple[type[Event] | type[CreateEvent], ...] = (
    CreateEvent, Cancel, SteerEvent, Processed, ResumeEvent, Ack, FlowSet, Ping,
)  # fmt: skip
