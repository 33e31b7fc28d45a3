"""The gateway's own keys: they take turns, one that is refused is left out, loudly, and files are followed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from backends import keys
from proxy import discovery
from proxy.app import Gateway
from tests.gateway import client, gateway
from tests.upstream import Script, Seen, Upstream, answer, plain


def served(*good: str) -> Any:
    """A server that takes these keys."""

    def script(seen: Seen) -> Script:
        if seen.headers.get("authorization", "").removeprefix("Bearer ") not in good:
            return plain(401, {"error": {"message": "no"}})
        return answer("yes")

    return script


def keys_of(upstream: Upstream) -> list[str]:
    return [seen.headers["authorization"].removeprefix("Bearer ") for seen in upstream.requests]


def backend(upstream: Upstream, own: str) -> str:
    return f"""
[[backends]]
name = "up"
kind = "openai_compatible"
base_url = "{upstream.url}"
models = ["m"]
{own}
"""


async def ask(started: Gateway) -> str:
    async with client(started) as socket:
        await socket.create("up/m")
        return str((await socket.until())[-1]["type"])


async def ops(started: Gateway, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{started.ops_url}/{path}") as answered:
        return await answered.text()


async def test_a_refused_key_is_told_and_left_out_while_another_answers_at_once() -> None:
    async with Upstream(default=served("sk-good")) as upstream:
        text = backend(upstream, 'api_keys = ["sk-gone", "sk-good"]')
        with capture_logs() as lines:
            async with gateway(text) as started:
                assert [await ask(started) for _ in range(3)] == ["response.completed"] * 3
                metrics, health = await ops(started, "metrics"), await ops(started, "health")
        assert keys_of(upstream) == ["sk-gone", "sk-good", "sk-good", "sk-good"]
    [line] = [line for line in lines if line["event"] == "key_refused"]
    assert (line["log_level"], line["backend"], line["key"], line["usable"]) == ("error", "up", 1, 1)
    assert line["again_in_s"] is None, "another is left"
    assert "sk-gone" not in str(lines)
    assert 'streamlane_keys{backend="up",state="usable"} 1.0' in metrics
    assert 'streamlane_keys{backend="up",state="refused"} 1.0' in metrics
    assert '"keys":{"usable":1,"refused":1}' in health
    origin = f"127.0.0.1:{upstream.port}"
    assert f'streamlane_backend_connections{{origin="{origin}",state="idle"}} 1.0' in metrics
    assert f'streamlane_backend_connects_total{{origin="{origin}",result="connected"}} 1.0' in metrics
    assert f'streamlane_backend_connections_reused_total{{origin="{origin}"}} 3.0' in metrics


async def test_when_all_are_refused_the_server_is_not_asked_any_more() -> None:
    async with Upstream(default=served()) as upstream:
        async with gateway(backend(upstream, 'api_keys = ["sk-1", "sk-2"]')) as started:
            assert [await ask(started) for _ in range(4)] == ["response.failed"] * 4
        assert sorted(keys_of(upstream)) == ["sk-1", "sk-2"]


async def test_a_refused_key_is_usable_again_once_the_server_has_answered_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "PAUSES", (0.0,))
    async with Upstream(plain(401, {}), default=served("sk-1")) as upstream:
        with capture_logs() as lines:
            async with gateway(backend(upstream, 'api_keys = ["sk-1"]')) as started:
                assert await ask(started) == "response.failed"
                assert 'streamlane_keys{backend="up",state="usable"} 0.0' in await ops(started, "metrics")
                health = json.loads(await ops(started, "health"))
                assert health["status"] == "unavailable"
                assert health["components"]["backends"]["up"]["status"] == "down"
                assert "refuses its key (HTTP 401)" in health["components"]["backends"]["up"]["reason"]
                assert await ask(started) == "response.completed"
                assert 'streamlane_keys{backend="up",state="usable"} 1.0' in await ops(started, "metrics")
                assert json.loads(await ops(started, "health"))["status"] == "ok"
    told = [line for line in lines if line["event"] in {"key_refused", "key_accepted"}]
    assert [line["event"] for line in told] == ["key_refused", "key_accepted"]
    assert told[0]["again_in_s"] == 5


async def test_one_401_to_the_list_of_models_is_over_as_soon_as_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "PAUSES", (0.0, 300.0))
    monkeypatch.setattr(discovery, "SOON", 0.01)
    listed = plain(200, {"data": [{"id": "m"}]})
    async with Upstream(plain(401, {}), default=lambda _: listed) as upstream:
        text = backend(upstream, 'api_key = "sk-1"').replace('models = ["m"]', "")
        async with gateway(text) as started, asyncio.timeout(20):
            while json.loads(await ops(started, "health"))["status"] != "ok":
                await asyncio.sleep(0.01)
        assert len(upstream.requests) == 2


async def test_a_backend_whose_first_key_is_wrong_starts_with_the_next() -> None:
    def script(seen: Seen) -> Script:
        good = seen.headers["authorization"] == "Bearer sk-good"
        return plain(200, {"data": [{"id": "m"}]}) if good else plain(401, {})

    async with Upstream(default=script) as upstream:
        own = 'api_keys = ["sk-wrong", "sk-good"]'
        text = backend(upstream, own).replace('models = ["m"]', "")
        async with gateway(text) as started:
            health = json.loads(await ops(started, "health"))
        assert keys_of(upstream) == ["sk-wrong", "sk-good"]
    assert health["components"]["backends"]["up"] == {
        "status": "up",
        "models": 1,
        "keys": {"usable": 1, "refused": 1},
    }


async def test_a_key_that_is_used_too_often_rests_while_another_answers_at_once() -> None:
    def script(seen: Seen) -> Script:
        spent = seen.headers["authorization"] == "Bearer sk-busy"
        return plain(429, {"error": {"message": "no"}}, "retry-after: 60") if spent else answer("yes")

    async with Upstream(default=script) as upstream:
        async with gateway(backend(upstream, 'api_keys = ["sk-busy", "sk-free"]')) as started:
            assert [await ask(started) for _ in range(3)] == ["response.completed"] * 3
        assert keys_of(upstream) == ["sk-busy", "sk-free", "sk-free", "sk-free"]


async def test_a_file_of_keys_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-old\n")
    async with Upstream(default=served("sk-new")) as upstream:
        with capture_logs() as lines:
            async with gateway(backend(upstream, f'api_key_file = "{file}"')) as started:
                assert await ask(started) == "response.failed"
                file.unlink()
                assert await ask(started) == "response.failed"
                file.write_text("sk-new\n")
                async with asyncio.timeout(20):  # the file is looked at once a second
                    while await ask(started) != "response.completed":
                        await asyncio.sleep(0.1)
        assert keys_of(upstream) == ["sk-old", "sk-new"]
    assert "sk-" not in str([line for line in lines if line["event"].startswith("key")])


async def test_a_key_that_was_not_filled_in_is_told_at_the_start() -> None:
    async with Upstream() as upstream:
        with capture_logs() as lines:
            async with gateway(backend(upstream, 'api_key = "your-api-key-here"')):
                pass
    [line] = [line for line in lines if line["event"] == "key_looks_like_a_placeholder"]
    assert (line["log_level"], line["backend"]) == ("warning", "up")
