"""Embeddings, as the compatible servers take and give them."""

import binascii
import math
import sys
from array import array
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from backends.base import Embeddings, Vector
from backends.chat_errors import count
from backends.errors import ProtocolViolation
from backends.json import SHAPE_ERRORS, decoder
from backends.limits import NOTHING
from backends.provider_errors import classify
from backends.request import EmbeddingRequest
from backends.unhurried import unhurried

Format: TypeAlias = Literal["base64", "float"]


class Entry(msgspec.Struct):
    embedding: msgspec.Raw  # read one by one: all at once would hold the loop
    index: int | None = None


class Answer(msgspec.Struct):
    data: tuple[Entry, ...] | None = None
    usage: Any = None
    error: Any = None


answer_of = decoder(Answer)
numbers_of = msgspec.json.Decoder(str | list[float]).decode


def encode(request: EmbeddingRequest, encoding: Format = "base64") -> dict[str, Any]:
    """The body of a request. OpenAI's SDKs ask for base64 by themselves, and it is read in a tenth of the time."""
    body: dict[str, Any] = {"model": request.model, "input": request.inputs, "encoding_format": encoding}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


async def decode(data: bytes, request: EmbeddingRequest, limits: Mapping[str, str] = NOTHING) -> Embeddings:
    """The vectors in `data`, in either format, with the `limits` of that answer.

    Raises ProtocolViolation, and what an error inside it means.
    """
    try:
        answer = answer_of(data)
    except SHAPE_ERRORS:
        raise ProtocolViolation("embeddings that are none") from None
    if answer.error:
        raise classify(None, {}, data, model=request.model)
    entries = answer.data or ()
    if all(entry.index is not None for entry in entries):
        entries = tuple(sorted(entries, key=lambda entry: entry.index or 0))
    if len(entries) != len(request.inputs):
        raise ProtocolViolation("not one vector per input")
    vectors = await unhurried(vector_of(entry.embedding) for entry in entries)
    tokens = count(answer.usage.get("prompt_tokens")) if isinstance(answer.usage, dict) else None
    return Embeddings(vectors, tokens, limits)


def vector_of(raw: msgspec.Raw) -> Vector:
    """One vector: a list of numbers, or base64 of little-endian float32. Raises ProtocolViolation."""
    try:
        given = numbers_of(raw)
        vector = packed(given) if isinstance(given, str) else array("d", given)
    except (*SHAPE_ERRORS, ValueError):  # of binascii too, and of bytes that are no floats
        raise ProtocolViolation("embeddings that are none") from None
    if not vector or not math.isfinite(sum(vector)):
        raise ProtocolViolation("a vector that is none")
    return vector


def packed(text: str) -> Vector:
    """Raises ValueError."""
    vector = array("f")
    vector.frombytes(binascii.a2b_base64(text, strict_mode=True))
    if sys.byteorder == "big":
        vector.byteswap()
    return vector
