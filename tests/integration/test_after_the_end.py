"""What can be asked of a response while it runs and after its end: looked at, deleted; and what a bad disk costs."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.errors import StoreFailed, UnknownResponse
from proxy.outcome import ANONYMOUS, Principal
from proxy.wire.usage import plain
from tests.gateway import DONE, Client, answers, client, gateway
from tests.integration.test_metrics import Scrape, scraped

OTHER = Principal("other")


async def answered(socket: Client, **fields: object) -> str:
    await socket.create(**fields)
    end = (await socket.until())[-1]
    assert end["type"] == "response.completed"
    response_id: str = end["response"]["id"]
    return response_id


async def test_a_response_can_be_looked_at_while_it_runs_and_after() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        held = started.generations
        await socket.create(text="look", store=False)
        response_id = (await socket.until("response.output_text.delta"))[0]["response"]["id"]
        running = await held.get(response_id, ANONYMOUS)
        assert (running.response["id"], running.response["status"]) == (response_id, "in_progress")
        assert running.items[0]["content"][0]["text"] == "look"
        assert not held.find(response_id, ANONYMOUS).ended
        gate.set()
        end = (await socket.until())[-1]
        generation = held.find(response_id, ANONYMOUS)
        assert generation.ended
        kept = (await held.get(response_id, ANONYMOUS)).response
        assert generation.response == kept
        assert plain(kept) == end["response"], "only who asks for our extensions is told the cost"
        with pytest.raises(UnknownResponse):
            held.find(response_id, OTHER)
        with pytest.raises(UnknownResponse):
            await held.get(response_id, OTHER)
        with pytest.raises(UnknownResponse):
            await held.delete(response_id, OTHER)
        assert await held.get(response_id, ANONYMOUS)


async def test_events_are_held_within_their_bytes_and_the_response_is_stored_all_the_same() -> None:
    async with gateway("responses.log_bytes = 1024", [answers()]) as started, client(started) as socket:
        response_id = await answered(socket)
        with pytest.raises(UnknownResponse):
            started.generations.find(response_id, ANONYMOUS)
        stored = await started.generations.get(response_id, ANONYMOUS)
        assert stored.response["output"][0]["content"][0]["text"] == "Hello wörld"
        started.generations.cancel(response_id, ANONYMOUS)  # late: no error
        assert started.generations.held_bytes == 0


async def test_deleting_what_runs_ends_it_and_keeps_nothing() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event()])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create()
        response_id = (await socket.until("response.output_text.delta"))[0]["response"]["id"]
        await started.generations.delete(response_id, ANONYMOUS)
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"
        assert backend.open == 0
        with pytest.raises(UnknownResponse):
            await started.generations.get(response_id, ANONYMOUS)
        await socket.create(previous_response_id=response_id)
        assert (await socket.next())["error"]["code"] == "previous_response_not_found"


async def test_a_delete_reaches_the_sockets_that_hold_the_response() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        for store in (True, False):
            response_id = await answered(socket, store=store)
            await started.generations.delete(response_id, ANONYMOUS)
            with pytest.raises(UnknownResponse):
                await started.generations.delete(response_id, ANONYMOUS)
            await socket.create(previous_response_id=response_id)
            assert (await socket.next())["error"]["code"] == "previous_response_not_found"


async def test_all_of_a_key_is_deleted() -> None:
    gate = asyncio.Event()
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        ids = [await answered(socket) for _ in range(3)]
        backend = started.runtime().backends["fake"]
        assert isinstance(backend, FakeBackend)
        backend.script = [[TextDelta("x")], gate, DONE]
        await socket.create()
        ids.append((await socket.until("response.output_text.delta"))[0]["response"]["id"])
        assert await started.generations.delete_all(OTHER) == 0
        assert await started.generations.get(ids[0], ANONYMOUS)
        assert await started.generations.delete_all(ANONYMOUS) == 3
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"
        for response_id in ids:
            with pytest.raises(UnknownResponse):
                await started.generations.get(response_id, ANONYMOUS)


async def test_a_disk_that_fails_costs_no_answer(tmp_path: Path) -> None:
    text = f"data_dir = {json.dumps(str(tmp_path))}\nresponses.persist = true"
    async with gateway(text, [answers()]) as started, client(started) as socket:
        first = await answered(socket)
        with closing(sqlite3.connect(tmp_path / "streamlane.db")) as database:
            database.execute("ALTER TABLE responses RENAME TO hidden")
        second = await answered(socket, previous_response_id=first)
        await answered(socket, previous_response_id=second, stream_id="other")
        with pytest.raises(StoreFailed):
            await started.generations.delete(first, ANONYMOUS)
        assert (Scrape(await scraped(started))("responses_not_written_total") or 0) >= 1
