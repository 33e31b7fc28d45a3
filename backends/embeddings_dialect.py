"""Embeddings, as the compatible servers take and give them."""

from typing import Any

import msgspec

from backends.base import Embeddings
from backends.chat_errors import classify, count
from backends.errors import ProtocolViolation
from backends.json import SHAPE_ERRORS, decoder
from backends.request import EmbeddingRequest


class Vector(msgspec.Struct):
    embedding: tuple[float, ...]
    index: int | None = None


class Answer(msgspec.Struct):
    data: tuple[Vector, ...] | None = None
    usage: Any = None
    error: Any = None


answer_of = decoder(Answer)


def encode(request: EmbeddingRequest) -> dict[str, Any]:
    """The body of a request."""
    body: dict[str, Any] = {"model": request.model, "input": request.inputs, "encoding_format": "float"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def decode(data: bytes, request: EmbeddingRequest) -> Embeddings:
    """The vectors in `data`. Raises ProtocolViolation, and what an error inside it means."""
    try:
        answer = answer_of(data)
    except SHAPE_ERRORS:
        raise ProtocolViolation("embeddings that are none") from None
    if answer.error:
        raise classify(None, {}, data, model=request.model)
    vectors = answer.data or ()
    if all(vector.index is not None for vector in vectors):
        vectors = tuple(sorted(vectors, key=lambda vector: vector.index or 0))
    if len(vectors) != len(request.inputs) or not all(vector.embedding for vector in vectors):
        raise ProtocolViolation("not one vector per input")
    tokens = count(answer.usage.get("prompt_tokens")) if isinstance(answer.usage, dict) else None
    return Embeddings(tuple(vector.embedding for vector in vectors), tokens)
