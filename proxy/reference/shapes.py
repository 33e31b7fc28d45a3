"""The objects of the Responses API as they leave the gateway: a type for each, with exactly its members. Pure.

Nothing is built from these types: the composer writes the objects, tests hold what it wrote against them, and the
reference is made of them.
"""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Again: TypeAlias = Annotated[
    Annotated[int, Meta(ge=0)] | UnsetType, Meta(description="When another try makes sense, where that is known.")
]
QuotedText: TypeAlias = Annotated[str | UnsetType, Meta(description="What the provider quotes.")]


class Shape(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object with these members and no others."""


class InputTokensDetails(Shape, frozen=True, kw_only=True):
    """Of the input tokens."""

    cached_tokens: Count
    cache_write_tokens: Count


class OutputTokensDetails(Shape, frozen=True, kw_only=True):
    """Of the output tokens."""

    reasoning_tokens: Count


class Cost(Shape, frozen=True, kw_only=True):
    """What was paid for it. Only for who asked for our extensions."""

    usd_micros: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Millionths of a dollar; null where the price or the tokens are not known."),
    ]


class Usage(Shape, frozen=True, kw_only=True):
    """The tokens of a response."""

    input_tokens: Count
    input_tokens_details: InputTokensDetails
    output_tokens: Count
    output_tokens_details: OutputTokensDetails
    total_tokens: Count
    sl_estimated: Annotated[
        Literal[True] | UnsetType, Meta(description="The backend did not count, so the gateway did.")
    ] = UNSET
    sl_cost: Cost | UnsetType = UNSET


class TokenLogprob(Shape, frozen=True, kw_only=True):
    """A token that could have stood here."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TokenLogprob, frozen=True, kw_only=True):
    """A token of the answer, and the likeliest ones in its place."""

    top_logprobs: list[TokenLogprob]


class UrlCitation(Shape, frozen=True, kw_only=True, tag_field="type", tag="url_citation"):
    """A page that a piece of the text is from."""

    url: str
    title: str
    start_index: Count
    end_index: Count
    sl_text: QuotedText = UNSET


class FileCitation(Shape, frozen=True, kw_only=True, tag_field="type", tag="file_citation"):
    """A document, or a tool's result, that a piece of the text is from."""

    file_id: Annotated[str, Meta(description="The source's own id.")]
    filename: Annotated[str, Meta(description="Its title, or its id.")]
    index: Annotated[int, Meta(ge=0, description="Where the piece begins, in characters of the part.")]
    sl_end_index: Annotated[int, Meta(ge=0, description="Where it ends.")]
    sl_text: QuotedText = UNSET


class OutputText(Shape, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """Text of the answer."""

    text: str
    annotations: list[UrlCitation | FileCitation]
    logprobs: list[Logprob]


class RefusalPart(Shape, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """What the model said instead of an answer."""

    refusal: str


class ReasoningText(Shape, frozen=True, kw_only=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(Shape, frozen=True, kw_only=True, tag_field="type", tag="summary_text"):
    """A summary of what it thought, as the client sent it."""

    text: str


ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class OutputMessage(Shape, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """What the model says."""

    id: str
    role: Literal["assistant"]
    content: list[OutputText | RefusalPart]
    status: ItemStatus


class ReasoningItem(Shape, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thinks."""

    id: str
    summary: list[SummaryText]
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: Annotated[
        str | UnsetType, Meta(description="What its provider wants back: send the item as it is.")
    ] = UNSET
    status: ItemStatus


class FunctionCall(Shape, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """The model calls a function of the client's."""

    id: str
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    arguments: Annotated[str, Meta(description="JSON, as the model wrote it.")]
    status: ItemStatus


class CustomToolCall(Shape, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """The model calls a tool that takes free text."""

    id: str
    call_id: str
    name: str
    namespace: str | UnsetType = UNSET
    input: str
    status: ItemStatus


OutputItem: TypeAlias = OutputMessage | ReasoningItem | FunctionCall | CustomToolCall


class ResponseFailure(Shape, frozen=True, kw_only=True):
    """Why a response failed."""

    code: str
    message: str
    retry_after_ms: Again = UNSET


class IncompleteDetails(Shape, frozen=True, kw_only=True):
    """Why a response is not whole."""

    reason: str


class ReasoningConfig(Shape, frozen=True, kw_only=True):
    """As asked for."""

    effort: str | None
    summary: str | None


class Response(Shape, frozen=True, kw_only=True):
    """One response: what was asked, what came of it."""

    id: str
    object: Literal["response"]
    created_at: Annotated[int, Meta(description="Unix seconds.")]
    model: str
    status: Literal["in_progress", "completed", "incomplete", "cancelled", "failed"]
    output: list[OutputItem]
    usage: Usage | None
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    temperature: float | None
    top_p: float | None
    top_logprobs: Count
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    text: dict[str, Any]
    reasoning: ReasoningConfig
    truncation: Literal["disabled"]
    previous_response_id: str | None
    metadata: dict[str, str]
    background: bool
    store: bool


class QuotaShare(Shape, frozen=True, kw_only=True):
    """What the key that asks has used: in the last day, say, where a pool of a day refills all the time."""

    used: Count
    part: Annotated[float, Meta(ge=0, le=1, description="Of what all keys have used.")]


class QuotaPool(Shape, frozen=True, kw_only=True):
    """Something that is used up: what all callers have used of it together, and the caller's share."""

    object: Literal["quota.pool"]
    id: str
    account: Annotated[str, Meta(description="Also the name of its backend.")]
    provider: str
    model: Annotated[str | None, Meta(description="Null where it is for all models of the account.")]
    metric: Annotated[str, Meta(description="`requests`, `tokens`, `neurons`, `usd_micros` and so on.")]
    per: Annotated[
        str | None,
        Meta(description="`minute`, `day`, `5 hours` and so on; `ever` never resets, null counts what runs at once."),
    ]
    cap: Count
    margin: Annotated[int, Meta(ge=0, description="Of the cap, kept back.")]
    used: Count
    reserved: Annotated[int, Meta(ge=0, description="By requests that run.")]
    left: Annotated[int, Meta(ge=0, description="What would be granted now.")]
    state: Annotated[
        Literal["open", "spent", "closed"], Meta(description="`closed`: by the provider's word, whatever was counted.")
    ]
    opens_at: Annotated[str | None, Meta(description="When there is some again, in RFC 3339; null if there is.")]
    resets_at: Annotated[str | None, Meta(description="When there is all again; null if that is now, or never.")]
    lasts: Annotated[
        bool | None, Meta(description="Until it resets, at the pace of this window so far; null: no telling.")
    ]
    spent_at: Annotated[str | None, Meta(description="When it is spent at that pace, if it does not last.")]
    resting: Annotated[
        str | None,
        Meta(
            description="Why its account or model is not asked now, however much is left, and what to do; null: it is."
        ),
    ]
    rests_until: Annotated[
        str | None, Meta(description="When it is asked again; null if it is now, or no time ends it.")
    ]
    source: Annotated[
        str, Meta(description="Who told the cap: `catalog`, `configuration`, `header`, `refusal`, `api`.")
    ]
    as_of: Annotated[str | None, Meta(description="When that was true, of a catalog.")]
    confidence: Annotated[str | None, Meta(description="How sure that is, of a catalog: `high`, `medium`, `low`.")]
    observed_at: Annotated[str | None, Meta(description="When the provider last said something of it.")]
    terms: Annotated[list[str], Meta(description="What the provider's terms want one to know, such as `trains`.")]
    free: Annotated[bool, Meta(description="False: a budget for what costs money from the first request on.")]
    share: QuotaShare
    why: Annotated[
        str | UnsetType, Meta(description="Why it is in the way of a request: `spent`, `closed`, `too_large`, `kept` …")
    ] = UNSET


class Error(Shape, frozen=True, kw_only=True):
    """What happened, what was expected, what to do."""

    type: str
    code: Annotated[str, Meta(description="One of the error codes.")]
    message: str
    param: Annotated[str | None, Meta(description="The field that was wrong.")]
    retry_after_ms: Again = UNSET


class ErrorBody(Shape, frozen=True, kw_only=True):
    """Every refusal over HTTP, in OpenAI's shape."""

    error: Error
