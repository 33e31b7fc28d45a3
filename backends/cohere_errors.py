"""Cohere's API: the error that an answer means. Pure."""

import re
from collections.abc import Mapping

from backends.chat_errors import by_status, retry_after
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

TOO_LONG = re.compile(r"too many tokens")
NUMBERS = re.compile(r"cannot exceed (\d{1,9}) - received (\d{1,9})")
TOO_MUCH = re.compile(r"too many tokens: max tokens")  # of the answer
PER_MONTH = re.compile(r"calls / month|per month")  # a trial key's share of the month
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
    if status == 402 or (status == 429 and PER_MONTH.search(message)):
        return QuotaExhausted(retry_after(headers, now))
    if found := OTHER_API.search(message):
        return UnsupportedFeature(API_FEATURE[found[1]])
    if status == 404 and "model" in message:
        return ModelNotFound(model)
    if status == 498:  # "a request or response contains a deny-listed token"
        return ContentFiltered()
    if status is None:
        return ServerFailed()
    found = PARAM.search(message)
    return by_status(status, PARAMS[found[1]] if found else None, retry_after(headers, now))


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
