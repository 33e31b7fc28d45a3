"""Cohere's API: the error that an answer means. Pure."""

import re
from collections.abc import Mapping

from backends.chat_errors import PER, amount, by_status, metric_of, on, retry_after
from backends.errors import (
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    QuotaExhausted,
    ServerFailed,
    UnsupportedFeature,
)
from backends.json import JsonError, loads
from backends.limits import Refused

TOO_LONG = re.compile(r"too many tokens")
NUMBERS = re.compile(r"cannot exceed (\d{1,9}) - received (\d{1,9})")
TOO_MUCH = re.compile(r"too many tokens: max tokens")  # of the answer
TRIAL = re.compile(  # what a trial key may do; the month is all of the account's, the minute is this model's
    r"(?P<limit>[\d,]{1,12})? ?(?:API )?(?P<what>calls|requests|tokens) ?(?:/|per) ?(?P<per>minute|month)"
)
OTHER_API = re.compile(r"is not supported by the (chat|embed) API")
API_FEATURE = {"chat": "answers to messages", "embed": "embeddings"}
PARAMS = {  # theirs, as a word of the message: ours
    "temperature": "temperature",
    "max_tokens": "max_output_tokens",
    "stop_sequences": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "k": "top_k",
    "p": "top_p",
    "tool_choice": "tool_choice",
    "tools": "tools",
    "response_format": "text.format",
    "thinking": "reasoning.effort",
    "output_dimension": "dimensions",
}
PARAM = re.compile(rf"\binvalid request: ({'|'.join(PARAMS)})\b")


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """The error that an answer means. `status` None: it came inside a 200. `now` is Unix time, for dates in headers.

    The body's words only choose the error; none of them enters it, but numbers of tokens and names of our own fields.
    """
    message = message_of(body)
    if status not in {401, 403, 429} and TOO_LONG.search(message):
        return too_long(message)
    refused = axis(message) if status in {402, 429} else None
    if status == 402 or (refused and refused.per == "month"):
        return on(QuotaExhausted(retry_after(headers, now)), refused)
    if found := OTHER_API.search(message):
        return UnsupportedFeature(API_FEATURE[found[1]])
    if status == 404 and "model" in message:
        return ModelNotFound(model)
    if status == 498:  # "a request or response contains a deny-listed token"
        return ContentFiltered()
    if status is None:
        return ServerFailed()
    found = PARAM.search(message)
    return on(by_status(status, PARAMS[found[1]] if found else None, retry_after(headers, now)), refused)


def axis(message: str) -> Refused | None:
    """The limit of a trial key that a refusal names."""
    found = TRIAL.search(message)
    if found is None:
        return None
    metric, per = metric_of(found["what"]), PER[found["per"][:3]]
    return Refused(metric, per, amount(found["limit"]), account=per == "month" or metric == "tokens")


def too_long(message: str) -> BackendError:
    """Of the prompt, or of the answer that was asked for."""
    if TOO_MUCH.search(message):
        return InvalidRequest(400, "max_output_tokens")
    found = NUMBERS.search(message)
    return ContextLengthExceeded(int(found[2]), int(found[1])) if found else ContextLengthExceeded()


def message_of(body: bytes) -> str:
    """What an error says; empty where it says nothing."""
    try:
        value = loads(body)
    except JsonError:
        return ""
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else ""
