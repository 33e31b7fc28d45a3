"""Ollama's own API: the error that an answer means. Pure."""

import re
from collections.abc import Mapping

from backends import chat_errors
from backends.chat_errors import on, retry_after
from backends.errors import (
    BackendError,
    ContextLengthExceeded,
    ModelLoadFailed,
    NotReady,
    QuotaExhausted,
    UnsupportedFeature,
)
from backends.json import JsonError, dumps, loads
from backends.limits import Per, Refused

LACKS = re.compile(r"does not support (tools|thinking|vision|insert|multimodal|chat|generate|completion)")
LACKING = {  # their word: the feature, and the field that asks for it
    "tools": ("tools", "tools"),
    "thinking": ("reasoning", "reasoning.effort"),
    "vision": ("images", "input"),
    "multimodal": ("images", "input"),
    "insert": ("a suffix", "suffix"),
    "generate": ("raw completions", "prompt"),
    "chat": ("answers to messages", None),
    "completion": ("answers to messages", None),
}
CONTEXT = re.compile(r"input length exceeds (?:the|maximum) context length")
SPENT = re.compile(r"(?:(hourly|session|daily|weekly) )?usage limit")  # ollama.com; it does not say until when
PER: dict[str | None, Per] = {"hourly": "hour", "session": "hour", "daily": "day", "weekly": "week"}  # of five hours
NO_ROOM = re.compile(r"requires more system memory|llama runner|unable to load model|not enough memory")
LOADING = re.compile(r"loading model")


def classify(
    status: int | None, headers: Mapping[str, str], body: bytes, *, model: str = "", now: float = 0.0
) -> BackendError:
    """As chat_errors.classify, for a body that holds {"error": text}; the text may be JSON with an error of its own."""
    message = text_of_error(body)
    inner = text_of_error(message.encode()) if message.startswith("{") else ""
    text = inner or message
    if found := LACKS.search(text):
        return UnsupportedFeature(*LACKING[found[1]])
    if CONTEXT.search(text):
        return ContextLengthExceeded()
    if status in {402, 429} and (spent := SPENT.search(text)):
        return on(QuotaExhausted(retry_after(headers, now)), Refused(per=PER.get(spent[1], "hour"), account=True))
    if status is None or status >= 500:
        if LOADING.search(text):
            return NotReady(retry_after(headers, now))
        if NO_ROOM.search(text):
            return ModelLoadFailed(model)
    # llama.cpp's server inside it says the rest, and by its own error's members.
    told = message.encode() if inner else dumps({"error": message})
    return chat_errors.classify(status, headers, told, model=model, now=now)


def text_of_error(body: bytes) -> str:
    """What an error says; empty where it says nothing."""
    try:
        value = loads(body)
    except JsonError:
        return ""
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""
