"""Lanes, their order and limits, cancels, and what a closed socket leaves behind."""

import asyncio
import json
from typing import Any

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.gateway import ANSWER, DONE, answers, client, gateway


async def test_a_lane_is_strictly_first_in_first_out() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        for number in range(3):
            await socket.create(stream_id="a", metadata={"n": str(number)})
        events = []
        for _ in range(3):
            events += await socket.until()
    ids = [event["response"]["id"] for event in events if event["type"] == "response.created"]
    ends = [event["response"]["id"] for event in events if event["type"] == "response.completed"]
    order = [event["response"]["metadata"]["n"] for event in events if event["type"] == "response.created"]
    assert ids == ends
    assert order == ["0", "1", "2"]


async def test_sixteen_run_at_once_and_the_seventeenth_waits() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        for number in range(17):
            await socket.create(stream_id=f"lane{number}")
        running = set()
        while len(running) < 16:
            event = await socket.next()
            if event["type"] == "response.output_text.delta":
                running.add(event["stream_id"])
        assert running == {f"lane{number}" for number in range(16)}
        assert len(backend.requests) == 16
        gate.set()
        ended: set[str] = set()
        while len(ended) < 17:
            event = await socket.next()
            assert event["type"] != "error"
            if event["type"] == "response.completed":
                ended.add(event["stream_id"])
        assert "lane16" in ended


async def test_lanes_beyond_the_limit_and_creates_beyond_the_queue_are_refused_alone() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    text = "limits.lanes = 2\nlimits.queued_creates = 1"
    async with gateway(text, [backend]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        await socket.create(stream_id="b")
        await socket.create(stream_id="c")
        refused = (await socket.until("error"))[-1]
        assert refused["error"]["code"] == "websocket_stream_limit_reached"
        assert (refused["status"], refused["stream_id"]) == (400, "c")
        await socket.create(stream_id="a")
        await socket.create(stream_id="a")
        refused = (await socket.until("error"))[-1]
        assert (refused["status"], refused["error"]["code"]) == (429, "too_many_queued_creates")
        gate.set()
        ended = [(await socket.until("response.completed"))[-1]["stream_id"] for _ in range(3)]
        assert sorted(ended) == ["a", "a", "b"]


@pytest.mark.parametrize("by_id", [True, False])
async def test_cancel_ends_the_response_and_frees_the_backend(by_id: bool) -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], asyncio.Event(), DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        events = await socket.until("response.output_text.delta")
        response_id = events[0]["response"]["id"]
        named = {"response_id": response_id} if by_id else {"stream_id": "a"}
        await socket.send({"type": "response.cancel", **named})
        end = (await socket.until())[-1]
        async with asyncio.timeout(0.25):
            await backend.left.wait()
        assert backend.open == 0
        assert end["type"] == "response.incomplete"
        assert end["response"]["status"] == "cancelled"
        assert end["response"]["incomplete_details"] == {"reason": "cancelled"}
        assert end["response"]["output"][0]["content"][0]["text"] == "Hel"
        await socket.send({"type": "response.cancel", "response_id": response_id})  # again: no error
        await socket.send({"type": "response.cancel", "stream_id": "a"})
        backend.script = ANSWER
        await socket.create(stream_id="a")
        assert (await socket.until())[-1]["type"] == "response.completed"


async def test_cancel_before_the_first_token_keeps_the_lanes_queue() -> None:
    backend = FakeBackend("fake", script=[asyncio.Event(), DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create()
        await socket.create(metadata={"second": "yes"})
        await socket.until("response.in_progress")
        await socket.send({"type": "response.cancel"})
        end = (await socket.until())[-1]
        assert end["response"]["status"] == "cancelled"
        assert (await socket.until("response.created"))[-1]["response"]["metadata"] == {"second": "yes"}


async def test_another_keys_response_cannot_be_cancelled() -> None:
    keys = ["sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb"]
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    text = f"server.api_keys = {json.dumps(keys)}"
    async with (
        gateway(text, [backend]) as started,
        client(started, additional_headers={"Authorization": f"Bearer {keys[0]}"}) as mine,
        client(started, additional_headers={"Authorization": f"Bearer {keys[1]}"}) as other,
    ):
        await mine.create()
        response_id = (await mine.until("response.output_text.delta"))[0]["response"]["id"]
        await other.send({"type": "response.cancel", "response_id": response_id})
        assert (await other.next())["error"]["code"] == "response_not_found"
        gate.set()
        assert (await mine.until())[-1]["type"] == "response.completed"


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("script", [[60], [[TextDelta("x")], 60]], ids=["before", "after"])
async def test_a_closed_socket_stops_its_responses_within_250_ms(how: str, script: list[Any]) -> None:
    backend = FakeBackend("fake", script=script)
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        await socket.create(stream_id="b")
        await socket.until("response.in_progress")
        await socket.until("response.output_text.delta" if len(script) > 1 else "response.in_progress")
        while backend.open < 2:
            await asyncio.sleep(0)
        if how == "close":
            await socket.connection.close()
        else:
            socket.connection.transport.abort()
        async with asyncio.timeout(0.25):
            while backend.open:
                backend.left.clear()
                await backend.left.wait()
        assert started.generations.running == 0


async def test_a_backend_with_slots_is_never_asked_for_more_and_the_rest_wait_their_turn() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("x")], 0.005, DONE], slots=2)
    async with gateway(backends=[backend]) as started, client(started) as socket:
        for number in range(10):
            await socket.create(stream_id=f"{number}")
        ends = [(await socket.until())[-1]["type"] for _ in range(10)]
    assert ends == ["response.completed"] * 10  # the fake refuses a third at once


@pytest.mark.parametrize("way", ["query", "header", "subprotocol"])
async def test_who_waits_for_a_slot_and_asked_for_extensions_is_told_its_place(way: str) -> None:
    options: dict[str, Any] = {
        "query": {"query": "?sl_ext=1"},
        "header": {"additional_headers": {"X-Streamlane-Ext": "1"}},
        "subprotocol": {"subprotocols": ["streamlane.v1"]},
    }[way]
    first = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], first, DONE], slots=1)
    async with gateway(backends=[backend]) as started, client(started, **options) as socket:
        for lane in "abc":
            await socket.create(stream_id=lane)
        told = []
        while len(told) < 3:
            event = await socket.next()
            if event["type"] == "streamlane:route":
                told.append((event["stream_id"], event["queue_position"]))
        assert told == [("a", 0), ("b", 1), ("c", 2)]
        await socket.send({"type": "response.cancel", "stream_id": "b"})
        assert (await socket.until("streamlane:route"))[-1] | {"response_id": ""} == {
            "type": "streamlane:route",
            "response_id": "",
            "sequence_number": 1,
            "stream_id": "c",
            "model": "fake",
            "backend": "fake",
            "queue_position": 1,
        }
        first.set()
        events = await socket.until("streamlane:route")
        assert (events[-1]["stream_id"], events[-1]["queue_position"]) == ("c", 0)


async def test_who_did_not_ask_for_extensions_sees_only_what_openai_defines() -> None:
    async with gateway(backends=[answers(slots=1)]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        await socket.create(stream_id="b")
        events = await socket.until() + await socket.until()
    assert all(event["type"].startswith("response.") for event in events)


async def test_waiting_for_a_slot_has_a_deadline() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event()], slots=1)
    async with gateway("deadlines.queue = 0.05", [backend]) as started, client(started) as socket:
        await socket.create(stream_id="a")
        await socket.until("response.output_text.delta")
        await socket.create(stream_id="b")
        end = (await socket.until())[-1]
    assert end["stream_id"] == "b"
    assert "queue deadline" in end["response"]["error"]["message"]
