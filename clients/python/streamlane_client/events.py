"""The events of an answer, as typed dictionaries: exactly the JSON that the gateway sends.

`event["type"]` tells them apart, and type checkers follow it. Events that are not listed here come through as they are,
so leave room for them: end with `else: pass`, not with `assert_never`.
"""

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class Usage(TypedDict):
    """Tokens, as the backend counted them, or estimated."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    sl_estimated: NotRequired[bool]


class Incomplete(TypedDict):
    """Why an answer is not whole."""

    reason: Literal["max_output_tokens", "content_filter", "cancelled"]


class Response(TypedDict):
    """The response object. Of its members, those that matter to most."""

    id: str
    model: str
    status: Literal["in_progress", "completed", "incomplete", "cancelled", "failed"]
    output: list[dict[str, Any]]
    usage: Usage | None
    incomplete_details: Incomplete | None
    metadata: dict[str, str]
    created_at: float


class ResponseEvent(TypedDict):
    """The response began, or ended. `response.failed` is not among them: it is raised as `Failed`."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.incomplete"]
    sequence_number: int
    response: Response


class ItemEvent(TypedDict):
    """A message or a piece of reasoning began, or is whole."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    item: dict[str, Any]


class DeltaEvent(TypedDict):
    """Some more of the answer, of the model's reasoning, or of why it will not answer."""

    type: Literal["response.output_text.delta", "response.reasoning_text.delta", "response.refusal.delta"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str


class RouteEvent(TypedDict):
    """Which backend answers, and how many are ahead at it (0: it is this one's turn). Sent at each change."""

    type: Literal["streamlane:route"]
    response_id: str
    model: str
    backend: str
    queue_position: int


class QueueEvent(TypedDict):
    """All free quota is spent, and the request waits for some: its place in line, and seconds until another look."""

    type: Literal["streamlane:queue"]
    response_id: str
    position: int
    opens_in: float | None


class Share(TypedDict):
    """What the caller's key has used, and which part that is of what all keys have."""

    used: int
    part: float


class Pool(TypedDict):
    """An entry of /v1/quota: what is left of one limit of an account. Times are in RFC 3339."""

    id: str
    account: str
    provider: str
    model: str | None
    metric: str
    per: str | None
    cap: int
    used: int
    reserved: int
    left: int
    state: Literal["open", "spent", "closed"]
    opens_at: str | None
    resets_at: str | None
    lasts: bool | None
    spent_at: str | None
    resting: str | None
    rests_until: str | None
    free: bool
    terms: list[str]
    share: Share


class QuotaEvent(TypedDict):
    """The pools that an attempt has drawn on, or, without `backend`, those in the way of every one."""

    type: Literal["streamlane:quota"]
    response_id: str
    model: NotRequired[str]
    backend: NotRequired[str]
    pools: list[Pool]


Event: TypeAlias = ResponseEvent | ItemEvent | DeltaEvent | RouteEvent | QueueEvent | QuotaEvent


class Model(TypedDict):
    """An entry of /v1/models. What the gateway does not know is not there."""

    id: str
    owned_by: str
    targets: NotRequired[list[str]]
    context_length: NotRequired[int]
    capabilities: NotRequired[list[str]]
