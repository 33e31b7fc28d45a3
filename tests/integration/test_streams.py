"""Streams over HTTP: when headers leave, what a failure becomes, heartbeats, clients that leave or do not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from backends.errors import Overloaded, RateLimited, StreamBroken
from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend
from proxy.edge.sse import Streams
from tests.gateway import DONE, TERMINAL, Gateway, answers, gateway
from tests.upstream import CLOSE, HOLD, RESET, SSE_HEAD, Upstream, chunk, ending, message, token

ASK = {"model": "fake", "input": "hi", "stream": True}


@asynccontextmanager
async def posted(running: Gateway, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{running.base_url}/responses", json={**ASK, **more}) as got:
            yield got


def events(body: str) -> list[dict[str, Any]]:
    """What a stream said; comments are skipped, as parsers do."""
    found = []
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            kind, data = lines
            found.append(json.loads(data.removeprefix("data: ")))
            assert kind == f"event: {found[-1]['type']}"
    return found


async def test_a_stream_is_the_sockets_events_without_a_lane() -> None:
    async with gateway(backends=[answers()]) as running, posted(running) as got:
        assert got.status == 200
        assert got.headers["Content-Type"].startswith("text/event-stream")
        assert "no-cache" in got.headers["Cache-Control"]
        said = events(await got.text())
    assert [event["sequence_number"] for event in said] == sorted({event["sequence_number"] for event in said})
    assert said[0]["type"] == "response.created"
    assert "".join(event["delta"] for event in said if "delta" in event) == "Hello wörld"
    assert [event["type"] for event in said if event["type"] in TERMINAL] == ["response.completed"]
    assert said[-1]["response"]["usage"]["output_tokens"] == 2
    assert not any("stream_id" in event for event in said)


@pytest.mark.parametrize(
    ("error", "status", "code", "after"),
    [(Overloaded(), 503, "backend_overloaded", None), (RateLimited(7), 429, "rate_limit_exceeded", "7")],
)
async def test_a_failure_before_the_first_content_is_a_status(
    error: Exception, status: int, code: str, after: str | None
) -> None:
    async with gateway("deadlines.retry = 1", [FakeBackend("fake", script=[error])]) as running:
        for stream in (True, False):
            async with posted(running, stream=stream) as got:
                assert (got.status, (await got.json())["error"]["code"]) == (status, code)
                assert got.headers.get("Retry-After") == after


async def test_a_failure_afterwards_is_the_streams_end() -> None:
    script = [[TextDelta("Hel")], StreamBroken()]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as running:
        async with posted(running) as got:
            assert got.status == 200
            said = events(await got.text())
        async with posted(running, stream=False) as got:  # nothing was sent yet, so it is a status still
            assert (got.status, (await got.json())["error"]["code"]) == (502, "backend_stream_broken")
    assert [event["type"] for event in said if event["type"] in TERMINAL] == ["response.failed"]
    assert said[-1]["response"]["error"]["code"] == "backend_stream_broken"


async def test_nothing_leaves_before_the_first_content() -> None:
    go = asyncio.Event()
    backend = FakeBackend("fake", script=[go, [TextDelta("Hi")], DONE])
    async with gateway(backends=[backend]) as running:
        asking = asyncio.ensure_future(posted(running).__aenter__())
        while not backend.open:
            await asyncio.sleep(0)
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        go.set()
        got = await asking
        assert len(events(await got.text())) > 3
        got.close()


async def test_after_ten_seconds_headers_leave_and_then_a_comment_comes_every_ten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    initial = Streams.__init__

    def hasty(self: Streams, *, send: float) -> None:
        initial(self, send=send, heartbeat=0.05)

    monkeypatch.setattr(Streams, "__init__", hasty)
    go = asyncio.Event()
    script = [go, Overloaded()]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as running, posted(running) as got:
        assert got.status == 200  # too late for another
        body = b""
        while body.count(b": still here\n\n") < 3:
            body += await got.content.readany()
        go.set()
        body += await got.content.read()
    said = events(body.decode())
    assert [event["type"] for event in said] == ["response.created", "response.in_progress", "response.failed"]
    assert said[-1]["response"]["error"]["code"] == "backend_overloaded"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["before a token", "after a token"])
async def test_a_client_that_leaves_frees_the_backend_at_once(stream: bool, when: str) -> None:
    loop = asyncio.get_running_loop()
    steps = [SSE_HEAD, HOLD] if when == "before a token" else [SSE_HEAD, token("x"), HOLD]
    async with Upstream(steps) as upstream:
        text = f'[[backends]]\nname = "up"\nkind = "openai_compatible"\nbase_url = "{upstream.url}"\nmodels = ["fake"]'
        async with gateway(text) as running, aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(
                session.post(f"{running.base_url}/responses", json={**ASK, "stream": stream})
            )
            seen = await upstream.seen(0)
            if stream and when == "after a token":
                await (await asking).content.readany()
            left = loop.time()
            if asking.done():
                asking.result().close()
            else:
                asking.cancel()
            async with asyncio.timeout(5):
                await seen.gone.wait()
            assert seen.gone_at - left < 0.25
            async with asyncio.timeout(5):
                while running.generations.running:
                    await asyncio.sleep(0)


async def test_a_client_that_reads_nothing_is_cut_and_its_upstream_freed() -> None:
    words = [[TextDelta("x" * 60_000)]] * 200
    backend = FakeBackend("fake", script=[*words, DONE])
    async with gateway(
        "deadlines.send = 0.3\nlimits.log_ahead_bytes = 65536", [backend, answers("other", models=["other"])]
    ) as running:
        host, port = running.base_url.removeprefix("http://").removesuffix("/v1").rsplit(":", 1)
        body = json.dumps(ASK).encode()
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        head = f"POST /v1/responses HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        async with asyncio.timeout(20):
            await backend.left.wait()  # though it had more to say
            while running.generations.running:
                await asyncio.sleep(0.01)
            async with posted(running, model="other") as got:  # others are served
                assert (await got.text()).count("response.completed")
            with suppress(ConnectionError):
                assert b"response.completed" not in await reader.read()  # to the end of the connection
        writer.close()


UPSTREAM = {
    "cut": ([SSE_HEAD, token("Hel"), RESET], "response.failed"),
    "closed": ([SSE_HEAD, token("Hel"), CLOSE], "response.failed"),
    "garbage": ([SSE_HEAD, token("Hel"), chunk(message(b"{nonsense")), CLOSE], "response.failed"),
    "error inside a 200": (
        [SSE_HEAD, token("Hel"), chunk(message({"error": {"message": "x", "code": 500}})), CLOSE],
        "response.failed",
    ),
    "stall": ([SSE_HEAD, token("Hel"), HOLD], "response.failed"),
    "whole": ([SSE_HEAD, token("Hel"), ending()], "response.completed"),
}


@pytest.mark.parametrize("what", UPSTREAM)
async def test_whatever_happens_upstream_there_is_one_terminal_event(what: str) -> None:
    steps, terminal = UPSTREAM[what]
    async with Upstream(steps) as upstream:
        text = f'[[backends]]\nname = "up"\nkind = "openai_compatible"\nbase_url = "{upstream.url}"\nmodels = ["fake"]'
        async with gateway(f"deadlines.idle = 0.5\n{text}") as running, posted(running) as got:
            said = events(await got.text())
    assert [event["type"] for event in said if event["type"] in TERMINAL] == [terminal]
    assert said[-1]["type"] == terminal
    assert "".join(event["delta"] for event in said if "delta" in event) == "Hel"


async def test_requests_are_named() -> None:
    async with gateway(backends=[answers()]) as running, aiohttp.ClientSession() as session:
        for given, taken in (("req-1:a", True), ("x" * 129, False), ("a b", False), ("sk-sl-aaaaaaaaaaaa", False)):
            for path in ("/models", "/nothing", "/responses"):
                async with session.get(running.base_url + path, headers={"X-Request-Id": given}) as got:
                    named = got.headers["X-Request-Id"]
                    assert (named == given) is taken
                    assert named


async def test_the_clients_name_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway(backends=[answers()]) as running, aiohttp.ClientSession() as session:
        async with session.post(f"{running.base_url}/responses", json=ASK, headers={"X-Request-Id": "trace-7"}) as got:
            await got.read()
            assert got.headers["X-Request-Id"] == "trace-7"
        key = "abcdefgh-secret"
        headers = {"X-Request-Id": f"a{key}", "Authorization": f"Bearer {key}"}
        async with session.post(f"{running.base_url}/responses", json=ASK, headers=headers) as got:
            await got.read()
            assert key not in got.headers["X-Request-Id"]
    logged = capsys.readouterr()
    assert "trace-7" in logged.out + logged.err
    assert key not in logged.out + logged.err


async def test_usage_of_a_short_answer_is_the_backends() -> None:
    script = [[TextDelta("Hi"), Finished("length", Usage(5, 1))]]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as running, posted(running) as got:
        said = events(await got.text())
    assert said[-1]["type"] == "response.incomplete"
    assert said[-1]["response"]["usage"]["input_tokens"] == 5


async def test_a_fault_of_ours_ends_the_stream_with_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("sk-secret")

    monkeypatch.setattr("proxy.wire.responses_frames.Frames.delta", broken)
    backend = FakeBackend("fake", script=[[TextDelta("Hi")], asyncio.Event()])
    async with gateway(backends=[backend]) as running, posted(running) as got:
        said = events(await got.text())
        await backend.left.wait()  # nobody reads it any more
    assert [event["type"] for event in said] == ["error"]
    assert said[0]["code"] == "internal_error"
    assert "sk-secret" not in str(said)


async def test_many_clients_that_leave_leave_nothing_behind() -> None:
    rounds = 60
    backend = FakeBackend("fake", script=[[TextDelta("Hi")], asyncio.Event()])
    async with gateway(backends=[backend]) as running:

        async def one(number: int) -> None:
            async with posted(running, background=number % 3 == 0) as got:
                await got.content.readany()  # and leave: those in the background go on without their client

        tasks = len(asyncio.all_tasks())
        await asyncio.gather(*(one(number) for number in range(rounds)))
        async with asyncio.timeout(10):
            while running.generations.running > rounds // 3:
                await asyncio.sleep(0.01)
            assert running.generations.running == backend.open == rounds // 3
            running.generations.cancel_all()
            while running.generations.running or len(asyncio.all_tasks()) > tasks:
                await asyncio.sleep(0.01)
        assert backend.open == 0
