"""HTTP beside the socket: models, health, refusals as JSON, and the second listener."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from backends.fake import FakeBackend
from proxy.ports import StartError
from tests.gateway import gateway

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
TWO = """
[[backends]]
name = "b"
kind = "fake"
models = ["two", "one", "both", "org/deep"]
context = 2048
[[backends]]
name = "a"
kind = "fake"
models = ["both"]
[models.fast]
targets = ["b/one", "a/both"]
"""


async def get(url: str, **options: Any) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.request(options.pop("method", "GET"), url, **options) as got:
        return got.status, await got.json(), got.headers


async def test_models_are_listed_aliases_first_then_in_the_configurations_order() -> None:
    async with gateway(TWO) as started:
        status, body, _ = await get(f"{started.base_url}/models")
    assert status == 200
    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["fast", "two", "one", "b/both", "org/deep", "a/both"]
    assert body["data"][0]["targets"] == ["b/one", "a/both"]
    assert body["data"][0]["owned_by"] == "streamlane"
    assert body["data"][1]["context_length"] == 2048
    assert body["data"][1]["owned_by"] == "b"
    assert "context_length" not in body["data"][-1]
    assert all(model["object"] == "model" and isinstance(model["created"], int) for model in body["data"])


async def test_live_and_ready_answer_on_both_listeners_without_a_key() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [FakeBackend("fake")]) as started:
        for url in (started.base_url.removesuffix("/v1"), started.ops_url):
            for route in ("live", "ready"):
                assert (await get(f"{url}/health/{route}"))[:2] == (200, {"status": "ok"})


async def test_every_other_route_needs_the_key() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [FakeBackend("fake")]) as started:
        for path in ("/models", "/responses", "/nothing"):
            status, body, headers = await get(started.base_url + path)
            assert (status, body["error"]["code"]) == (401, "invalid_api_key")
            assert headers["WWW-Authenticate"] == "Bearer"
            assert KEY not in str(body)
        status, _, _ = await get(f"{started.base_url}/models", headers={"Authorization": f"Bearer {KEY}"})
        assert status == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "host_not_allowed"),
        ({"Host": "127.0.0.1.evil.example"}, "host_not_allowed"),
        ({"Host": ""}, "host_not_allowed"),
        ({"Origin": "http://evil.example"}, "origin_not_allowed"),
        ({"Origin": "null"}, "origin_not_allowed"),
        ({"Origin": "http://localhost:1"}, "origin_not_allowed"),
        ({"Origin": "http://["}, "origin_not_allowed"),
    ],
)
async def test_foreign_pages_and_names_are_refused(headers: dict[str, str], code: str) -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        status, body, _ = await get(f"{started.base_url}/models", headers=headers)
    assert (status, body["error"]["code"]) == (403, code)


async def test_our_own_page_and_listed_names_are_let_in() -> None:
    text = 'server.allowed_hosts = ["llm.example", "other.example:8443"]\nserver.allowed_origins = ["https://chat.example"]'
    async with gateway(text, [FakeBackend("fake")]) as started:
        authority = started.base_url.split("/")[2]
        for headers in (
            {"Origin": f"http://{authority}"},
            {"Host": "llm.example:8080"},
            {"Host": "localhost"},
            {"Host": "other.example:8443"},
            {"Host": "[::1]:80"},
            {"Origin": "https://chat.example"},
        ):
            assert (await get(f"{started.base_url}/models", headers=headers))[0] == 200, headers


async def test_what_is_not_there_is_said_as_json() -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        status, body, _ = await get(f"{started.base_url}/nothing")
        assert (status, body["error"]["code"]) == (404, "not_found")
        status, body, headers = await get(f"{started.base_url}/models", method="POST")
        assert (status, body["error"]["code"], headers["Allow"]) == (405, "method_not_allowed", "GET, HEAD")
        status, body, _ = await get(f"{started.base_url}/responses")
        assert (status, body["error"]["code"]) == (426, "upgrade_required")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/v1/messages", "Leave /v1 out of the base URL: the client adds it by itself."),
        ("/responses", "Append /v1 to the base URL."),
        ("/chat/completions", "Append /v1 to the base URL."),
        ("/metrics", "Metrics are on the ops listener ([ops] port, 8766 unless it was changed)."),
        ("/nothing", "The API is under /v1, and described at /docs."),
    ],
)
async def test_a_path_that_is_nearly_right_is_told_what_is_wrong(path: str, said: str) -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        for method in ("GET", "POST"):
            status, body, _ = await get(started.base_url.removesuffix("/v1") + path, method=method)
            assert (status, body["error"]["message"]) == (404, f"There is nothing at this path. {said}")


async def test_a_taken_port_is_one_sentence() -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        port = started.base_url.split(":")[2].removesuffix("/v1")
        with pytest.raises(StartError) as refused:
            async with gateway(f"server.port = {port}", [FakeBackend("fake")]):
                pass
    reason = os.strerror(errno.EADDRINUSE)
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{port} ({reason}). "
        "Free the port, or set another server.port (--port, STREAMLANE_SERVER_PORT)."
    )


class Loading(FakeBackend):
    """Takes its time to start."""

    def __init__(self, loads: Callable[[], Awaitable[None]]) -> None:
        super().__init__("slow")
        self._loads = loads

    async def start(self) -> None:
        await self._loads()


async def test_a_taken_port_is_told_before_a_model_is_loaded() -> None:
    async def never() -> None:
        raise AssertionError("the model was loaded")

    async with gateway(backends=[FakeBackend("fake")]) as started:
        port = started.base_url.split(":")[2].removesuffix("/v1")
        with pytest.raises(StartError, match="cannot listen"):
            async with gateway(f"server.port = {port}", [Loading(never)]):
                pass


async def test_nobody_is_answered_while_a_model_loads() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    seen: list[str] = []

    async def loads() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)), socket.socket() as other:
            other.bind(("127.0.0.1", port))  # it is ours already
        seen.append("refused")

    async with gateway(f"server.port = {port}", [Loading(loads)]) as started:
        assert (await get(f"{started.base_url}/models"))[0] == 200
    assert seen == ["refused"]


async def test_a_name_of_loopback_is_listened_on_too() -> None:
    async with gateway('server.host = "localhost"', [FakeBackend("fake")]) as started:
        assert started.base_url.startswith("http://localhost:")
        assert (await get(f"{started.base_url}/models"))[0] == 200
