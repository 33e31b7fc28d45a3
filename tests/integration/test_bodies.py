"""Bodies over HTTP: what is too large, too deep, cut short or encoded oddly is one clear error, inflated or not."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from tests.gateway import Gateway, answers, gateway

LIMIT = 4096
GOOD = json.dumps({"model": "fake", "input": "hi", "stream": True}).encode()


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(f"limits.max_frame_bytes = {LIMIT}", [answers()]) as running:
        yield running


async def post(running: Gateway, data: Any, **headers: str) -> tuple[int, str | None]:
    """The status, and the error's code."""
    headers = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{running.base_url}/responses", data=data, headers=headers) as got:
            return got.status, (await got.json())["error"]["code"] if got.status != 200 else None


def deflated(data: bytes) -> bytes:
    return zlib.compress(data)


def gzipped(data: bytes) -> bytes:
    """Without the time in it: these bytes name tests, and a name must be the same in every process."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("identity", bytes), ("gzip", gzipped), ("GZip", gzipped), ("deflate", deflated)],
)
async def test_a_body_may_be_compressed(running: Gateway, encoding: str, encode: Any) -> None:
    assert await post(running, encode(GOOD), Content_Encoding=encoding) == (200, None)


@pytest.mark.parametrize(
    ("data", "headers", "expected"),
    [
        (b"", {}, (400, "invalid_body")),
        (b"{", {}, (400, "invalid_body")),
        (b"[]", {}, (400, "invalid_body")),
        (b"null", {}, (400, "invalid_body")),
        (b"\xff{}", {}, (400, "invalid_body")),
        (b'{"input":' + b"[" * 100 + b"]" * 100 + b"}", {}, (400, "invalid_body")),
        (b" " * (LIMIT + 1), {}, (413, "request_too_large")),
        (gzipped(b" " * (LIMIT + 1)), {"Content_Encoding": "gzip"}, (413, "request_too_large")),
        (gzipped(b" " * 50_000_000), {"Content_Encoding": "gzip"}, (413, "request_too_large")),
        (gzipped(GOOD)[:-9], {"Content_Encoding": "gzip"}, (400, "invalid_body")),
        (gzipped(GOOD) + b"more", {"Content_Encoding": "gzip"}, (400, "invalid_body")),
        (GOOD, {"Content_Encoding": "gzip"}, (400, "invalid_body")),
        (GOOD, {"Content_Encoding": "br"}, (415, "unsupported_media_type")),
        (GOOD, {"Content_Encoding": "gzip, gzip"}, (415, "unsupported_media_type")),
        (GOOD, {"Content_Type": "text/plain"}, (415, "unsupported_media_type")),
        (GOOD, {"Content_Type": "application/x-www-form-urlencoded"}, (415, "unsupported_media_type")),
    ],
)
async def test_a_body_that_cannot_be_read_is_one_error(
    running: Gateway, data: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert await post(running, data, **headers) == expected
    assert await post(running, GOOD) == (200, None)  # and nothing else is harmed


async def test_the_largest_body_is_read(running: Gateway) -> None:
    padded = GOOD + b" " * (LIMIT - len(GOOD))
    assert await post(running, padded) == (200, None)
    assert await post(running, gzipped(padded), Content_Encoding="gzip") == (200, None)


async def test_a_body_in_chunks_is_bounded_while_it_comes(running: Gateway) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1024

    with suppress(aiohttp.ClientOSError):  # cut while it went on sending: refused all the same
        assert await post(running, endless()) == (413, "request_too_large")


async def test_chunks_that_are_none_are_refused(running: Gateway) -> None:
    host, port = running.base_url.removeprefix("http://").removesuffix("/v1").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/responses HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n{}\r\n")
    status = await reader.readline()
    writer.close()
    assert b" 400 " in status


@pytest.mark.parametrize("head", [{"X-Long": "x" * 9000}, {f"X-{number}": "x" for number in range(200)}])
async def test_headers_are_bounded(running: Gateway, head: dict[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{running.base_url}/models", headers=head) as got:
            assert (got.status, got.content_type) == (400, "application/json")
            error = (await got.json())["error"]
            assert error["code"] == "malformed_request"
            assert not any(name in error["message"] for name in ("xx", "X-")), "it may hold a key"
            assert got.headers["X-Request-Id"]
        async with session.get(f"{running.base_url}/models") as got:
            assert got.status == 200
