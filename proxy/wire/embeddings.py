"""Embeddings: from JSON to what a backend is asked, and its vectors back. Pure.

https://platform.openai.com/docs/api-reference/embeddings. OpenAI's SDKs ask for base64 by themselves.
"""

import sys
from array import array
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from backends.json import dumps
from backends.request import NOTHING, EmbeddingRequest
from proxy.errors import BadParameter
from proxy.wire.convert import convert
from proxy.wire.fields import check_names
from proxy.wire.usage import BYTES_PER_TOKEN

IGNORED = frozenset({"user"})


class Body(Struct, frozen=True, kw_only=True):
    """The members that have an effect. 2,048 inputs are OpenAI's bound."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=1_000_000)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=16_384)] | None = None  # no model has more


KNOWN = IGNORED | set(Body.__struct_fields__)
MOST_INPUTS = 2048
Tokens = list[Annotated[int, Meta(ge=0, le=2**31)]]


def parse_embeddings(body: object) -> tuple[EmbeddingRequest, bool]:
    """What to embed, and whether the client wants base64. Raises BadParameter."""
    fields = convert(check_names(body, KNOWN), Body, "")
    request = EmbeddingRequest(fields.model, inputs(fields.input), fields.dimensions)
    return request, fields.encoding_format == "base64"


def inputs(given: str | list[Any]) -> tuple[str | tuple[int, ...], ...]:
    """One text, several, the token ids of one, or of several."""
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    if len(given) > MOST_INPUTS:
        raise BadParameter(f"'input' must hold at most {MOST_INPUTS} texts. Send several requests.", "input")
    read: list[str | tuple[int, ...]] = []
    for index, each in enumerate(given):
        one = each if isinstance(each, str) else tuple(convert(each, Tokens, f"input[{index}]"))
        if not one:
            raise BadParameter(f"'input[{index}]' must not be empty.", f"input[{index}]")
        read.append(one)
    return tuple(read)


def embedding_objects(vectors: Sequence["array[float]"], *, base64: bool) -> Iterator[bytes]:
    """The answer's `data` as JSON, one vector at a time, with the comma before it: all of them may take a second."""
    for index, vector in enumerate(vectors):
        shown = packed(vector) if base64 else vector.tolist()
        one = dumps({"object": "embedding", "index": index, "embedding": shown})
        yield b"," + one if index else one


def embeddings_body(
    request: EmbeddingRequest, data: Sequence[bytes], input_tokens: int | None, more: Mapping[str, object] = NOTHING
) -> bytes:
    """The whole answer as JSON, with `more` in its usage. `input_tokens` None is estimated, and marked so."""
    tokens = estimate(request) if input_tokens is None else input_tokens
    usage: dict[str, Any] = {"prompt_tokens": tokens, "total_tokens": tokens, **more}
    if input_tokens is None:
        usage["sl_estimated"] = True
    rest = dumps({"model": request.model, "usage": usage})
    return b"".join((b'{"object":"list","data":[', *data, b"],", rest[1:]))


def packed(vector: "array[float]") -> str:
    """A vector as base64 of little-endian float32."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return b64encode(floats).decode()


def estimate(request: EmbeddingRequest) -> int:
    """Tokens of the inputs: token ids are counted, texts by their bytes."""
    return sum(
        len(each) if isinstance(each, tuple) else -(-len(each.encode(errors="replace")) // BYTES_PER_TOKEN)
        for each in request.inputs
    )
