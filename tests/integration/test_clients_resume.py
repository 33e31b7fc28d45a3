"""Our clients lose their connection in the middle of answers, and go on; what cannot go on is said."""

import asyncio
import json

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from streamlane_client import AsyncAnswer, AsyncClient, Cancelled, ConnectionLost, Event
from streamlane_client.lanes import Lanes, Record
from tests.gateway import DONE, answers, gateway, process
from tests.integration.cuts import Wire
from tests.integration.node_client import script

MODEL = '[[backends]]\nname = "fake"\nkind = "fake"\ntext = "one two three"\ntokens_per_second = 2\n'


def halves(gate: asyncio.Event) -> FakeBackend:
    """Says "Hel", waits for the event, and says "lo"."""
    return FakeBackend("fake", script=[[TextDelta("Hel")], gate, [TextDelta("lo")], DONE])


def text_of(events: list[Event]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


async def first_words(answer: AsyncAnswer) -> str:
    async for event in answer:
        if event["type"] == "response.output_text.delta":
            return event["delta"]
    raise AssertionError("it said nothing")


async def test_creates_around_a_cut_run_once() -> None:
    """Cut within the first bytes again and again: before, in and after response.created."""
    backend = answers()
    async with gateway(backends=[backend]) as started:
        for seed in range(3):
            async with (
                Wire(started.base_url, every=2_500, most=3, seed=seed) as wire,
                AsyncClient(wire.base_url) as client,
            ):
                while client.state != "open":  # where no connection comes at all, a create fails: it was never sent
                    try:
                        await client.open()
                    except ConnectionLost:
                        continue
                running = [client.create(model="fake", input="hi") for _ in range(3)]
                assert await asyncio.gather(*(answer.text() for answer in running)) == ["Hello wörld"] * 3
            assert len(backend.requests) == 3 * (seed + 1)


async def test_what_is_asked_while_the_network_is_gone_waits_with_what_runs() -> None:
    gate = asyncio.Event()
    states: list[str] = []
    async with gateway(backends=[halves(gate)]) as started, Wire(started.base_url) as wire:
        async with AsyncClient(wire.base_url, on_state=lambda state, _: states.append(state)) as client:
            answer = client.create(model="fake", input="hi")
            assert await first_words(answer) == "Hel"
            wire.down()
            gate.set()
            while states.count("connecting") < 2:
                await asyncio.sleep(0.01)
            another = client.create(model="fake", input="hi")
            wire.up()
            assert await answer.text() == "Hello"
            assert await another.text() == "Hello"
    assert states[:4] == ["connecting", "open", "waiting", "connecting"]


async def test_a_cancel_without_a_connection_ends_the_answer_at_once_and_the_gateway_is_told_later() -> None:
    backend = halves(asyncio.Event())
    async with gateway(backends=[backend]) as started, Wire(started.base_url) as wire:
        async with AsyncClient(wire.base_url) as client:
            answer = client.create(model="fake", input="hi")
            assert await first_words(answer) == "Hel"
            wire.down()
            while client.state == "open":
                await asyncio.sleep(0.01)
            answer.cancel()
            assert [event async for event in answer] == []
            assert await answer.text() == "Hel"
            with pytest.raises(Cancelled, match="no connection"):
                await answer.response()
            wire.up()
            async with asyncio.timeout(30):
                await backend.left.wait()


async def test_cancelled_just_before_the_connection_is_lost_an_answer_ends_with_it() -> None:
    async with gateway(backends=[halves(asyncio.Event())]) as started, Wire(started.base_url) as wire:
        async with AsyncClient(wire.base_url) as client:
            answer = client.create(model="fake", input="hi")
            assert await first_words(answer) == "Hel"
            answer.cancel()
            wire.down()
            async with asyncio.timeout(30):
                assert await answer.text() == "Hel"
            wire.up()
            await client.open()


async def test_a_client_that_was_closed_and_is_used_again_has_nothing_of_its_old_answers() -> None:
    gate = asyncio.Event()
    async with gateway(backends=[halves(gate)]) as started, AsyncClient(started.base_url) as client:
        for begun in (True, False):
            gate.clear()
            old = client.create(model="fake", input="hi")
            if begun:
                assert await first_words(old) == "Hel"
            else:
                await client.open()
            await client.close()
            gate.set()
            new = client.create(model="fake", input="hi")
            assert await new.text() == "Hello"
            assert (await new.response())["status"] == "completed"
            assert new.id != old.id


async def test_an_answer_that_ended_while_the_session_was_lost_is_fetched() -> None:
    """The gateway forgot the session, but holds the response: what is missing of it comes as one delta."""
    gate = asyncio.Event()
    async with gateway("[session]\ndetach_ttl = 0.2\nresume_ttl = 0.2", [halves(gate)]) as started:
        async with Wire(started.base_url) as wire, AsyncClient(wire.base_url) as client:
            answer = client.create(model="fake", input="hi")
            assert await first_words(answer) == "Hel"
            wire.down()
            gate.set()
            await asyncio.sleep(0.5)
            wire.up()
            events = [event async for event in answer]
            assert text_of(events) == "lo"
            assert events[-1]["type"] == "response.completed"
            assert await answer.text() == "Hello"
            assert await client.create(model="fake", input="hi").text() == "Hello"


async def test_an_answer_that_had_not_begun_begins_when_the_connection_is_back() -> None:
    """It waited at the gateway, which gave it up: its connection was gone for longer than `session.detach_ttl`."""
    gate = asyncio.Event()
    text = "[session]\ndetach_ttl = 0.2\n[limits]\nactive_responses = 1"
    async with gateway(text, [halves(gate)]) as started, Wire(started.base_url) as wire:
        async with AsyncClient(wire.base_url) as client:
            first, second = (client.create(model="fake", input="hi") for _ in range(2))
            assert await first_words(first) == "Hel"
            wire.down()
            await asyncio.sleep(0.5)
            gate.set()
            wire.up()
            assert (await first.response())["status"] == "cancelled"
            assert await second.text() == "Hello"


def test_the_last_event_of_an_answer_that_was_fetched_is_not_the_end_of_the_next_one_on_its_lane() -> None:
    lanes = Lanes()
    first, second = (Record(b'{"model":"m"}', lambda: None) for _ in range(2))
    lanes.add(first)
    lane = json.loads(lanes.fill()[0])["stream_id"]
    ended = {"id": "resp_1", "status": "completed", "output": []}
    lanes.receive({"type": "response.created", "stream_id": lane, "response": {"id": "resp_1"}})
    [record] = lanes.to_fetch()
    assert record.catch_up(ended)
    lanes.fetched(record)
    lanes.add(second)
    assert json.loads(lanes.fill()[0])["stream_id"] == lane
    lanes.receive({"type": "response.completed", "stream_id": lane, "response": ended})
    assert not second.ended
    lanes.receive({"type": "response.created", "stream_id": lane, "response": {"id": "resp_2"}})
    lanes.receive({"type": "response.completed", "stream_id": lane, "response": ended | {"id": "resp_2"}})
    assert second.final()["id"] == "resp_2"


@pytest.mark.needs("node")
async def test_in_javascript_too() -> None:
    gate = asyncio.Event()
    async with gateway("[session]\ndetach_ttl = 0.2\nresume_ttl = 0.2", [halves(gate)]) as started:
        async with Wire(started.base_url) as wire, script("forgotten", wire.base_url) as node:
            assert await node.says() == "streaming"
            wire.down()
            gate.set()
            await asyncio.sleep(0.5)
            wire.up()
            assert await node.says() == {"text": "Hello", "final": "Hello", "another": "Hello"}


async def test_a_gateway_that_died_took_its_answers_along_and_that_is_said() -> None:
    async with process(MODEL) as first, AsyncClient(first.base_url) as client:
        answer = client.create(model="fake", input="hi")
        assert await first_words(answer) == "one "
        first.process.kill()
        await first.process.wait()
        port = first.base_url.rpartition(":")[2].removesuffix("/v1")
        async with process(MODEL, STREAMLANE_SERVER_PORT=port):
            with pytest.raises(ConnectionLost, match="does not hold it any more") as caught:
                await answer.text()
            assert caught.value.code == "resume_gap"
            assert await client.create(model="fake", input="hi").text() == "one two three"


@pytest.mark.needs("node")
async def test_and_in_javascript() -> None:
    async with process(MODEL) as first, script("died", first.base_url) as node:
        assert await node.says() == "streaming"
        first.process.kill()
        await first.process.wait()
        port = first.base_url.rpartition(":")[2].removesuffix("/v1")
        async with process(MODEL, STREAMLANE_SERVER_PORT=port):
            assert (await node.says())["code"] == "resume_gap"
            assert await node.says() == "one two three"


@pytest.mark.needs("node")
async def test_another_client_goes_on_with_a_session_that_was_saved() -> None:
    gate = asyncio.Event()
    backend = halves(gate)
    async with gateway(backends=[backend]) as started, script("handover", started.base_url) as node:
        assert await node.says() == {"text": "Hel", "answers": 2}
        gate.set()
        said = await node.says()
        assert said["texts"] == ["lo", "Hello"]  # the first one's first half was read before
        assert said["finals"] == ["Hello", "Hello"]
        assert (said["state"], said["before"]["code"]) == ("closed", "session_taken")
    assert len(backend.requests) == 2
