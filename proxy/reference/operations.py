"""The routes under /v1: one row each, with what it takes, what it answers and which errors it may give. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

from msgspec import Struct

from backends.errors import BackendError
from proxy import errors
from proxy.reference import answers, requests
from proxy.reference.queue_shapes import Queue
from proxy.reference.requests import Asked
from proxy.reference.shapes import Response
from proxy.wire_errors import WIRE

Method = Literal["get", "post", "delete"]
Errors = tuple[type[Exception], ...]

ALWAYS: Errors = (errors.Unauthorized, errors.ForbiddenOrigin, errors.ForbiddenHost)
BODY: Errors = (errors.BadBody, errors.BodyTooLarge, errors.UnsupportedMediaType, errors.BadParameter)
MODEL: Errors = (errors.UnknownModel, errors.AmbiguousModel, errors.UnknownRouter, errors.NoModelFits)
PREVIOUS: Errors = (errors.UnknownPrevious, errors.PreviousNotEnded, errors.ConversationTooLong)
BACKEND: Errors = tuple(each for each in WIRE if issubclass(each, BackendError))
GENERATE: Errors = (
    *BODY,
    errors.Unsupported,
    *MODEL,
    *BACKEND,
    errors.TooManyRunning,
    errors.ResponseCancelled,
    errors.Draining,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something in the path or the query."""

    name: str
    about: str
    schema: dict[str, Any]
    place: Literal["path", "query"] = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. `stream` says what comes as server-sent events, where that can be asked for."""

    method: Method
    path: str
    name: str
    group: str
    summary: str
    about: str = ""
    asked: Asked | None = None
    answer: type[Struct] | None
    stream: str = ""
    parameters: tuple[Parameter, ...] = ()
    errors: Errors = ()
    plain: tuple[tuple[int, str, str], ...] = ()  # errors of HTTP itself: status, code, when

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others."""
        return self.method, self.path


RESPONSE_ID = Parameter(
    name="response_id",
    about="The response. It must have been made with the same key.",
    schema={"type": "string", "minLength": 1},
    place="path",
)
NOT_FOUND = (404, "not_found", "There is nothing at this path.")
SSE_ERRORS = (
    "Headers leave with the first content, or after 10 seconds; until then a failure is an error with its status. "
    "A stream that says nothing for 10 seconds sends a comment."
)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="post",
        path="/v1/responses",
        name="createResponse",
        group="Responses",
        summary="Create a response.",
        about="As JSON when it has ended, with `stream` as events, with `background` at once, to be fetched later.",
        asked=requests.RESPONSES,
        answer=Response,
        stream="The [events of a response](#events), each as `event: TYPE` and `data: {…}`, without `stream_id`; "
        f"the terminal one is the last. {SSE_ERRORS}",
        errors=(*GENERATE, *PREVIOUS),
    ),
    Operation(
        method="get",
        path="/v1/responses",
        name="connect",
        group="Responses",
        summary="Open a socket.",
        about="A WebSocket upgrade. [Its events](#events).",
        answer=None,
        parameters=(
            Parameter(name="sl_ext", about="`1`: also send what OpenAI does not define.", schema={"type": "string"}),
            Parameter(
                name="sl_session",
                about="The key of a session, which outlives its connection: make up a random one.",
                schema={"type": "string", "pattern": "^[A-Za-z0-9_-]{16,128}$"},
            ),
            Parameter(
                name="sl_after",
                about="The last `sl_seq` that arrived, for who comes back to a session; 0 when nothing did.",
                schema={"type": "integer", "minimum": 0},
            ),
            Parameter(name="ticket", about="From `POST /v1/ws-tickets`.", schema={"type": "string"}),
        ),
        errors=(
            errors.BadParameter,
            errors.BadSessionKey,
            errors.InvalidTicket,
            errors.TooManySessions,
            errors.Draining,
        ),
        plain=((426, "upgrade_required", "The request is no WebSocket upgrade."),),
    ),
    Operation(
        method="post",
        path="/v1/responses/input_tokens",
        name="countInputTokens",
        group="Responses",
        summary="Count the tokens of a prompt.",
        about="Counted by the backend where it can, else estimated, and marked so.",
        asked=requests.RESPONSES,
        answer=answers.InputTokens,
        errors=(*BODY, errors.Unsupported, *MODEL, *PREVIOUS, *BACKEND),
    ),
    Operation(
        method="get",
        path="/v1/responses/{response_id}",
        name="getResponse",
        group="Responses",
        summary="Get a response.",
        about="As it is now; with `stream=true` its events, those that were and those to come.",
        answer=Response,
        stream="As for `POST /v1/responses`.",
        parameters=(
            RESPONSE_ID,
            Parameter(name="stream", about="`true` for events.", schema={"type": "string"}),
            Parameter(
                name="starting_after",
                about="Only events whose `sequence_number` is higher.",
                schema={"type": "integer", "minimum": 0},
            ),
        ),
        errors=(errors.UnknownResponse, errors.BadParameter, errors.EventsGone),
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="delete",
        path="/v1/responses/{response_id}",
        name="deleteResponse",
        group="Responses",
        summary="Delete a response.",
        about="One that runs is cancelled.",
        answer=answers.Deleted,
        parameters=(RESPONSE_ID,),
        errors=(errors.UnknownResponse, errors.StoreFailed),
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="delete",
        path="/v1/responses",
        name="deleteResponses",
        group="Responses",
        summary="Delete every response of the key.",
        about="All that was asked with the key that this is asked with; those that run are cancelled.",
        answer=answers.DeletedAll,
        errors=(errors.StoreFailed,),
    ),
    Operation(
        method="post",
        path="/v1/responses/{response_id}/cancel",
        name="cancelResponse",
        group="Responses",
        summary="Cancel a response.",
        about="However it was asked for. One that has ended stays as it is.",
        answer=Response,
        parameters=(RESPONSE_ID,),
        errors=(errors.UnknownResponse,),
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="get",
        path="/v1/responses/{response_id}/input_items",
        name="listInputItems",
        group="Responses",
        summary="List what was asked.",
        answer=answers.InputItems,
        parameters=(
            RESPONSE_ID,
            Parameter(name="after", about="The id of the item before the page.", schema={"type": "string"}),
            Parameter(
                name="limit",
                about="How many; 20 by default.",
                schema={"type": "integer", "minimum": 1, "maximum": 100},
            ),
            Parameter(name="order", about="Newest first by default.", schema={"enum": ["asc", "desc"]}),
        ),
        errors=(errors.UnknownResponse, errors.BadParameter),
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="post",
        path="/v1/chat/completions",
        name="createChatCompletion",
        group="Chat completions",
        summary="Create a chat completion.",
        asked=requests.CHAT,
        answer=answers.ChatCompletion,
        stream="OpenAI's `chat.completion.chunk` objects, each as `data: {…}`, then `data: [DONE]`. A failure in the "
        f'middle is `data: {{"error": {{…}}}}`, and the end. {SSE_ERRORS}',
        errors=GENERATE,
    ),
    Operation(
        method="post",
        path="/v1/completions",
        name="createCompletion",
        group="Chat completions",
        summary="Continue a raw text.",
        asked=requests.COMPLETIONS,
        answer=answers.Completion,
        stream="`text_completion` objects, as for chat completions.",
        errors=GENERATE,
    ),
    Operation(
        method="post",
        path="/v1/messages",
        name="createMessage",
        group="Anthropic's messages",
        summary="Create a message.",
        asked=requests.MESSAGES,
        answer=answers.Message,
        stream="Anthropic's events, from `message_start` to `message_stop`; a failure in the middle is an `error` "
        f"event, and the end. {SSE_ERRORS}",
        errors=GENERATE,
    ),
    Operation(
        method="post",
        path="/v1/messages/count_tokens",
        name="countMessageTokens",
        group="Anthropic's messages",
        summary="Count the tokens of a prompt.",
        about="Counted by the backend where it can, else estimated, and marked so.",
        asked=requests.COUNT,
        answer=answers.CountedTokens,
        errors=(*BODY, errors.Unsupported, *MODEL, *BACKEND),
    ),
    Operation(
        method="post",
        path="/v1/embeddings",
        name="createEmbeddings",
        group="Embeddings and models",
        summary="Turn texts into vectors.",
        asked=requests.EMBEDDINGS,
        answer=answers.Embeddings,
        errors=(*BODY, errors.Unsupported, *MODEL, *BACKEND, errors.Draining),
    ),
    Operation(
        method="get",
        path="/v1/models",
        name="listModels",
        group="Embeddings and models",
        summary="List the models.",
        answer=answers.Models,
    ),
    Operation(
        method="get",
        path="/v1/models/{id}",
        name="getModel",
        group="Embeddings and models",
        summary="Get a model.",
        answer=answers.Model,
        parameters=(
            Parameter(
                name="id",
                about="As in the list, or BACKEND/ID. Slashes may stand as they are.",
                schema={"type": "string", "minLength": 1},
                place="path",
            ),
        ),
        errors=MODEL,
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="get",
        path="/v1/quota",
        name="getQuota",
        group="Quota",
        summary="See what is left.",
        about="Every pool of the configured accounts: what all callers have used of it together, and the share of the "
        "key that asks. Without accounts the list is empty.",
        answer=answers.Quota,
    ),
    Operation(
        method="get",
        path="/v1/queue",
        name="getQueue",
        group="Queue",
        summary="See how busy the backends are.",
        about="What each backend bears at once, how many run and wait there, and the requests of the key that asks "
        "which wait. Of other keys there are numbers only.",
        answer=Queue,
    ),
    Operation(
        method="post",
        path="/v1/feedback",
        name="rateAnswer",
        group="Feedback",
        summary="Say whether an answer was good.",
        about="Only of an answer whose model the gateway chose. The newest word counts. The operator can let the "
        "router learn from it.",
        asked=requests.FEEDBACK,
        answer=answers.Feedback,
        errors=(*BODY, *MODEL, errors.Unsupported, errors.NothingToRate, errors.TooMuchFeedback, errors.StoreFailed),
    ),
    Operation(
        method="delete",
        path="/v1/feedback/{response_id}",
        name="takeBackFeedback",
        group="Feedback",
        summary="Take a rating back.",
        answer=answers.FeedbackTakenBack,
        parameters=(RESPONSE_ID,),
        errors=(errors.Unsupported, errors.NothingToRate, errors.StoreFailed),
        plain=(NOT_FOUND,),
    ),
    Operation(
        method="post",
        path="/v1/ws-tickets",
        name="createTicket",
        group="Responses",
        summary="Get a ticket for one socket.",
        about="For pages, which cannot set a header on a socket.",
        answer=answers.Ticket,
        errors=(errors.Draining,),
    ),
)
