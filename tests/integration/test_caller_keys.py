"""Keys of the callers' own: by header over HTTP and on sockets, for one backend, and for what that connection asks."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from backends.request import Secret
from proxy.app import Gateway
from tests.gateway import client, connected, gateway, text_of
from tests.upstream import Script, Seen, Upstream, answer, plain, until

MINE = {"X-Streamlane-Key-Up": "sk-mine"}
VECTORS = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
APIS: dict[str, dict[str, Any]] = {
    "responses": {"model": "m", "input": "hi"},
    "responses/input_tokens": {"model": "m", "input": "hi"},
    "chat/completions": CHAT,
    "completions": {"model": "m", "prompt": "hi"},
    "messages": CHAT,
    "messages/count_tokens": {"model": "m", "messages": CHAT["messages"]},
    "embeddings": {"model": "m", "input": "hi"},
}


def served(seen: Seen) -> Script:
    """A server that takes only keys that begin with "sk-"."""
    if not seen.headers.get("authorization", "").startswith("Bearer sk-"):
        return plain(401, {"error": {"message": "no"}})
    if seen.path.endswith("/embeddings"):
        return plain(200, VECTORS)
    return plain(200, {"count": 3}) if seen.path.endswith("/tokenize") else answer("yes")


def keys_of(upstream: Upstream) -> list[str | None]:
    return [seen.headers.get("authorization") for seen in upstream.requests if seen.method == "POST"]


def backend(upstream: Upstream, source: str = "caller", name: str = "up", more: str = "") -> str:
    return f"""
[[backends]]
name = "{name}"
kind = "vllm"
base_url = "{upstream.url}"
key_source = "{source}"
models = ["m"]
{more}
"""


@asynccontextmanager
async def post(started: Gateway, path: str, body: object, headers: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{started.base_url}/{path}", json=body, headers=headers) as answered:
            yield answered


@pytest.mark.parametrize(("path", "body"), APIS.items(), ids=APIS)
async def test_the_callers_key_is_sent(path: str, body: dict[str, Any]) -> None:
    async with Upstream(default=served) as upstream, gateway(backend(upstream)) as started:
        async with post(started, path, body, MINE) as answered:
            assert answered.status == 200, await answered.text()
        assert keys_of(upstream) == ["Bearer sk-mine"]


@pytest.mark.parametrize("path", [path for path in APIS if "tokens" not in path])
async def test_without_one_the_caller_is_told_which_header_to_send(path: str) -> None:
    async with Upstream(default=served) as upstream, gateway(backend(upstream)) as started:
        async with post(started, path, APIS[path], {}) as answered:
            assert answered.status == 401
            assert "X-Streamlane-Key-up" in await answered.text()
        assert keys_of(upstream) == []


async def test_a_callers_key_that_is_refused_is_the_callers_business() -> None:
    async with Upstream(default=served) as upstream:
        more = 'api_key = "sk-ours"'
        async with gateway(backend(upstream, "hybrid", more=more)) as started:
            async with post(started, "responses", APIS["responses"], {"X-Streamlane-Key-up": "wrong-key"}) as answered:
                assert answered.status == 401
                error = (await answered.json())["error"]
            assert error["code"] == "backend_key_needed"
            assert "refused your key" in error["message"]
            assert "wrong-key" not in str(error)
            async with post(started, "responses", APIS["responses"], {}) as answered:
                assert answered.status == 200
        assert keys_of(upstream) == ["Bearer wrong-key", "Bearer sk-ours"]


async def test_a_key_is_for_one_backend_alone() -> None:
    def full(seen: Seen) -> Script:
        return plain(503, {}) if seen.method == "POST" else plain(200, {})  # it is well, and has no room

    async with Upstream(default=full) as busy, Upstream(default=served) as other:
        text = f"""
{backend(busy)}
{backend(other, "hybrid", "other", 'api_key = "sk-ours"')}
[models.both]
targets = ["up/m", "other/m"]
"""
        async with gateway(text) as started:
            async with post(started, "responses", {"model": "both", "input": "hi"}, MINE) as answered:
                assert answered.status == 200
        assert set(keys_of(busy)) == {"Bearer sk-mine"}
        assert keys_of(other) == ["Bearer sk-ours"]


LONGEST = "k" * 512
BAD: dict[str, tuple[list[tuple[str, str]], str]] = {
    "no such backend": ([("X-Streamlane-Key-nope", "sk-canary")], "X-Streamlane-Key-nope"),
    "one with keys of the gateway's": ([("X-Streamlane-Key-ours", "sk-canary")], "X-Streamlane-Key-ours"),
    "a key in the header's name": ([("X-Streamlane-Key-sk-canary-0123456789", "x")], "X-Streamlane-Key-NAME"),
    "empty": ([("X-Streamlane-Key-up", "")], "X-Streamlane-Key-up"),
    "a space": ([("X-Streamlane-Key-up", "sk canary")], "X-Streamlane-Key-up"),
    "not ASCII": ([("X-Streamlane-Key-up", "sk-canäry")], "X-Streamlane-Key-up"),
    "too long": ([("X-Streamlane-Key-up", f"{LONGEST}k")], "X-Streamlane-Key-up"),
}


@pytest.mark.parametrize(("headers", "named"), BAD.values(), ids=BAD)
async def test_a_header_that_cannot_be_right(headers: list[tuple[str, str]], named: str) -> None:
    async with Upstream(default=served) as upstream:
        text = backend(upstream) + backend(upstream, "gateway", "ours")
        async with gateway(text) as started, post(started, "chat/completions", CHAT, headers) as answered:
            error = (await answered.json())["error"]
        assert (answered.status, error["code"], error["param"]) == (400, "invalid_parameter", named)
        assert named in error["message"]
        assert "canary" not in error["message"]
        assert keys_of(upstream) == []


async def test_the_longest_key_that_is_taken() -> None:
    async with Upstream(default=lambda _: answer("yes")) as upstream, gateway(backend(upstream)) as started:
        async with post(started, "chat/completions", CHAT, {"X-Streamlane-Key-up": LONGEST}) as answered:
            assert answered.status == 200
        assert keys_of(upstream) == [f"Bearer {LONGEST}"]


# On sockets.


async def test_a_socket_brings_its_key_with_the_upgrade() -> None:
    async with Upstream(default=served) as upstream, gateway(backend(upstream)) as started:
        async with client(started, additional_headers=MINE) as one, client(started) as other:
            for _ in range(2):
                await one.create("m")
                assert text_of(await one.until()) == "yes"
            await other.create("m")
            failed = (await other.until())[-1]
        assert failed["response"]["error"]["code"] == "backend_key_needed"
        assert "X-Streamlane-Key-up" in failed["response"]["error"]["message"]
        assert keys_of(upstream) == ["Bearer sk-mine"] * 2


async def test_in_a_session_a_create_has_the_key_of_the_connection_that_sent_it() -> None:
    go = asyncio.Event()

    def held(seen: Seen) -> Script:
        if seen.method == "GET":
            return plain(404, {})
        first, *rest = answer("yes")
        return [first, go, *rest]

    session = "?sl_session=0123456789abcdef0123"
    async with Upstream(default=held) as upstream, gateway(backend(upstream)) as started:
        async with connected(started.base_url, session, additional_headers=MINE) as one:
            for text in ("first", "second"):  # the second waits for the first, on the same lane
                await one.create("m", text)
            await one.until("response.created")
        other = {"X-Streamlane-Key-up": "sk-other"}
        async with connected(started.base_url, session, additional_headers=other) as two:
            await two.create("m", "third")
            go.set()
            for _ in range(3):
                await two.until("response.completed")
        assert keys_of(upstream) == ["Bearer sk-mine", "Bearer sk-mine", "Bearer sk-other"]


async def test_what_continues_a_response_needs_a_key_of_its_own() -> None:
    async with Upstream(default=served) as upstream, gateway(backend(upstream)) as started:
        async with post(started, "responses", APIS["responses"], MINE) as answered:
            name = (await answered.json())["id"]
        for headers, status in (({}, 401), ({"X-Streamlane-Key-up": "sk-other"}, 200)):
            body = {**APIS["responses"], "previous_response_id": name}
            async with post(started, "responses", body, headers) as answered:
                assert answered.status == status
        assert keys_of(upstream) == ["Bearer sk-mine", "Bearer sk-other"]


async def test_a_key_is_gone_with_what_it_was_sent_for() -> None:
    """Neither a stored response, nor its log, nor what continues it holds on to the caller's key."""
    mine = {"X-Streamlane-Key-up": "sk-gone-after-the-request"}

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, Secret) and each.value == "sk-gone-after-the-request" for each in gc.get_objects())

    async with Upstream(default=served) as upstream, gateway(backend(upstream)) as started:
        for path, body in APIS.items():
            for more in ({}, {"stream": True}) if "tokens" not in path and path != "embeddings" else ({},):
                async with post(started, path, {**body, **more}, mine) as answered:
                    assert answered.status == 200
                    await answered.read()
        async with post(started, "responses", {**APIS["responses"], "background": True}, mine) as answered:
            name = (await answered.json())["id"]
        await until(lambda: started.generations.running == 0)
        async with post(started, "responses", {**APIS["responses"], "previous_response_id": name}, mine) as answered:
            assert answered.status == 200
        for query in ("", "?sl_session=0123456789abcdef0123"):
            async with connected(started.base_url, query, additional_headers=mine) as socket:
                await socket.create("m", event_id="one")
                await socket.until("response.completed")
                await socket.create("nope")
                await socket.until("error")
        await until(lambda: kept() == 0)
