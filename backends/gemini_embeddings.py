"""Gemini: the vectors in the answers of batchEmbedContents."""

import math
from array import array
from collections.abc import Sequence

import msgspec

from backends.base import Embeddings, Vector
from backends.chat_errors import count
from backends.errors import ProtocolViolation
from backends.json import SHAPE_ERRORS, decoder
from backends.unhurried import unhurried

BATCH = 100  # texts in one request; more are refused
LIMIT = 64 * 1024 * 1024  # bytes: 100 vectors of 3072 numbers, with much room


class Entry(msgspec.Struct):
    values: msgspec.Raw = msgspec.Raw(b"[]")  # read one by one: all at once would hold the loop


class Usage(msgspec.Struct):
    promptTokenCount: int | None = None  # noqa: N815  # as the API has it


class Answer(msgspec.Struct):
    embeddings: tuple[Entry, ...] = ()
    usageMetadata: Usage | None = None  # noqa: N815


answer_of = decoder(Answer)
numbers_of = msgspec.json.Decoder(list[float]).decode


async def vectors(bodies: Sequence[bytes], expected: int) -> Embeddings:
    """All vectors, in order, `expected` of them. Raises ProtocolViolation."""
    try:
        answers = [answer_of(body) for body in bodies]
    except SHAPE_ERRORS:
        raise ProtocolViolation("embeddings that are none") from None
    entries = [entry for answer in answers for entry in answer.embeddings]
    if len(entries) != expected:
        raise ProtocolViolation("not one vector per input")
    counts = [count(answer.usageMetadata.promptTokenCount) if answer.usageMetadata else None for answer in answers]
    known = [each for each in counts if each is not None]
    tokens = sum(known) if len(known) == len(answers) else None
    return Embeddings(await unhurried(vector_of(entry.values) for entry in entries), tokens)


def vector_of(raw: msgspec.Raw) -> Vector:
    """Raises ProtocolViolation."""
    try:
        vector = array("d", numbers_of(raw))
    except SHAPE_ERRORS:
        raise ProtocolViolation("embeddings that are none") from None
    if not vector or not math.isfinite(sum(vector)):
        raise ProtocolViolation("a vector that is none")
    return vector
