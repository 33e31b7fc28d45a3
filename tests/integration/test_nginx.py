"""The nginx that we ship the files for, the real one, before two gateways: sticky sessions, no loss, no secrets."""

import asyncio
import json
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.gateway import Process, connected, process, text_of
from tests.integration.nginx import PROGRAM, Nginx, configured, nginx

pytestmark = pytest.mark.needs("nginx")
WORDS = " ".join(str(number) for number in range(100))


def naming(name: str, tokens_per_second: float = 100) -> str:
    """A gateway whose only model is called `name`, and which counts to 99."""
    return f"""
[[backends]]
name = "{name}"
kind = "fake"
models = ["{name}", "count"]
text = "{WORDS}"
tokens_per_second = {tokens_per_second}
"""


@dataclass(frozen=True)
class Behind:
    """nginx, and the gateways by the name of their own model."""

    nginx: Nginx
    gateways: dict[str, Process]


@asynccontextmanager
async def behind(folder: Path, tokens_per_second: float = 100, **options: Any) -> AsyncIterator[Behind]:
    async with AsyncExitStack() as stack:
        configs = {name: naming(name, tokens_per_second) for name in ("one", "two")}
        gateways = {name: await stack.enter_async_context(process(text)) for name, text in configs.items()}
        started = await stack.enter_async_context(
            nginx(folder, [each.base_url for each in gateways.values()], **options)
        )
        yield Behind(started, gateways)


def models(base_url: str, query: str = "") -> set[str]:
    with urllib.request.urlopen(f"{base_url}/models{query}", timeout=10) as answer:
        return {model["id"] for model in json.load(answer)["data"]} - {"count"}


def test_nginx_accepts_the_files_as_shipped_but_for_the_ports(tmp_path: Path) -> None:
    configured(tmp_path, 8080, ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"])
    command = [PROGRAM, "-t", "-p", f"{tmp_path}/", "-c", "nginx.conf", "-e", "error.log"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "warn" not in said.stderr


async def test_a_session_always_meets_the_same_gateway_and_others_are_spread(tmp_path: Path) -> None:
    async with behind(tmp_path) as there:
        url = there.nginx.base_url
        by_session = {key: await asyncio.to_thread(models, url, f"?sl_session={key * 16}") for key in "abcdefgh"}
        for key, expected in by_session.items():
            for _ in range(3):
                assert await asyncio.to_thread(models, url, f"?sl_session={key * 16}") == expected
        assert {name for each in by_session.values() for name in each} == {"one", "two"}
        assert {name for _ in range(30) for name in await asyncio.to_thread(models, url)} == {"one", "two"}


async def session(there: Behind, key: str, after: int | None = None) -> Any:
    query = f"?sl_session={key}" + ("" if after is None else f"&sl_after={after}")
    return connected(there.nginx.base_url, query)


async def test_a_resume_reaches_its_owner(tmp_path: Path) -> None:
    async with behind(tmp_path) as there:
        for key in ("k" * 22, "m" * 22):
            async with await session(there, key) as socket:
                await socket.create("count")
                events = await socket.until("response.output_text.delta")
                socket.connection.transport.abort()
            async with await session(there, key, events[-1]["sl_seq"]) as socket:
                events += await socket.until("response.completed")
            assert text_of(events) == WORDS
            assert [event["sl_seq"] for event in events] == sorted({event["sl_seq"] for event in events})


async def test_a_reload_under_load_loses_nothing(tmp_path: Path) -> None:
    """The old workers are told to go after half a second, in the middle of every answer."""

    async def ask(there: Behind, key: str, running: asyncio.Barrier) -> tuple[str, int]:
        events: list[dict[str, Any]] = []
        connections = 0
        while not events or events[-1]["type"] != "response.completed":
            connections += 1
            try:
                async with await session(there, key, events[-1]["sl_seq"] if events else None) as socket:
                    if not events:
                        await socket.create("count")
                        events.append(await socket.next())
                        await running.wait()
                    while events[-1]["type"] != "response.completed":
                        events.append(await socket.next())
            except ConnectionClosed:
                continue
        return text_of(events), connections

    async with behind(tmp_path, shutdown=0.5) as there, asyncio.timeout(60):
        running = asyncio.Barrier(9)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(there, f"{number}" * 20, running)) for number in range(8)]
            await running.wait()
            there.nginx.reload()
        assert [task.result()[0] for task in asked] == [WORDS] * 8
        assert max(task.result()[1] for task in asked) > 1  # or the reload cut nobody, and the test shows nothing


async def test_a_gateway_that_stops_takes_no_new_sockets_and_nobody_notices(tmp_path: Path) -> None:
    async with behind(tmp_path) as there:
        async with AsyncExitStack() as stack:
            running = [await stack.enter_async_context(connected(there.nginx.base_url)) for _ in range(6)]
            for socket in running:
                await socket.create("count")
                await socket.until("response.output_text.delta")
            there.gateways["one"].process.send_signal(signal.SIGTERM)
            for _ in range(10):
                async with connected(there.nginx.base_url) as socket:
                    await socket.create("two")
                    await socket.until("response.output_text.delta")
            for socket in running:
                assert (await socket.until())[-1]["type"] == "response.completed"
        assert await asyncio.to_thread(models, there.nginx.base_url) == {"two"}


async def test_keys_of_sessions_and_tickets_are_in_no_log_also_when_a_gateway_is_gone(tmp_path: Path) -> None:
    secret = "secret-session-of-mine"
    async with behind(tmp_path) as there:
        there.gateways["one"].process.kill()
        await there.gateways["one"].process.wait()
        for number in range(8):
            assert await asyncio.to_thread(models, there.nginx.base_url, f"?sl_session={secret}{number}") == {"two"}
        logs = [there.nginx.access, there.nginx.errors, *(each.stderr for each in there.gateways.values())]
    assert ", 127.0.0.1" in logs[0]  # a second address: one was tried and did not answer
    assert "/v1/models" in logs[0]
    assert not [log for log in logs if secret in log]


async def test_the_id_of_a_request_goes_through(tmp_path: Path) -> None:
    async with behind(tmp_path) as there:
        ask = urllib.request.Request(f"{there.nginx.base_url}/models", headers={"X-Request-Id": "my-own-id-7"})
        with await asyncio.to_thread(urllib.request.urlopen, ask, timeout=10) as answer:
            assert answer.headers.get_all("X-Request-Id") == ["my-own-id-7"]
        assert "my-own-id-7" in there.nginx.access
