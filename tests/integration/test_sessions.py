"""Sessions over real sockets: who loses its connection comes back to all that it missed."""

import asyncio
import json
import random
from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.app import Gateway
from tests.gateway import DONE, Client, answers, connected, gateway, process, text_of
from tests.integration.cuts import Wire
from tests.upstream import until

KEY = "a-session-key-of-32-characters--"


def session(
    started: Gateway, after: int | None = None, *, key: str = KEY, extended: bool = False, **options: Any
) -> AbstractAsyncContextManager[Client]:
    """A connection of a session."""
    query = f"?sl_session={key}" + ("" if after is None else f"&sl_after={after}") + ("&sl_ext=1" if extended else "")
    return connected(started.base_url, query, **options)


def tokens(count: int) -> list[str]:
    return [f"{number} " for number in range(count)]


def speaking(count: int, pause: float = 0.0) -> FakeBackend:
    """One token after the other, with a turn of the loop between them."""
    script: list[Any] = []
    for token in tokens(count):
        script += [[TextDelta(token)], pause]
    return FakeBackend("fake", script=[*script, DONE])


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["sl_seq"] for event in events]


@pytest.mark.parametrize("seed", range(4))
async def test_no_token_is_lost_or_repeated_when_connections_break(seed: int) -> None:
    dice = random.Random(seed)
    lanes = {f"lane{number}" for number in range(4)}
    events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    ended: set[str] = set()
    last, cuts = 0, 0
    async with gateway(backends=[speaking(300)]) as started:
        while ended < lanes:
            async with session(started, last) as socket:
                for lane in sorted(lanes - ended):  # whether the last one arrived is not known
                    await socket.create(stream_id=lane, event_id=f"create-{lane}")
                for _ in range(dice.randrange(1, 60)):
                    event = await socket.next()
                    assert event["sl_seq"] == last + 1
                    last = event["sl_seq"]
                    events[event["stream_id"]].append(event)
                    if event["type"] == "response.completed":
                        ended.add(event["stream_id"])
                        if ended == lanes:
                            break
                socket.connection.transport.abort()
                cuts += 1
    assert cuts > 5
    for lane in lanes:
        assert text_of(events[lane]) == "".join(tokens(300))
        assert [event["type"] for event in events[lane]].count("response.created") == 1
        order = [event["sequence_number"] for event in events[lane]]
        assert order == sorted(set(order))


async def test_what_finished_while_away_is_there_and_zero_replays_all() -> None:
    async with gateway(backends=[answers()]) as started:
        async with session(started) as socket:
            await socket.create(stream_id="a")
            await socket.create(stream_id="a")
            first = await socket.until("response.created")
            socket.connection.transport.abort()
        await until(lambda: started.generations.running == 0)
        async with session(started, 0) as socket:
            everything = await socket.until() + await socket.until()
            assert everything[0] == first[0]
            assert text_of(everything) == "Hello wörld" * 2
            socket.connection.transport.abort()
        async with session(started, numbers(everything)[-2]) as socket:
            again = await socket.next()
            assert again == everything[-1]


async def test_too_long_away_cancels_and_the_partial_answer_is_there() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], asyncio.Event()])
    async with gateway("session.detach_ttl = 0.05", [backend]) as started:
        async with session(started) as socket:
            await socket.create()
            events = await socket.until("response.output_text.delta")
        async with asyncio.timeout(5):
            await backend.left.wait()
        async with session(started, numbers(events)[-1]) as socket:
            end = (await socket.until())[-1]["response"]
        assert end["status"] == "cancelled"
        assert end["output"][0]["content"][0]["text"] == "Hel"


async def test_within_detach_ttl_the_answer_goes_on() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], gate, [TextDelta("lo")], DONE])
    async with gateway(backends=[backend]) as started:
        async with session(started) as socket:
            await socket.create()
            events = await socket.until("response.output_text.delta")
        gate.set()
        await until(lambda: started.generations.running == 0)
        async with session(started, numbers(events)[-1]) as socket:
            events += await socket.until()
    assert text_of(events) == "Hello"
    assert events[-1]["type"] == "response.completed"


@pytest.mark.parametrize("extended", [True, False])
async def test_after_resume_ttl_or_a_restart_the_gap_is_said(extended: bool) -> None:
    epochs = []
    for text in ("session.resume_ttl = 0.01", ""):
        async with gateway(text, [answers()]) as started:
            if text:
                async with session(started, extended=extended) as socket:
                    await socket.create()
                    events = await socket.until()
                    epochs += [event["epoch"] for event in events if "epoch" in event]
                await asyncio.sleep(0.1)  # longer than resume_ttl, however slow the machine
            async with session(started, numbers(events)[-1], extended=extended) as socket:
                gap = await socket.next()
                assert (gap["type"], gap["status"], gap["error"]["code"]) == ("error", 409, "sl_resume_gap")
                assert gap["sl_seq"] > numbers(events)[-1]
                await socket.create()
                rest = await socket.until()
                epochs += [event["epoch"] for event in rest if event["type"] == "streamlane:session.created"]
                assert text_of(rest) == "Hello wörld"
    assert len(set(epochs)) == len(epochs) == (3 if extended else 0)


async def test_another_key_cannot_attach() -> None:
    keys = ["sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb"]
    mine, other = ({"additional_headers": {"Authorization": f"Bearer {key}"}} for key in keys)
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("mine")], gate, DONE])
    async with gateway(f"server.api_keys = {json.dumps(keys)}", [backend]) as started:
        async with session(started, **mine) as socket:
            await socket.create()
            await socket.until("response.output_text.delta")
            async with session(started, 0, **other) as thief:
                await thief.create(model="nope")
                assert (await thief.next())["error"]["code"] == "model_not_found"  # and nothing before it
                gate.set()
                assert (await socket.until())[-1]["type"] == "response.completed"


async def test_the_newer_connection_wins_and_the_older_is_closed_with_4409() -> None:
    backend = speaking(50, 0.002)
    async with gateway(backends=[backend]) as started, session(started) as old:
        await old.create()
        events = await old.until("response.output_text.delta")
        async with session(started, numbers(events)[-1]) as new:
            events += await new.until()
        assert text_of(events) == "".join(tokens(50))
        with pytest.raises(ConnectionClosed) as closed:
            await old.until("never")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4409
    assert len(backend.requests) == 1


async def test_a_plain_connection_gets_no_numbers_and_no_sessions_events() -> None:
    async with gateway(backends=[answers()]) as started, connected(started.base_url) as socket:
        await socket.create(event_id="e1")
        events = await socket.until()
        await socket.create(event_id="e1")  # without a session it is only a name
        events += await socket.until()
        assert not any("sl_seq" in event for event in events)
        await socket.send({"type": "streamlane:ping", "id": 1})
        assert (await socket.next())["error"]["code"] == "invalid_event"


async def test_a_browser_resumes_with_its_first_frame() -> None:
    async with gateway(backends=[answers()]) as started:
        async with session(started, extended=True) as socket:
            created = await socket.next()
            await socket.create()
            events = await socket.until()
        async with connected(started.base_url, subprotocols=["streamlane.v1"]) as socket:
            frame = {"type": "streamlane:session.resume", "sl_session": KEY, "epoch": created["epoch"]}
            await socket.send({**frame, "sl_after": numbers(events)[-2]})
            resumed, last = await socket.next(), await socket.next()
            assert (resumed["type"], resumed["epoch"]) == ("streamlane:session.resumed", created["epoch"])
            assert last["response"] == events[-1]["response"]
            await socket.send({**frame, "sl_after": 0})
            assert (await socket.next())["error"]["code"] == "invalid_event"
        async with connected(started.base_url, "?sl_ext=1") as socket:
            await socket.send({**frame, "sl_session": "short"})
            assert (await socket.next())["error"]["code"] == "invalid_session_key"


@pytest.mark.parametrize(
    ("query", "code"),
    [("sl_session=short", "invalid_session_key"), (f"sl_session={KEY}&sl_after=-1", "invalid_parameter")],
)
async def test_a_bad_key_or_number_refuses_the_upgrade(query: str, code: str) -> None:
    async with gateway(backends=[answers()]) as started:
        with pytest.raises(InvalidStatus) as refused:
            async with connected(started.base_url, f"?{query}"):
                pass
    assert refused.value.response.status_code == 400
    assert json.loads(refused.value.response.body)["error"]["code"] == code


async def test_a_conversation_goes_on_after_the_connection_broke() -> None:
    async with gateway(backends=[answers()]) as started:
        async with session(started) as socket:
            await socket.create(stream_id="a", store=False)
            events = await socket.until()
        response_id = events[-1]["response"]["id"]
        async with session(started, numbers(events)[-1]) as socket:
            await socket.create(stream_id="a", store=False, previous_response_id=response_id)
            assert (await socket.until())[-1]["type"] == "response.completed"
            await socket.create(stream_id="b", previous_response_id="resp_nobody")
            assert (await socket.until())[-1]["error"]["code"] == "previous_response_not_found"


async def test_draining_is_told_and_neither_key_nor_number_is_logged() -> None:
    text = '[log]\nlevel = "debug"\n[[backends]]\nname = "f"\nkind = "fake"\ntext = "a b c d"\ntokens_per_second = 20'
    async with process(text) as started:
        query = f"?sl_ext=1&sl_session={KEY}&sl_after=987654321"
        async with connected(started.base_url, query) as socket:
            await socket.create()
            await socket.until("response.output_text.delta")
            started.process.terminate()
            told = (await socket.until("streamlane:session.draining"))[-1]
            assert told["deadline_s"] == 30
            assert told["retry_after_ms"] >= 1000
            assert (await socket.until())[-1]["type"] == "response.completed"
            with pytest.raises(ConnectionClosed) as closed:
                await socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await started.process.wait() == 0
        assert KEY not in started.stderr
        assert "987654321" not in started.stderr


async def test_the_unmodified_sdk_resumes() -> None:
    """The example of docs/sessions.md, while the network breaks."""
    last = {"number": 0}

    def again(_: Any) -> Any:
        return {"extra_query": {"sl_session": KEY, "sl_after": str(last["number"])}}

    said, cuts = "", 0
    async with gateway(backends=[speaking(400, 0.001)]) as started, Wire(started.base_url) as wire:
        sdk = AsyncOpenAI(base_url=wire.base_url, api_key="sk-local")
        async with sdk.responses.connect(
            extra_query={"sl_session": KEY},
            on_reconnecting=again,
            initial_delay=0.01,
            max_delay=0.05,
        ) as connection:
            create = {"type": "response.create", "model": "fake", "input": "hi", "stream_id": "a", "event_id": "e1"}
            await connection.send(create)
            async for event in connection:
                last["number"] = getattr(event, "sl_seq", last["number"])
                if event.type == "response.output_text.delta":
                    said += event.delta
                    if len(said.split()) // 100 > cuts:
                        cuts += 1
                        wire.cut()
                elif event.type in {"response.completed", "response.failed", "error"}:
                    break
    assert event.type == "response.completed"
    assert said == "".join(tokens(400))
    assert wire.connections > cuts >= 3


@pytest.mark.parametrize("path", ["/responses/{}", "/responses"])
async def test_what_is_deleted_is_not_sent_again(path: str) -> None:
    async with gateway("responses.log_bytes = 1024", backends=[answers()]) as started:  # its log is held by nobody else
        async with session(started) as socket:
            await socket.create(store=False)
            response_id = (await socket.until())[-1]["response"]["id"]
        async with (
            aiohttp.ClientSession() as http,
            http.delete(started.base_url + path.format(response_id)) as reply,
        ):
            assert reply.status == 200
        async with session(started, 0) as socket:
            assert (await socket.next())["error"]["code"] == "sl_resume_gap"
            await socket.create(store=False)
            events = await socket.until()
        assert text_of(events) == "Hello wörld"
        assert response_id not in str(events)


async def test_what_every_event_of_a_response_repeats_is_counted_once() -> None:
    async with gateway(backends=[answers()]) as started:
        async with session(started) as socket:
            await socket.create(store=False)
            await socket.until()
            small = started.generations.held_bytes
            await socket.create(store=False, instructions="x" * 500_000)
            await socket.until()
        assert started.generations.held_bytes - 2 * small > 2 * 490_000  # in its events, and as it is stored
