"""Embeddings and counts of tokens over HTTP: what is asked, and what answers mean."""

import asyncio
import math
import struct
from array import array
from base64 import b64encode
from typing import Any

import pytest

from backends.base import Embeddings
from backends.embeddings_dialect import decode
from backends.errors import (
    BackendError,
    InvalidRequest,
    ModelNotFound,
    ProtocolViolation,
    ServerFailed,
    UnsupportedFeature,
)
from backends.http import Transport
from backends.json import dumps
from backends.openai_compatible import OpenAICompatible, Options
from backends.request import EmbeddingRequest, Prompt, Request, Tool, said
from backends.vllm import VLLM
from backends.vllm import Options as VllmOptions
from tests.upstream import CLOSE, Upstream, answer, plain

ASK = EmbeddingRequest("m", ("a", (1, 2)), dimensions=2)


def vectors(*indices: Any, usage: Any = None) -> bytes:
    data = [{"object": "embedding", "index": index, "embedding": [number, 0.5]} for number, index in enumerate(indices)]
    return dumps({"object": "list", "data": data, "usage": usage})


async def embedded(transport: Transport, body: bytes, status: int = 200) -> Embeddings:
    async with Upstream(plain(status, body)) as upstream:
        return await OpenAICompatible(Options(name="b", base_url=upstream.url), transport).embed(ASK)


async def test_what_is_asked(transport: Transport) -> None:
    async with Upstream(plain(200, vectors(0, 1))) as upstream:
        await OpenAICompatible(Options(name="b", base_url=upstream.url), transport).embed(ASK)
        [seen] = upstream.requests
    assert (seen.method, seen.path) == ("POST", "/v1/embeddings")
    assert seen.json() == {"model": "m", "input": ["a", [1, 2]], "encoding_format": "base64", "dimensions": 2}


async def test_a_server_that_refuses_base64_is_asked_for_numbers_from_then_on(transport: Transport) -> None:
    refusal = plain(400, {"error": {"message": "encoding_format"}})
    async with Upstream(refusal, plain(200, vectors(0, 1)), plain(200, vectors(0, 1))) as upstream:
        backend = OpenAICompatible(Options(name="b", base_url=upstream.url), transport)
        assert [*(await backend.embed(ASK)).vectors[1]] == [1.0, 0.5]
        await backend.embed(ASK)
        asked = [seen.json()["encoding_format"] for seen in upstream.requests]
    assert asked == ["base64", "float", "float"]


async def test_a_request_that_is_wrong_in_any_format_is_refused(transport: Transport) -> None:
    refusal = plain(400, {"error": {"message": "input is too short"}})
    async with Upstream(refusal, refusal) as upstream:
        with pytest.raises(InvalidRequest):
            await OpenAICompatible(Options(name="b", base_url=upstream.url), transport).embed(ASK)


async def test_vectors_as_base64(transport: Transport) -> None:
    shown = [b64encode(struct.pack("<2f", number, 0.5)).decode() for number in (0.0, 1.0)]
    found = await embedded(transport, dumps({"data": [{"index": at, "embedding": shown[at]} for at in (1, 0)]}))
    assert [[*vector] for vector in found.vectors] == [[0.0, 0.5], [1.0, 0.5]]


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_many_vectors_are_read_in_slices(encoding: str) -> None:
    numbers = array("f", [0.5]) * 1024
    shown = b64encode(numbers).decode() if encoding == "base64" else numbers.tolist()
    data = dumps({"data": [{"embedding": shown}] * 1024})
    reading = asyncio.create_task(decode(data, EmbeddingRequest("m", ("a",) * 1024)))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert len((await reading).vectors) == 1024
    assert turns > 2  # without slices: the one in which all of it is done, and the one in which that is seen


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (vectors(0, 1, usage={"prompt_tokens": 3}), Embeddings([array("d", [0.0, 0.5]), array("d", [1.0, 0.5])], 3)),
        (vectors(1, 0), Embeddings([array("d", [1.0, 0.5]), array("d", [0.0, 0.5])], None)),
        (
            vectors(None, None, usage={"prompt_tokens": "many"}),
            Embeddings([array("d", [0.0, 0.5]), array("d", [1.0, 0.5])], None),
        ),
    ],
)
async def test_vectors_in_the_order_of_the_inputs(transport: Transport, body: bytes, expected: Embeddings) -> None:
    assert await embedded(transport, body) == expected


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (vectors(0), 200, ProtocolViolation),
        (b"no JSON", 200, ProtocolViolation),
        (dumps({"data": [{"embedding": "no base64"}] * 2}), 200, ProtocolViolation),
        (dumps({"data": [{"embedding": "aGVsbG8="}] * 2}), 200, ProtocolViolation),  # five bytes are no float32
        (dumps({"data": [{"embedding": b64encode(struct.pack("<f", math.nan)).decode()}] * 2}), 200, ProtocolViolation),
        (dumps({"data": [{"embedding": [None]}] * 2}), 200, ProtocolViolation),
        (dumps({"data": [{"embedding": []}] * 2}), 200, ProtocolViolation),
        (dumps({"error": {"message": "broken"}}), 200, ServerFailed),
        (dumps({"error": {"message": "This server does not support embeddings."}}), 501, UnsupportedFeature),
        (dumps({"error": {"code": "model_not_found"}}), 404, ModelNotFound),
    ],
)
async def test_answers_that_hold_none(
    transport: Transport, body: bytes, status: int, error: type[BackendError]
) -> None:
    with pytest.raises(error):
        await embedded(transport, body, status)


@pytest.mark.parametrize(
    ("message", "feature", "param"),
    [
        ("image input is not supported - hint: if this is unexpected, …", "images", "input"),
        ("m is not a multimodal model", "images", "input"),
        ("registry.ollama.ai/library/m does not support tools", "tools", "tools"),
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "tools", "tools"),
        ("suffix is not currently supported", "a suffix", "suffix"),
    ],
)
async def test_what_a_server_cannot_do_is_told_apart(
    transport: Transport, message: str, feature: str, param: str
) -> None:
    async with Upstream(plain(400, {"error": {"message": message}})) as upstream:
        backend = OpenAICompatible(Options(name="b", base_url=upstream.url), transport)
        with pytest.raises(UnsupportedFeature) as caught:
            async with backend.stream(Request("m", (said("user", "Hi"),), 16)):
                pytest.fail("entered")
    assert (caught.value.feature, caught.value.param) == (feature, param)


async def test_a_raw_prompt_goes_elsewhere(transport: Transport) -> None:
    async with Upstream(answer("a")) as upstream:
        backend = OpenAICompatible(Options(name="b", base_url=upstream.url), transport)
        async with backend.stream(Request("m", (), 16, prompt=Prompt("Once"))) as batches:
            assert [event async for batch in batches for event in batch]
        [seen] = upstream.requests
    assert (seen.path, seen.json()["prompt"]) == ("/v1/completions", "Once")


async def test_vllm_counts_tokens(transport: Transport) -> None:
    async with Upstream(plain(200, {"count": 7, "tokens": [1] * 7}), plain(200, {"count": -1})) as upstream:
        backend = VLLM(VllmOptions(name="b", base_url=upstream.url), transport)
        request = Request("m", (said("user", "Hi"),), 16, tools=(Tool("clock"),))
        assert await backend.count_tokens(request) == 7
        with pytest.raises(ProtocolViolation):
            await backend.count_tokens(request)
        asked = upstream.requests[0]
    assert asked.path == "/tokenize"
    assert asked.json().keys() == {"model", "messages", "tools"}


async def test_closing_ends_a_request_for_vectors(transport: Transport) -> None:
    async with Upstream([CLOSE]) as upstream:
        with pytest.raises(BackendError):
            await OpenAICompatible(Options(name="b", base_url=upstream.url), transport).embed(ASK)
