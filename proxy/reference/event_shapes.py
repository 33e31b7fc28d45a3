"""Every event of the gateway's on the socket: a type for each, with exactly its members. Pure.

A type's docstring is what the reference says of the event. `seen_by` says who gets it (or, in client_events.py, may
send it): everybody, clients that asked for our extensions, or those of them that have a session.
"""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from proxy.reference.shapes import (
    Count,
    Error,
    FileCitation,
    Logprob,
    OutputItem,
    OutputText,
    QuotaPool,
    RefusalPart,
    Response,
    Shape,
    UrlCitation,
)

SeenBy: TypeAlias = Literal["all", "extended", "session"]
Lane: TypeAlias = Annotated[
    str | UnsetType, Meta(description="The lane, if and only if it has a name: 1 to 256 of `A-Z a-z 0-9 _ . -`.")
]
Number: TypeAlias = Annotated[
    Annotated[int, Meta(ge=1)] | UnsetType, Meta(description="The frame's number, on connections with a session only.")
]


class Event(Shape, frozen=True, kw_only=True):
    """Any event."""

    seen_by: ClassVar[SeenBy] = "all"


class ServerEvent(Event, frozen=True, kw_only=True):
    """Any event of the gateway's."""

    sl_seq: Number = UNSET


class OfResponse(ServerEvent, frozen=True, kw_only=True):
    """Any event of one response."""

    sequence_number: Annotated[
        int, Meta(ge=0, description="Per response, from 0, rising. Merged deltas have that of the last of them.")
    ]
    stream_id: Lane = UNSET


class OfItem(OfResponse, frozen=True, kw_only=True):
    """Any event of a piece of one output item."""

    item_id: str
    output_index: Count


class OfPart(OfItem, frozen=True, kw_only=True):
    """Any event of a content part."""

    content_index: Count


# fmt: off
class Created(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.created"):
    """The response exists. A refusal before this is an `error` event; a failure after it is `response.failed`."""

    response: Response


class InProgress(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.in_progress"):
    """Its conversation is settled."""

    response: Response


class Completed(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.completed"):
    """The end of a response that is whole."""

    response: Response


class Incomplete(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.incomplete"):
    """The end of a response that was cut: `incomplete_details.reason` is `max_output_tokens`, `content_filter` or `cancelled`."""  # noqa: E501  # one sentence

    response: Response


class Failed(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.failed"):
    """The end of a response that failed: `error` has the code and the message. What was said so far stays."""

    response: Response


class ItemAdded(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.output_item.added"):
    """An item of the answer begins: a message, reasoning, or a call of a tool."""

    output_index: Count
    item: OutputItem


class ItemDone(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="response.output_item.done"):
    """An item is complete, or was cut."""

    output_index: Count
    item: OutputItem


class PartAdded(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.added"):
    """A part of a message begins."""

    part: OutputText | RefusalPart


class PartDone(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.done"):
    """A part of a message is complete."""

    part: OutputText | RefusalPart


class TextDelta(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.delta"):
    """More text. `logprobs` is empty unless they were asked for."""

    delta: str
    logprobs: list[Logprob]


class TextDone(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.done"):
    """All of a part's text."""

    text: str
    logprobs: list[Logprob]


class AnnotationAdded(
    OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.annotation.added"
):
    """A source of the text so far."""

    annotation_index: Count
    annotation: UrlCitation | FileCitation


class RefusalDelta(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.refusal.delta"):
    """More of a refusal."""

    delta: str


class RefusalDone(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.refusal.done"):
    """All of a refusal."""

    refusal: str


class ReasoningDelta(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.delta"):
    """More of what the model thinks."""

    delta: str


class ReasoningDone(OfPart, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    """All of what it thought."""

    text: str


class ArgumentsDelta(
    OfItem, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta"
):
    """More of a function's arguments, a piece of JSON."""

    delta: str


class ArgumentsDone(OfItem, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"):
    """All of a function's arguments."""

    arguments: str


class InputDelta(OfItem, frozen=True, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.delta"):
    """More of the text for a custom tool."""

    delta: str


class InputDone(OfItem, frozen=True, kw_only=True, tag_field="type", tag="response.custom_tool_call_input.done"):
    """All of the text for a custom tool."""

    input: str
# fmt: on


class SteerError(Shape, frozen=True, kw_only=True):
    """Why a response was not steered."""

    code: Literal["steering_not_supported"]
    message: str
    type: str


class Steer(Shape, frozen=True, kw_only=True):
    """What was asked."""

    previous_response_id: Any
    input: Any


class SteerFailed(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="response.steer.failed"):
    """The answer to `response.steer`: a running response cannot be steered here."""

    error: SteerError
    steer: Steer


class EventError(Error, frozen=True, kw_only=True):
    """An error, and when to try again."""

    headers: Annotated[dict[str, str], Meta(description="`retry-after`, in seconds, where that is known.")]


class ErrorEvent(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A client event was refused. The socket and its other lanes go on."""

    status: Annotated[int, Meta(description="As it would be over HTTP.")]
    stream_id: Lane = UNSET
    error: EventError


class PassedOver(Shape, frozen=True, kw_only=True):
    """A target that is not asked, and why."""

    model: str
    backend: str
    reason: str


class RouterVerdict(Shape, frozen=True, kw_only=True):
    """What the learned router said."""

    profile: str | None
    score: Annotated[float, Meta(description="The probability that the strong model wins over the weak one.")]
    threshold: Annotated[float | None, Meta(description="From it on the stronger models are asked first.")]
    share: Annotated[float, Meta(description="The part of the calibrated mix that scores less.")]
    unfamiliar: Annotated[float, Meta(description="How little the prompt is like what was learned from, 0 to 1.")]
    guarded: Annotated[bool, Meta(description="Whether that is so much that the score was drawn to the middle.")]


class Route(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="streamlane:route"):
    """A backend was chosen, or the place in its line has changed. Counts nothing: it has the number of its response's last event."""  # noqa: E501  # one line

    seen_by: ClassVar[SeenBy] = "extended"
    response_id: str
    model: Annotated[str, Meta(description="The backend's own name for it.")]
    backend: str
    queue_position: Annotated[int, Meta(ge=0, description="1 is next, 0 its turn.")]
    estimated_wait: Annotated[
        float | UnsetType, Meta(description="Seconds until its turn, about; not before anything has ended there.")
    ] = UNSET
    reason: Annotated[str | UnsetType, Meta(description="Why this one, of several.")] = UNSET
    rule: Annotated[str | UnsetType, Meta(description="The operator's rule that decided, by its name.")] = UNSET
    router: RouterVerdict | UnsetType = UNSET
    passed_over: Annotated[list[PassedOver] | UnsetType, Meta(description="Targets that are not asked.")] = UNSET


class QueueEvent(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="streamlane:queue"):
    """All free quota is spent, and the request waits for some. Counts nothing, as `streamlane:route`."""

    seen_by: ClassVar[SeenBy] = "extended"
    response_id: str
    position: Annotated[int, Meta(ge=1, description="In the fair line; 1 is next.")]
    opens_in: Annotated[float | None, Meta(description="Seconds until another look.")]


class QuotaEvent(OfResponse, frozen=True, kw_only=True, tag_field="type", tag="streamlane:quota"):
    """The pools that an attempt has drawn on, or, without `backend`, those in the way of every one. Counts nothing."""

    seen_by: ClassVar[SeenBy] = "extended"
    response_id: str
    model: Annotated[str | UnsetType, Meta(description="The account's own name for it.")] = UNSET
    backend: Annotated[str | UnsetType, Meta(description="The account.")] = UNSET
    pools: list[QuotaPool]


class SessionLimits(Shape, frozen=True, kw_only=True):
    """What the session may have at once."""

    active: int
    lanes: int
    window: int
    max_frame: Annotated[int, Meta(description="In bytes.")]


class SessionCreated(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="streamlane:session.created"):
    """The session is new, or nothing of an old one was held."""

    seen_by: ClassVar[SeenBy] = "session"
    epoch: Annotated[str, Meta(description="New whenever the numbers begin anew.")]
    resume_ttl_s: Annotated[float, Meta(description="How long one may be away.")]
    detach_ttl_s: Annotated[float, Meta(description="How long responses go on meanwhile.")]
    limits: SessionLimits


class Live(Shape, frozen=True, kw_only=True):
    """A response that is not wholly sent."""

    response_id: str
    stream_id: Lane = UNSET
    sequence_number: Annotated[int, Meta(ge=-1, description="Of the last event that was sent; -1 for none.")]


class SessionResumed(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="streamlane:session.resumed"):
    """The session goes on after frame `after`."""

    seen_by: ClassVar[SeenBy] = "session"
    epoch: str
    after: Count
    rewound: Annotated[int, Meta(ge=0, description="Frames that are sent again.")]
    live: list[Live]


class SessionDraining(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="streamlane:session.draining"):
    """The gateway restarts: what runs may end, then the socket closes with 1012."""

    seen_by: ClassVar[SeenBy] = "extended"
    deadline_s: float
    retry_after_ms: Annotated[int, Meta(description="Come back after this time.")]


class FlowStalled(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="streamlane:flow.stalled"):
    """The window is full or the lane is paused, and its backend has to wait. Said once, until it goes on."""

    seen_by: ClassVar[SeenBy] = "session"
    stream_id: Lane = UNSET
    unacked: Annotated[int, Meta(ge=0, description="Frames.")]


class Pong(ServerEvent, frozen=True, kw_only=True, tag_field="type", tag="streamlane:pong"):
    """The answer to `streamlane:ping`."""

    seen_by: ClassVar[SeenBy] = "extended"
    id: Any


RESPONSE_EVENTS: tuple[type[OfResponse], ...] = (
    Created, InProgress, ItemAdded, PartAdded, TextDelta, AnnotationAdded, TextDone, RefusalDelta, RefusalDone,
    ReasoningDelta, ReasoningDone, ArgumentsDelta, ArgumentsDone, InputDelta, InputDone, PartDone, ItemDone,
    Completed, Incomplete, Failed,
)  # fmt: skip
SERVER_EVENTS: tuple[type[ServerEvent], ...] = (
    *RESPONSE_EVENTS, ErrorEvent, SteerFailed,
    Route, QueueEvent, QuotaEvent, SessionCreated, SessionResumed, SessionDraining, FlowStalled, Pong,
)  # fmt: skip
