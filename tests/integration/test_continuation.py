"""Continuing a response over sockets: lanes, forks, other connections, what is not stored, and another's key."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.errors import Overloaded
from backends.events import TextDelta
from backends.fake import FakeBackend
from backends.request import Request, text_of
from tests.gateway import ANSWER, DONE, Client, answers, client, connected, gateway, process
from tests.integration.test_metrics import Scrape, scraped

KEYS = ["sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb"]


def asked(request: Request) -> list[tuple[str, str]]:
    """What the backend was asked: who said what."""
    return [(message.role, text_of(message.parts)) for message in request.messages]


async def ask(socket: Client, text: str, **fields: Any) -> str:
    """One answer; its id."""
    await socket.create(text=text, **fields)
    end = (await socket.until())[-1]
    assert end["type"] == "response.completed", end
    response_id: str = end["response"]["id"]
    return response_id


async def refused(socket: Client, previous: str, **fields: Any) -> str:
    """The code with which a continuation is refused."""
    await socket.create(previous_response_id=previous, **fields)
    event = await socket.next()
    assert (event["type"], event.get("stream_id")) == ("error", fields.get("stream_id")), event
    assert event["error"]["param"] == "previous_response_id"
    code: str = event["error"]["code"]
    return code


@pytest.mark.parametrize("store", [True, False])
async def test_a_lane_goes_on_where_it_was(store: bool) -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        first = await ask(socket, "one", store=store, instructions="Be kind.")
        second = await ask(socket, "two", store=store, previous_response_id=first)
        await socket.create(text="three", store=store, previous_response_id=second, instructions="Be brief.")
        events = await socket.until()
    assert events[0]["response"]["previous_response_id"] == second
    assert asked(backend.requests[0]) == [("system", "Be kind."), ("user", "one")]
    said = [("user", "one"), ("assistant", "Hello wörld"), ("user", "two"), ("assistant", "Hello wörld")]
    assert asked(backend.requests[1]) == said[:3], "instructions are not inherited"
    assert asked(backend.requests[2]) == [("system", "Be brief."), *said, ("user", "three")]


@pytest.mark.parametrize("store", [True, False])
async def test_a_second_lane_forks(store: bool) -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        first = await ask(socket, "one", store=store, stream_id="a")
        await ask(socket, "fork", store=store, stream_id="b", previous_response_id=first)
        await ask(socket, "two", store=store, stream_id="a", previous_response_id=first)
    said = [("user", "one"), ("assistant", "Hello wörld")]
    assert asked(backend.requests[1]) == [*said, ("user", "fork")]
    assert asked(backend.requests[2]) == [*said, ("user", "two")]


async def test_another_connection_finds_what_is_stored_and_only_that() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        stored = await ask(socket, "one")
        unstored = await ask(socket, "two", previous_response_id=stored, store=False)
        child = await ask(socket, "three", previous_response_id=unstored)
        async with client(started) as other:
            await ask(other, "here", previous_response_id=stored)
            assert asked(backend.requests[-1]) == [("user", "one"), ("assistant", "Hello wörld"), ("user", "here")]
            for name in (unstored, child, "resp_never"):
                assert await refused(other, name) == "previous_response_not_found"
            assert await refused(other, unstored, stream_id="lane") == "previous_response_not_found"
            await ask(other, "the connection goes on", stream_id="lane")


async def test_a_socket_goes_on_where_http_was_and_back() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket, aiohttp.ClientSession() as http:

        async def post(**fields: object) -> Any:
            async with http.post(f"{started.base_url}/responses", json={"model": "fake", **fields}) as answer:
                return await answer.json()

        first = await post(input="one")
        second = await ask(socket, "two", previous_response_id=first["id"])
        third = await post(input="three", previous_response_id=second)
        assert third["previous_response_id"] == second
        assert [text for role, text in asked(backend.requests[-1]) if role == "user"] == ["one", "two", "three"]
        unstored = await ask(socket, "four", store=False, previous_response_id=third["id"])
        assert (await post(input="five", previous_response_id=unstored))["error"]["code"] == (
            "previous_response_not_found"
        )


async def test_a_closed_connection_takes_its_unstored_turns_along() -> None:
    async with gateway(backends=[answers()]) as started:
        async with client(started) as socket:
            unstored = await ask(socket, "one", store=False)
        async with client(started) as socket:
            assert await refused(socket, unstored) == "previous_response_not_found"


async def test_only_the_newest_of_a_lane_is_held_without_storing() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        first = await ask(socket, "one", store=False)
        second = await ask(socket, "two", store=False, previous_response_id=first)
        assert await refused(socket, first, stream_id="fork") == "previous_response_not_found"
        await ask(socket, "three", store=False, previous_response_id=second)


@pytest.mark.parametrize("how", ["failed", "refused"])
async def test_a_failed_continuation_evicts_its_parent_and_a_failed_fork_does_not(how: str) -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        first = await ask(socket, "one", store=False, stream_id="a")

        async def fail(lane: str) -> None:
            backend.script = [Overloaded()]
            model = "fake" if how == "failed" else "missing"
            await socket.create(model=model, store=False, stream_id=lane, previous_response_id=first)
            assert (await socket.until())[-1]["type"] == ("response.failed" if how == "failed" else "error")
            backend.script = ANSWER

        await fail("b")
        await ask(socket, "still there", store=False, stream_id="c", previous_response_id=first)
        await fail("a")
        assert await refused(socket, first, stream_id="a") == "previous_response_not_found"


async def test_another_key_finds_nothing() -> None:
    text = f"server.api_keys = {json.dumps(KEYS)}"
    async with (
        gateway(text, [answers()]) as started,
        client(started, additional_headers={"Authorization": f"Bearer {KEYS[0]}"}) as mine,
        client(started, additional_headers={"Authorization": f"Bearer {KEYS[1]}"}) as other,
    ):
        stored = await ask(mine, "a secret")
        assert await refused(other, stored) == "previous_response_not_found"
        await ask(mine, "again", previous_response_id=stored)


async def test_what_still_runs_or_failed_cannot_be_continued() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        running = (await socket.until("response.output_text.delta"))[0]["response"]["id"]
        assert await refused(socket, running, stream_id="b") == "previous_response_not_ended"
        await socket.send({"type": "response.cancel", "response_id": running})
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"
        gate.set()
        await ask(socket, "go on", stream_id="b", previous_response_id=running)
        assert asked(backend.requests[-1]) == [("user", "hi"), ("assistant", "x"), ("user", "go on")]
        backend.script = [Overloaded()]
        await socket.create()
        failed = (await socket.until())[-1]["response"]["id"]
        assert await refused(socket, failed) == "previous_response_not_ended"


async def test_warming_up_asks_no_backend_and_can_be_continued() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(text="remember this", generate=False)
        events = await socket.until()
        assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
        assert events[-1]["response"]["output"] == []
        assert events[-1]["response"]["status"] == "completed"
        assert backend.requests == []
        await ask(socket, "what?", previous_response_id=events[-1]["response"]["id"])
    assert asked(backend.requests[0]) == [("user", "remember this"), ("user", "what?")]


async def test_a_conversation_longer_than_configured_is_refused() -> None:
    async with gateway("responses.max_turns = 2", [answers()]) as started, client(started) as socket:
        previous = await ask(socket, "one")
        for text in ("two", "three"):
            previous = await ask(socket, text, previous_response_id=previous)
        assert await refused(socket, previous) == "conversation_too_long"


async def test_what_persists_outlives_the_process(tmp_path: Path) -> None:
    text = (
        f'data_dir = {json.dumps(str(tmp_path))}\nresponses.persist = true\n[[backends]]\nname = "fake"\nkind = "fake"'
    )
    ids = []
    for _ in range(2):
        async with process(text, STREAMLANE_DATA_DIR=str(tmp_path)) as started:
            async with connected(started.base_url) as socket:
                ids.append(await ask(socket, "go on", **({"previous_response_id": ids[-1]} if ids else {})))
    assert (tmp_path / "streamlane.db").stat().st_mode & 0o777 == 0o600


async def test_what_is_held_is_measured() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await ask(socket, "x" * 10_000)
        scrape = Scrape(await scraped(started))
    for what in ("stored", "logs"):
        held = scrape("held_bytes", what=what)
        assert held is not None
        assert 10_000 < held < 100_000
    assert scrape("held_bytes", what="unwritten") == 0
    assert scrape("responses_not_written_total") == 0
