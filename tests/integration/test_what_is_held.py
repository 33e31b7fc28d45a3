"""What a response costs after its end is bounded, and whatever was stored can be read back."""

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import aiohttp
import pytest

from backends.errors import StreamBroken
from backends.events import Logprob, TextDelta
from backends.fake import FakeBackend
from backends.request import Request
from proxy import app, held
from proxy.outcome import ANONYMOUS
from proxy.turns import Turn
from tests.gateway import DONE, answers, client, gateway
from tests.upstream import until

T = TypeVar("T")
ASKED = "What was asked in this file alone?"
KEYS = ("sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb")
LOOK: dict[str, Any] = {"type": "function", "name": "look", "parameters": {"type": "object"}}


def key(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[number]}"}


def deep(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(levels):
        inner = {"more": inner}
    return inner


LIKELY = TextDelta("a", (Logprob("a", -0.1, (("b", -1.0),) * 20),))
ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look", **deep(60)}]}


@pytest.mark.parametrize(
    ("script", "members"),
    [
        ([[LIKELY] * 1300, DONE], {"include": ["message.output_text.logprobs"], "top_logprobs": 20}),
        ([DONE], {"tools": [LOOK], "tool_choice": ALLOWED}),
        ([DONE], {"input": [{"role": "user", "content": "x"}] * 17_000}),
    ],
)
async def test_whatever_was_answered_can_be_read_back(script: list[Any], members: dict[str, Any]) -> None:
    text = "responses.log_bytes = 1024"  # so that it comes from the store
    async with gateway(text, [FakeBackend("fake", script=script)]) as running, aiohttp.ClientSession() as http:
        body = {"model": "fake", "input": "hi", **members}
        async with http.post(f"{running.base_url}/responses", json=body) as got:
            assert got.status == 200, await got.text()
            response = await got.json()
        async with http.get(f"{running.base_url}/responses/{response['id']}") as got:
            assert (got.status, await got.json()) == (200, response)


@pytest.mark.parametrize("end", [DONE, StreamBroken()])
async def test_of_a_conversation_that_ended_nothing_is_held_but_its_responses(end: Any) -> None:
    """Neither the turns before each response, nor what was asked of the backend."""
    backend = FakeBackend("fake", script=[[TextDelta("x")], end])
    async with gateway(backends=[backend]) as running:
        async with client(running) as socket:
            ids = []
            for _ in range(3):
                previous = {"previous_response_id": ids[-1]} if ids and end is DONE else {}
                await socket.create(text=ASKED, store=False, **previous)
                ids.append((await socket.until())[-1]["response"]["id"])
            generation = running.generations.find(ids[-1], ANONYMOUS)
            assert generation.ended
        backend.requests.clear()
        await until(lambda: not any(turn.id in ids for turn in alive(Turn)))
        await until(lambda: not any(ASKED in repr(request.messages) for request in alive(Request)))
        assert [running.generations.find(each, ANONYMOUS).log.head > 0 for each in ids] == [True] * 3
        stored = await running.generations.get(ids[-1], ANONYMOUS)
        assert stored.items[0]["content"][0]["text"] == ASKED
        assert stored.response == generation.response


def alive(kind: type[T]) -> list[T]:
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is kind]


async def test_what_is_past_its_time_leaves_memory_though_nothing_new_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SWEEP", 0.01)
    monkeypatch.setattr(held, "SWEEP", 0.0)
    text = "responses.log_ttl = 0.05\nresponses.store_ttl = 0.05"
    async with gateway(text, [answers()]) as running, client(running) as socket:
        await socket.create()
        await socket.until()
        await until(lambda: running.generations.held_bytes == 0)


async def test_running_responses_of_a_key_are_bounded() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[gate, DONE])
    text = f"limits.running_per_key = 2\nserver.api_keys = {list(KEYS)}"
    async with gateway(text, [backend]) as running, aiohttp.ClientSession() as http:

        async def post(number: int, **more: Any) -> tuple[int, dict[str, Any]]:
            body = {"model": "fake", "input": "hi", "background": True, **more}
            async with http.post(f"{running.base_url}/responses", json=body, headers=key(number)) as got:
                return got.status, await got.json()

        assert [(await post(0))[0] for _ in range(3)] == [200, 200, 429]
        status, refused = await post(0, background=False)
        assert (status, refused["error"]["code"]) == (429, "too_many_running_responses")
        body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
        async with http.post(f"{running.base_url}/chat/completions", json=body, headers=key(0)) as got:
            assert got.status == 429
        assert (await post(1))[0] == 200
        gate.set()
        await until(lambda: running.generations.running == 0)
        assert (await post(0))[0] == 200


async def test_a_key_can_delete_all_of_its_own() -> None:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(gateway(f"server.api_keys = {list(KEYS)}", [answers()]))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"{running.base_url}/responses"
        ids = []
        for number in (0, 0, 1):
            async with http.post(url, json={"model": "fake", "input": "hi"}, headers=key(number)) as got:
                ids.append((number, (await got.json())["id"]))
        async with http.delete(url, headers=key(0)) as got:
            assert (got.status, await got.json()) == (200, {"object": "responses.deleted", "deleted": 2})
        for number, name in ids:
            async with http.get(f"{url}/{name}", headers=key(number)) as got:
                assert got.status == (404 if number == 0 else 200)
        async with http.delete(url) as got:
            assert got.status == 401


async def test_a_chat_completion_can_be_cancelled_by_its_id() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], asyncio.Event()])
    async with gateway(backends=[backend]) as running, aiohttp.ClientSession() as http:
        body = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "stream": True, "n": 2}
        async with http.post(f"{running.base_url}/chat/completions", json=body) as got:
            chunk = await got.content.readuntil(b"\n\n")
            name = chunk.split(b'"chatcmpl-')[1].split(b'"')[0].decode()
            async with http.post(f"{running.base_url}/responses/resp_{name}/cancel") as cancelled:
                assert (cancelled.status, (await cancelled.json())["status"]) == (200, "cancelled")
            async with asyncio.timeout(15):
                rest = await got.text()
        assert rest.rstrip().split("\n")[-1].startswith('data: {"error":')
        await until(lambda: backend.open == 0)  # the other choice has nobody to be read by


@pytest.mark.parametrize(("said", "status"), [("True", 200), ("1", 200), ("true", 200), ("yes", 400), ("", 400)])
async def test_a_stream_is_asked_for_as_clients_write_it(said: str, status: int) -> None:
    async with gateway(backends=[answers()]) as running, aiohttp.ClientSession() as http:
        async with http.post(f"{running.base_url}/responses", json={"model": "fake", "input": "hi"}) as got:
            name = (await got.json())["id"]
        async with http.get(f"{running.base_url}/responses/{name}", params={"stream": said}) as got:
            assert got.status == status
            assert got.content_type == ("text/event-stream" if status == 200 else "application/json")
