"""The JavaScript client in Node: each of its promises, against a gateway."""

import asyncio
import json
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.conftest import NODE
from tests.gateway import DONE, answers, gateway
from tests.integration.cuts import Wire
from tests.integration.node_client import script
from tests.models import models_dir

pytestmark = pytest.mark.needs("node")

JS = Path(__file__).parents[2] / "clients" / "js"
KEY = "sk-sl-aaaaaaaaaaaaaaaa"


def gated(name: str = "fake", *models: str, **options: Any) -> tuple[FakeBackend, asyncio.Event]:
    """A backend that says "Hel", waits for the event, and says "lo"."""
    gate = asyncio.Event()
    said = [[TextDelta("Hel")], gate, [TextDelta("lo")], DONE]
    return FakeBackend(name, script=said, models=models or (name,), **options), gate


@pytest.mark.parametrize("native", [False, True], ids=["ws", "native"])
async def test_events_come_as_they_are_and_end_with_the_response(native: bool) -> None:
    """Node 20 hides its own WebSocket behind a flag that later ones still know."""
    environ = {"NATIVE_WEBSOCKET": "1", "NODE_OPTIONS": "--experimental-websocket"} if native else {}
    async with gateway(backends=[answers()]) as started, script("stream", started.base_url, **environ) as node:
        said = await node.says()
    kinds = [event["type"] for event in said["events"] if not event["type"].startswith("streamlane:")]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert said["before"] is None
    assert said["id"] == said["response"]["id"] == said["events"][0]["response"]["id"]
    assert said["response"]["metadata"] == {"a": "b"}
    assert said["text"] == "Hello wörld"
    assert said["states"] == ["connecting", "open"]


async def test_a_refusal_is_an_error_of_that_answer_alone() -> None:
    async with gateway(backends=[answers()]) as started, script("refusal", started.base_url) as node:
        said = await node.says()
        assert await node.says() == "Hello wörld"
    for reason in said["reasons"]:
        assert (reason["name"], reason["code"]) == ("StreamlaneError", "model_not_found")
        assert (reason["status"], reason["param"]) == (404, "model")
        assert "no-such-model" in reason["message"]
    assert said["unreadable"]["code"] == "invalid_event"
    assert said["unsendable"]["name"] == "TypeError"


async def test_a_failed_response_shows_its_events_then_throws() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Hel")]])  # and breaks off
    async with gateway(backends=[backend]) as started, script("failed", started.base_url) as node:
        said = await node.says()
    assert said["types"][-1] == "response.failed"
    assert "response.output_text.delta" in said["types"]
    assert said["thrown"] == said["done"]
    assert said["thrown"]["code"] == "backend_stream_broken"


async def test_cancel_keeps_the_text_and_frees_the_slot() -> None:
    backend, gate = gated(slots=1)
    async with gateway(backends=[backend]) as started, script("cancel", started.base_url) as node:
        said = await node.says()
        assert said["types"][-1] == "response.incomplete"
        assert said["text"] == "Hel"
        assert said["response"]["status"] == "cancelled"
        assert (await node.says())["status"] == "cancelled"
        assert backend.open == 0
        gate.set()
        await node.go_on()
        assert await node.says() == "Hello"


async def test_leaving_the_loop_cancels() -> None:
    backend, _ = gated()
    async with gateway(backends=[backend]) as started, script("leave", started.base_url) as node:
        assert await node.says() == {"status": "cancelled"}
        assert backend.open == 0


async def test_a_signal_cancels_also_what_was_not_sent_yet() -> None:
    backend, _ = gated()
    async with gateway(backends=[backend]) as started, script("signal", started.base_url) as node:
        assert await node.says() == {"status": "cancelled"}
        unsent = {
            "types": ["response.incomplete"],
            "id": None,
            "status": "cancelled",
            "reason": "cancelled",
            "text": "",
        }
        assert await node.says() == unsent
        assert len(backend.requests) == 1


async def test_two_answers_come_at_the_same_time() -> None:
    (one, first), (two, second) = gated("one"), gated("two")
    async with gateway(backends=[one, two]) as started, script("interleaved", started.base_url) as node:
        assert await node.says() == "both"
        second.set()
        first.set()
        assert await node.says() == ["Hello", "Hello"]


async def test_of_twenty_creates_sixteen_are_sent_and_the_rest_waits_in_the_client() -> None:
    backend, gate = gated()
    async with gateway(backends=[backend]) as started, script("twenty", started.base_url) as node:
        assert await node.says() == {"begun": 16}
        assert started.generations.running == 16
        gate.set()
        await node.go_on()
        said = await node.says()
    assert said["statuses"] == ["completed"] * 19 + ["cancelled"]
    assert said["ids"] == 20
    assert len(backend.requests) == 19


async def test_a_key_is_changed_for_a_ticket() -> None:
    text = f'server.api_keys = ["{KEY}"]'
    async with gateway(text, [answers()]) as started, script("key", started.base_url, KEY) as node:
        assert await node.says() == {"text": "Hello wörld", "models": 1}


@pytest.mark.parametrize("key", [["sk-sl-wrong"], []], ids=["wrong", "none"])
async def test_without_a_good_key_the_client_closes_and_says_why(key: list[str]) -> None:
    text = f'server.api_keys = ["{KEY}"]'
    async with gateway(text, [answers()]) as started, script("wrong_key", started.base_url, *key) as node:
        reasons = await node.says()
        said = await node.says()
    assert (said["state"], said["last"]) == ("closed", "closed")
    for reason in (*reasons.values(), said["error"], said["models"]):
        assert (reason["name"], reason["code"], reason["status"]) == ("StreamlaneError", "invalid_api_key", 401)
        assert "API key" in reason["message"]


async def test_a_lost_connection_comes_back_and_what_ran_goes_on() -> None:
    backend, gate = gated()
    idle = FakeBackend("idle", models=["idle"], text="Still here.")
    async with gateway(backends=[backend, idle]) as started, Wire(started.base_url) as relay:
        async with script("lost", relay.base_url) as node:
            assert await node.says() == "streaming"
            relay.cut()
            gate.set()
            assert await node.says() == "Still here."
            assert await node.says() == "Hello"
            said = await node.says()
    assert said["states"] == ["connecting", "open", "waiting", "connecting", "open"]
    assert all(0 <= seconds <= 1 for seconds in said["retries"])


async def test_the_gateway_restarts_and_what_was_asked_meanwhile_is_answered() -> None:
    async with AsyncExitStack() as first:
        started = await first.enter_async_context(gateway(backends=[answers()]))
        port = started.base_url.split(":")[2].removesuffix("/v1")
        async with script("restart", started.base_url) as node:
            assert await node.says() == "open"
            await first.aclose()
            error = (await node.says())["error"]
            assert error["code"] == "connection_lost"
            assert error["message"] == "The gateway restarts. Ask again in a moment."
            async with gateway(f"server.port = {port}", [answers()]):
                assert await node.says() == "Hello wörld"


async def test_a_request_above_the_gateways_limit_is_told_in_words() -> None:
    async with gateway("limits.max_frame_bytes = 4096", [answers()]) as started:
        async with script("too_big", started.base_url) as node:
            error = await node.says()
            assert error["code"] == "connection_lost"
            assert "the request is larger than it takes (limits.max_frame_bytes)" in error["message"]
            assert await node.says() == "Hello wörld"


async def test_close_ends_everything_for_good() -> None:
    backend, _ = gated()
    async with gateway(backends=[backend]) as started, script("close", started.base_url) as node:
        said = await node.says()
        assert said.pop("state") == "closed"
        assert {reason["code"] for reason in said.values()} == {"client_closed"}
        async with asyncio.timeout(30):
            await backend.left.wait()


async def test_where_nobody_answers_it_waits_and_says_so() -> None:
    async with gateway(backends=[answers()]) as started:
        gone = started.base_url
    async with script("unreachable", gone) as node:
        said = await node.says()
        assert said["error"]["code"] == said["models"]["code"] == "connection_failed"
        assert gone in said["models"]["message"]
        assert await node.says() == {"status": "cancelled"}


async def test_models_are_listed() -> None:
    async with gateway(backends=[answers()]) as started, script("models", started.base_url) as node:
        assert await node.says() == ["fake"]


@pytest.mark.model
async def test_the_real_model_answers() -> None:
    model = models_dir() / "smollm2.gguf"
    async with gateway(f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{model}"') as started:
        question = "smollm2|What is the capital of France?"
        async with script("text", started.base_url, ASK=question) as node:
            assert "Paris" in await node.says()


def test_pauses_offline_and_final_refusals() -> None:
    """What needs a clock, a network or a browser of its own: with those of node/client.test.mjs."""
    done = subprocess.run(
        ["node", "--test", str(NODE / "client.test.mjs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_types_are_right_and_the_declarations_current(tmp_path: Path) -> None:
    tsc = NODE / "node_modules" / ".bin" / "tsc"
    command = [str(tsc), "-p", str(JS), "--outDir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    written = (JS / "streamlane.d.ts").read_text()
    assert (tmp_path / "streamlane.d.ts").read_text() == written, f"run {tsc} -p clients/js"


def test_the_client_has_no_dependency_and_the_gateways_version() -> None:
    from proxy import __version__

    package = json.loads((JS / "package.json").read_text())
    assert package["version"] == __version__
    assert "dependencies" not in package
    assert "import " not in "\n".join(
        line for line in (JS / "streamlane.js").read_text().splitlines() if not line.startswith(" *")
    )
