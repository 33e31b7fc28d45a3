"""What the other APIs answer over HTTP: a type for each, with exactly its members. Pure. See shapes.py."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from proxy.reference.queue_shapes import Queue
from proxy.reference.shapes import Cost, Count, QuotaPool, Response, Shape

Estimated: TypeAlias = Annotated[
    Literal[True] | UnsetType, Meta(description="The backend did not count, so the gateway did.")
]


class Deleted(Shape, frozen=True, kw_only=True):
    """A response that is forgotten."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class DeletedAll(Shape, frozen=True, kw_only=True):
    """How many stored responses are forgotten."""

    object: Literal["responses.deleted"]
    deleted: Annotated[int, Meta(ge=0)]


class Feedback(Shape, frozen=True, kw_only=True):
    """What is kept of a rating."""

    object: Literal["feedback"]
    response_id: str
    rating: Literal["up", "down"]
    preferred_model: str | None


class FeedbackTakenBack(Shape, frozen=True, kw_only=True):
    """A rating that is forgotten."""

    object: Literal["feedback"]
    response_id: str
    deleted: Literal[True]


class InputTokens(Shape, frozen=True, kw_only=True):
    """How long a prompt is."""

    object: Literal["response.input_tokens"]
    input_tokens: Count
    sl_estimated: Estimated = UNSET


class InputItems(Shape, frozen=True, kw_only=True):
    """A page of what was asked."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class CachedTokens(Shape, frozen=True, kw_only=True):
    """Of the prompt's tokens."""

    cached_tokens: Count


class ReasoningTokens(Shape, frozen=True, kw_only=True):
    """Of the answer's tokens."""

    reasoning_tokens: Count


class ChatUsage(Shape, frozen=True, kw_only=True):
    """The tokens of all choices."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens
    sl_estimated: Estimated = UNSET
    sl_cost: Cost | UnsetType = UNSET


class CalledFunction(Shape, frozen=True, kw_only=True):
    """A function that the model calls."""

    name: str
    arguments: str


class CalledCustom(Shape, frozen=True, kw_only=True):
    """A tool of free text that the model calls."""

    name: str
    input: str


class ChatFunctionCall(Shape, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A call of a function."""

    id: str
    function: CalledFunction


class ChatCustomCall(Shape, frozen=True, kw_only=True, tag_field="type", tag="custom"):
    """A call of a custom tool."""

    id: str
    custom: CalledCustom


class ReasoningDetail(Shape, frozen=True, kw_only=True):
    """Reasoning with what its provider wants back: send it as it is."""

    type: Literal["reasoning.text", "reasoning.encrypted"]
    text: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    data: str | UnsetType = UNSET
    id: Annotated[str, Meta(description="Of the tool call that it stands before, else its own.")]
    format: Literal["unknown"]
    index: Count


class CitedUrl(Shape, frozen=True, kw_only=True):
    """A source, and the characters of the content that are from it."""

    url: Annotated[str, Meta(description="Or the id of a document, or of a tool's result.")]
    title: str
    start_index: Count
    end_index: Count


class ChatCitation(Shape, frozen=True, kw_only=True):
    """A source of the content."""

    type: Literal["url_citation"]
    url_citation: CitedUrl


class ChatMessage(Shape, frozen=True, kw_only=True):
    """What the model says."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: list[ReasoningDetail] | UnsetType = UNSET
    annotations: list[ChatCitation] | UnsetType = UNSET
    tool_calls: list[ChatFunctionCall | ChatCustomCall] | UnsetType = UNSET


class ChatToken(Shape, frozen=True, kw_only=True):
    """A token that could have stood here."""

    token: str
    logprob: float
    bytes: list[int]


class ChatLogprob(ChatToken, frozen=True, kw_only=True):
    """A token of the answer, and the likeliest ones in its place."""

    top_logprobs: list[ChatToken]


class ChatLogprobs(Shape, frozen=True, kw_only=True):
    """Those of the whole answer."""

    content: list[ChatLogprob]
    refusal: None


class ChatChoice(Shape, frozen=True, kw_only=True):
    """One of `n` answers."""

    index: Count
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"]


class ChatCompletion(Shape, frozen=True, kw_only=True):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[ChatChoice]
    usage: ChatUsage | None


class LegacyLogprobs(Shape, frozen=True, kw_only=True):
    """Lists side by side, one entry per token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Shape, frozen=True, kw_only=True):
    """One of the answers."""

    index: Count
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"]


class Completion(Shape, frozen=True, kw_only=True):
    """A completion of raw text."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[CompletionChoice]
    usage: ChatUsage | None


class Embedding(Shape, frozen=True, kw_only=True):
    """One vector."""

    object: Literal["embedding"]
    index: Count
    embedding: Annotated[list[float] | str, Meta(description="As base64: little-endian float32.")]


class EmbeddingUsage(Shape, frozen=True, kw_only=True):
    """The tokens of all inputs."""

    prompt_tokens: Count
    total_tokens: Count
    sl_estimated: Estimated = UNSET
    sl_cost: Cost | UnsetType = UNSET


class Embeddings(Shape, frozen=True, kw_only=True):
    """One vector per input."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Model(Shape, frozen=True, kw_only=True):
    """A name that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Annotated[str, Meta(description="The backend; `streamlane` for an alias.")]
    targets: Annotated[list[str] | UnsetType, Meta(description="Where an alias leads, in order.")] = UNSET
    context_length: Annotated[int | UnsetType, Meta(description="In tokens, where it is known.")] = UNSET
    max_output_tokens: Annotated[
        int | UnsetType, Meta(description="Of its longest answer, where that is known; longer wishes are cut to it.")
    ] = UNSET
    capabilities: Annotated[
        dict[str, bool] | UnsetType, Meta(description="What it can do, and what it cannot, where that is known.")
    ] = UNSET


class Models(Shape, frozen=True, kw_only=True):
    """Every name that can be asked for, in the configuration's order."""

    object: Literal["list"]
    data: list[Model]


class Quota(Shape, frozen=True, kw_only=True):
    """Every pool, in order of account and model."""

    object: Literal["list"]
    data: list[QuotaPool]


class Ticket(Shape, frozen=True, kw_only=True):
    """Opens one socket, as `?ticket=TICKET`."""

    object: Literal["ws_ticket"]
    ticket: str
    expires_in: Annotated[int, Meta(description="Seconds.")]


class MessageUsage(Shape, frozen=True, kw_only=True):
    """Tokens as Anthropic counts them: the input without what came from a cache."""

    input_tokens: Count
    cache_creation_input_tokens: Count
    cache_read_input_tokens: Count
    output_tokens: Count
    sl_estimated: Estimated = UNSET
    sl_cost: Cost | UnsetType = UNSET


class WebCitation(Shape, frozen=True, kw_only=True, tag_field="type", tag="web_search_result_location"):
    """A page that the text is from."""

    cited_text: str
    url: str
    title: str | None
    encrypted_index: str


class SearchCitation(Shape, frozen=True, kw_only=True, tag_field="type", tag="search_result_location"):
    """A document, or a tool's result, that the text is from."""

    cited_text: str
    source: str
    title: str
    search_result_index: Count
    start_block_index: Count
    end_block_index: Count


class TextBlock(Shape, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Text."""

    text: str
    citations: list[WebCitation | SearchCitation] | UnsetType = UNSET


class ThinkingBlock(Shape, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What the model thought. The signature is empty where its provider wants nothing back."""

    thinking: str
    signature: str


class SealedThinkingBlock(Shape, frozen=True, kw_only=True, tag_field="type", tag="redacted_thinking"):
    """What only its provider can read: send it back as it is."""

    data: str


class ToolUseBlock(Shape, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call of a tool."""

    id: str
    name: str
    input: dict[str, Any]


class Message(Shape, frozen=True, kw_only=True):
    """A message in Anthropic's shape."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextBlock | ThinkingBlock | SealedThinkingBlock | ToolUseBlock]
    stop_reason: Literal["end_turn", "max_tokens", "tool_use", "refusal"]
    stop_sequence: None
    usage: MessageUsage


class CountedTokens(Shape, frozen=True, kw_only=True):
    """How long a prompt is."""

    input_tokens: Count
    sl_estimated: Estimated = UNSET


class MessagesErrorDetail(Shape, frozen=True, kw_only=True):
    """What happened, in Anthropic's words."""

    type: str
    message: str


class MessagesError(Shape, frozen=True, kw_only=True):
    """Every refusal under /v1/messages, in Anthropic's shape."""

    type: Literal["error"]
    error: MessagesErrorDetail
    request_id: str | None


ANSWERS = (
    Response, Deleted, DeletedAll, InputTokens, InputItems, ChatCompletion, Completion, Embeddings, Models, Model,
    Ticket, Quota, Queue, Message, CountedTokens, Feedback, FeedbackTakenBack,
)  # fmt: skip
