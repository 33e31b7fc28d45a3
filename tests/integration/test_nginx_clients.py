"""Clients through the real nginx: those that come back by themselves lose no token, and who is idle is not cut."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

from streamlane_client import AsyncClient, Client
from tests.gateway import answers, connected, gateway
from tests.integration.nginx import nginx
from tests.integration.test_nginx import WORDS, behind

pytestmark = pytest.mark.needs("nginx")

IDLE = 1.5  # seconds that nginx allows; pings are 15 times as frequent


class Reload:
    """Waits until so many clients are in the middle of an answer; counts who had to come back."""

    def __init__(self, clients: int) -> None:
        self.running = asyncio.Barrier(clients + 1)
        self.returns: set[str] = set()

    async def openai(self, base_url: str) -> str:
        """As docs/sessions.md has it."""
        key, last, said = uuid4().hex, 0, ""

        def again(_: object) -> dict[str, object]:
            self.returns.add("openai")
            return {"extra_query": {"sl_session": key, "sl_after": str(last)}}

        async with AsyncOpenAI(base_url=base_url, api_key="sk-local").responses.connect(
            extra_query={"sl_session": key},
            on_reconnecting=again,  # type: ignore[arg-type]
            initial_delay=0.05,
        ) as connection:
            await connection.send(
                {"type": "response.create", "model": "count", "input": "hi", "stream_id": "a", "event_id": "e1"}
            )
            async for event in connection:
                last = getattr(event, "sl_seq", last)
                if event.type == "response.created":
                    await self.running.wait()
                elif event.type == "response.output_text.delta":
                    said += event.delta
                elif event.type in {"response.completed", "response.failed", "error"}:
                    break
        return said

    async def ours(self, base_url: str) -> str:
        """Without a line about connections."""

        def told(state: str, _: object) -> None:
            if state == "waiting":
                self.returns.add("ours")

        async with AsyncClient(base_url, on_state=told) as client:
            answer = client.create(model="count", input="hi")
            async for event in answer:
                if event["type"] == "response.created":
                    await self.running.wait()
            return await answer.text()

    async def ours_without_asyncio(self, base_url: str) -> str:
        loop = asyncio.get_running_loop()

        def ask() -> str:
            with Client(base_url, on_state=lambda state, _: state == "waiting" and self.returns.add("sync")) as client:
                answer = client.create(model="count", input="hi")
                for event in answer:
                    if event["type"] == "response.created":
                        asyncio.run_coroutine_threadsafe(self.running.wait(), loop).result()
                return answer.text()

        return await asyncio.to_thread(ask)


async def test_a_reload_loses_no_token_of_clients_that_come_back(tmp_path: Path) -> None:
    """The old workers go after 0.3 s, in the middle of every answer."""
    reload = Reload(3)
    async with behind(tmp_path, tokens_per_second=30, shutdown=0.3) as there, asyncio.timeout(60):
        url = there.nginx.base_url
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(url)) for ask in (reload.openai, reload.ours, reload.ours_without_asyncio)]
            await reload.running.wait()
            there.nginx.reload()
        assert [task.result() for task in asked] == [WORDS] * 3
    assert reload.returns == {"openai", "ours", "sync"}  # or the reload cut nobody, and the test shows nothing


async def test_an_idle_socket_outlives_the_timeout_of_the_proxy(tmp_path: Path) -> None:
    """The one whose gateway pings more often is alive when nginx has cut a silent one three times in a row."""
    async with (
        gateway("deadlines.ping = 0.1", [answers()]) as pinging,
        gateway("deadlines.ping = 60", [answers()]) as silent,
        nginx(folder(tmp_path, "pinging"), [pinging.base_url], idle=IDLE) as before_pinging,
        nginx(folder(tmp_path, "silent"), [silent.base_url], idle=IDLE) as before_silent,
        connected(before_pinging.base_url) as alive,
    ):
        for _ in range(3):
            async with connected(before_silent.base_url) as socket:
                with pytest.raises(ConnectionClosed):
                    await socket.next()
        await alive.create()
        assert (await alive.until())[-1]["type"] == "response.completed"


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made
