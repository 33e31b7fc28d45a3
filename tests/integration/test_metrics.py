"""What an operator reads from `/metrics` after real requests: some complete, fail, fall back or are cancelled."""

import asyncio
import math
import os
import subprocess
import sys
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from backends.errors import Overloaded, StreamBroken
from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.app import Gateway
from proxy.metrics_table import METRICS
from tests.conftest import PATH
from tests.gateway import DONE, Client, answers, client, gateway

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
ALIASES = """
[[backends]]
name = "busy"
kind = "fake"
[[backends]]
name = "fake"
kind = "fake"
[models.fast]
targets = ["busy/m", "fake/fake"]
[models.odd]
targets = ["fake/hidden"]
"""
DEAD = '[[backends]]\nname = "dead"\nkind = "openai_compatible"\nbase_url = "http://127.0.0.1:1/v1"\n'


async def scraped(started: Gateway, **headers: str) -> str:
    """What a scrape answers, once every outcome is counted."""
    async with asyncio.timeout(10):
        while started.generations.running:
            await asyncio.sleep(0)
    return await now(started, **headers)


async def now(started: Gateway, **headers: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{started.ops_url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


class Scrape:
    """A scrape's samples: called with a name and all its labels, the value; None when there is no such sample."""

    def __init__(self, text: str) -> None:
        samples = [sample for family in parsed(text) for sample in family.samples]
        self._values = {(each.name, frozenset(each.labels.items())): each.value for each in samples}

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((f"streamlane_{name}", frozenset(labels.items())))


async def run(socket: Client, model: str, **fields: Any) -> str:
    await socket.create(model, **fields)
    return str((await socket.until())[-1]["type"])


async def test_requests_are_counted_by_backend_model_and_outcome() -> None:
    backends = [
        answers(models=("fake", "second")),
        FakeBackend("busy", script=[Overloaded()], models=("m",)),
        FakeBackend("breaks", script=[[TextDelta("x")], StreamBroken()], models=("m",)),
        FakeBackend("stuck", script=[[TextDelta("x")], asyncio.Event()], models=("m",)),
    ]
    async with gateway(ALIASES, backends) as started, client(started) as socket:
        assert await run(socket, "fake") == "response.completed"
        assert await run(socket, "fake") == "response.completed"
        assert await run(socket, "second") == "response.completed"
        assert await run(socket, "fast") == "response.completed"
        assert await run(socket, "busy/m") == "response.failed"
        assert await run(socket, "breaks/m") == "response.failed"
        await socket.create("stuck/m")
        await socket.until("response.output_text.delta")
        await socket.send({"type": "response.cancel"})
        await socket.until()
        found = Scrape(await scraped(started))

    def requests(backend: str, model: str, outcome: str, code: str = "") -> float | None:
        return found("requests_total", backend=backend, model=model, outcome=outcome, code=code)

    fake = {"backend": "fake", "model": "fake"}
    assert requests("fake", "fake", "completed") == 3  # two, and the one that "busy" did not take
    assert requests("fake", "second", "completed") == 1
    assert requests("busy", "m", "failed", "backend_overloaded") == 1
    assert requests("breaks", "m", "failed", "backend_stream_broken") == 1
    assert requests("stuck", "m", "cancelled") == 1
    # One was followed by the alias's next target, and one by another attempt there.
    assert found("failed_attempts_total", backend="busy", model="m", code="backend_overloaded") == 2
    assert found("input_tokens_total", **fake) == 9
    assert found("output_tokens_total", **fake) == 6
    assert found("output_tokens_total", backend="stuck", model="m") is None
    assert found("time_to_first_token_seconds_count", **fake) == 3
    assert found("time_to_first_token_seconds_count", backend="breaks", model="m") == 1
    assert found("time_to_first_token_seconds_count", backend="busy", model="m") is None
    assert found("request_duration_seconds_count", backend="busy", model="m") == 1
    # "Hel" and "lo" come in one read, " wörld" in another: two gaps each time, one of them nothing.
    assert found("inter_token_seconds_count", **fake) == 6
    assert (found("inter_token_seconds_bucket", **fake, le="0.0001") or 0) >= 3


async def test_the_time_between_tokens_is_what_the_backend_took() -> None:
    script = [0.06, [TextDelta("a")], 0.03, [TextDelta("b")], 0.03, [TextDelta("c")], DONE]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started, client(started) as socket:
        await run(socket, "fake")
        found = Scrape(await scraped(started))
    fake = {"backend": "fake", "model": "fake"}
    assert found("inter_token_seconds_count", **fake) == 2
    assert found("inter_token_seconds_bucket", **fake, le="0.01") == 0
    between = found("inter_token_seconds_sum", **fake) or 0
    first = found("time_to_first_token_seconds_sum", **fake) or 0
    assert min(between, first) >= 0.055
    assert (found("request_duration_seconds_sum", **fake) or 0) >= first + between


async def test_a_name_that_only_a_client_knows_is_no_label() -> None:
    async with gateway(DEAD + ALIASES, [answers(), FakeBackend("busy")]) as started, client(started) as socket:
        for name in ("dead/one-of-mine", "dead/another", "odd"):
            await run(socket, name)
        text = await scraped(started)
    assert "one-of-mine" not in text
    assert "another" not in text
    found = Scrape(text)
    failed = {"outcome": "failed", "code": "backend_unreachable"}
    assert found("requests_total", backend="dead", model="other", **failed) == 2
    operators_own = {"backend": "fake", "model": "hidden"}
    assert found("requests_total", **operators_own, outcome="completed", code="") == 1


async def test_what_is_refused_is_counted_by_its_code() -> None:
    backends = [answers(), FakeBackend("twin", models=("fake",))]
    async with gateway(f'server.api_keys = ["{KEY}"]', backends) as started:
        given = {"Authorization": f"Bearer {KEY}"}
        async with client(started, additional_headers=given) as socket:
            for model in ("no-such-model", "another", "fake"):  # the last is served by two
                await socket.create(model)
                await socket.until("error")
            for frame in ({"type": "response.create", "model": 7}, {"type": "x"}):
                await socket.send(frame)
                await socket.until("error")
            await socket.send({"type": "response.cancel", "response_id": "resp_x"})
            await socket.until("error")
            assert await run(socket, "fake/fake") == "response.completed"
        async with aiohttp.ClientSession() as session, session.get(f"{started.base_url}/models") as answer:
            assert answer.status == 401
        text = await scraped(started, **given)
    found = Scrape(text)
    refused = {
        "model_not_found": 2,
        "model_ambiguous": 1,
        "invalid_parameter": 1,
        "invalid_event": 1,
        "response_not_found": 1,
        "invalid_api_key": 1,
    }
    assert {code: found("refused_total", code=code) for code in refused} == refused
    assert text.count("streamlane_refused_total{") == len(refused)


async def test_sockets_lanes_queues_and_backends_are_read_as_they_are_now() -> None:
    stuck = FakeBackend("stuck", script=[[TextDelta("x")], asyncio.Event()], models=("m",), slots=1)
    async with gateway(DEAD, [stuck]) as started, client(started) as one, client(started):
        idle = Scrape(await now(started))
        for lane in ("a", "b"):
            await one.create("m", stream_id=lane)
        await one.until("response.output_text.delta")
        text = await now(started)
    assert idle("sockets") == 2
    assert idle("lanes", state="idle") == 2
    assert idle("lanes", state="running") == 0
    assert idle("queue_length", backend="stuck", priority="interactive") == 0
    assert (idle("backend_running", backend="stuck"), idle("backend_limit", backend="stuck")) == (0, 1)
    assert idle("backend_limit", backend="dead") == math.inf
    assert idle("backend_up", backend="stuck") == 1
    assert idle("backend_up", backend="dead") == 0
    busy = Scrape(text)
    assert busy("lanes", state="running") == 2
    assert busy("queue_length", backend="stuck", priority="interactive") == 1
    assert busy("queue_length", backend="stuck", priority="batch") == 0
    assert busy("queue_tokens", backend="stuck") == 4097  # a word, and the longest answer by default
    assert busy("backend_running", backend="stuck") == 1
    assert ("\nprocess_cpu_seconds_total " in text) == (sys.platform == "linux")


async def test_the_event_loops_lag_is_measured() -> None:
    async with gateway(backends=[answers()]) as started, asyncio.timeout(10):
        while not Scrape(await now(started))("event_loop_lag_seconds_count"):
            await asyncio.sleep(0.05)


async def test_a_scraper_that_knows_openmetrics_gets_it() -> None:
    async with gateway(backends=[answers()]) as started:
        text = await now(started, Accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


async def test_every_metric_of_the_page_is_there_and_no_other() -> None:
    async with gateway(backends=[answers()]) as started:
        text = await now(started)
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert [name for name in names if not name.startswith("process_")] == [metric.name for metric in METRICS]


async def test_with_keys_a_scrape_needs_one_and_the_public_listener_has_no_metrics() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        given = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{started.ops_url}/metrics") as answer:
                assert answer.status == 401
            async with session.get(f"{started.ops_url}/metrics", headers=given) as answer:
                assert answer.status == 200
            async with session.get(started.base_url.replace("/v1", "/metrics"), headers=given) as answer:
                assert answer.status == 404


@pytest.mark.needs("promtool")
async def test_promtool_finds_nothing_to_say() -> None:
    async with gateway(ALIASES, [answers(), FakeBackend("busy", script=[Overloaded()], models=("m",))]) as started:
        async with client(started) as socket:
            await run(socket, "fast")
            await run(socket, "busy/m")
            text = await scraped(started)
    checked = await asyncio.to_thread(
        subprocess.run,
        ["promtool", "check", "metrics"],
        input=text,
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
