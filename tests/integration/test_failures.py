"""What a client sees when a backend fails, is late, or is more than it can read."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from backends.errors import ContextLengthExceeded, Overloaded, QuotaExhausted, StreamBroken
from backends.events import TextDelta
from backends.fake import FakeBackend
from backends.request import said
from tests.gateway import DONE, answers, client, gateway, text_of
from tests.upstream import LAST, SSE_HEAD, Upstream, chat_chunk, chunk, plain

FAST = """
[[backends]]
name = "first"
kind = "fake"
[[backends]]
name = "second"
kind = "fake"
[models.fast]
targets = ["first/fake", "second/fake"]
"""


async def test_a_failure_before_content_falls_back_to_the_next_target() -> None:
    first, second = FakeBackend("first", script=[Overloaded()]), answers("second")
    text = FAST + 'instructions = "Be kind."\ntemperature = 0.3'
    async with gateway(text, [first, second]) as started, client(started) as socket:
        await socket.create("fast")
        events = await socket.until()
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == "Hello wörld"
    assert events[-1]["response"]["model"] == "fast"
    [request] = second.requests
    assert request.messages[0] == said("system", "Be kind.")
    assert request.sampling.temperature == 0.3


async def test_a_failure_after_content_is_the_clients_and_no_second_target_is_asked() -> None:
    first, second = FakeBackend("first", script=[[TextDelta("Hel")], StreamBroken()]), answers("second")
    async with gateway(FAST, [first, second]) as started, client(started) as socket:
        await socket.create("fast")
        events = await socket.until()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "backend_stream_broken"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hel"
    assert second.requests == []


async def test_when_every_target_refuses_the_request_the_last_reason_is_told() -> None:
    first = FakeBackend("first", script=[ContextLengthExceeded(5000, 2048)])
    second = FakeBackend("second", script=[ContextLengthExceeded(5000, 4096)])
    async with gateway(FAST, [first, second]) as started, client(started) as socket:
        await socket.create("fast")
        error = (await socket.until())[-1]["response"]["error"]
    assert error["code"] == "context_length_exceeded"
    assert "5000" in error["message"]
    assert "4096" in error["message"]


async def test_when_every_target_fails_the_most_hopeful_reason_is_told() -> None:
    first = FakeBackend("first", script=[QuotaExhausted()])
    second = FakeBackend("second", script=[ContextLengthExceeded(5000, 4096)])
    async with gateway(FAST, [first, second]) as started, client(started) as socket:
        await socket.create("fast")
        error = (await socket.until())[-1]["response"]["error"]
    assert error["code"] == "insufficient_quota"
    assert "'first'" in error["message"]


@pytest.mark.parametrize(
    ("text", "script", "name"),
    [
        ("deadlines.first_event = 0.05", [60], "first_event"),
        ("deadlines.idle = 0.05", [[TextDelta("x")], 60], "idle"),
        ("deadlines.total = 0.05", [[TextDelta("x")], 60], "total"),
    ],
)
async def test_a_deadline_ends_the_response_and_says_which(text: str, script: list[Any], name: str) -> None:
    backend = FakeBackend("fake", script=script)
    async with gateway(text, [backend]) as started, client(started) as socket:
        await socket.create()
        end = (await socket.until())[-1]
    assert end["type"] == "response.failed"
    assert end["response"]["error"]["code"] == "deadline_exceeded"
    assert f"{name} deadline of 0.05 s" in end["response"]["error"]["message"]
    assert backend.open == 0


async def test_signs_of_life_are_no_silence() -> None:
    script = [[TextDelta("x")], *([0.02, []] * 8), DONE]
    async with gateway("deadlines.idle = 0.1", [FakeBackend("fake", script=script)]) as started:
        async with client(started) as socket:
            await socket.create()
            assert (await socket.until())[-1]["type"] == "response.completed"


async def test_an_answer_that_outgrows_its_log_is_incomplete() -> None:
    script = [*([[TextDelta("x" * 20_000)]] * 10), DONE]
    backend = FakeBackend("fake", script=script)
    async with gateway("limits.max_response_bytes = 65536", [backend]) as started, client(started) as socket:
        await socket.create()
        end = (await socket.until())[-1]
    assert end["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert len(end["response"]["output"][0]["content"][0]["text"]) == 40_000
    assert backend.open == 0


async def test_a_reader_that_stops_is_cut_and_the_others_do_not_notice() -> None:
    big = [TextDelta("x" * 20_000)]
    backend = FakeBackend("fake", script=[*([big] * 2000), DONE])
    text = "deadlines.send = 0.3\nlimits.log_ahead_bytes = 65536\nlimits.max_response_bytes = 100000000"
    async with gateway(text, [backend, answers("quick", models=("quick",))]) as started:
        async with client(started) as good, client(started, max_queue=1) as stalled:
            await stalled.create()  # 40 MB, and nobody reads
            while not backend.open:
                await asyncio.sleep(0)
            backend.left.clear()
            async with asyncio.timeout(3):
                while backend.open:
                    await good.create("quick")
                    assert (await good.until())[-1]["type"] == "response.completed"
            assert started.generations.running == 0
            stalled.connection.transport.abort()


async def test_a_slow_reader_that_reads_gets_everything_once_merged() -> None:
    pieces = [[TextDelta(f"{number:06d}" * 500)] for number in range(400)]
    backend = FakeBackend("fake", script=[*pieces, DONE])
    text = "limits.log_ahead_bytes = 65536"
    async with gateway(text, [backend]) as started, client(started, max_queue=1) as socket:
        await socket.create()
        events = [await socket.next()]
        while events[-1]["type"] != "response.completed":
            await asyncio.sleep(0.001)
            events.append(await socket.next())
    expected = "".join(piece[0].text for piece in pieces)
    assert text_of(events) == expected
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))


async def test_a_client_that_talks_and_never_listens_is_cut() -> None:
    async with gateway("deadlines.send = 0.3", [answers()]) as started, client(started, max_queue=1) as deaf:

        async def talk() -> None:
            while True:
                await deaf.connection.send("no JSON")

        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(talk(), 60)


async def test_an_answer_without_an_end_mark_ends_at_once() -> None:
    """The last text and the end of the body in one read, no [DONE]: there will be no further read to wake us."""
    finish = chunk(chat_chunk({"content": "Hi"}, "stop")) + LAST
    async with Upstream([SSE_HEAD, finish], [SSE_HEAD, chunk(chat_chunk({"content": "Hi"})) + LAST]) as upstream:
        text = f'[[backends]]\nname = "up"\nkind = "openai_compatible"\nbase_url = "{upstream.url}"\nmodels = ["m"]'
        async with gateway(text) as started, client(started) as socket, asyncio.timeout(5):
            await socket.create("m")
            whole = await socket.until()
            await socket.create("m")
            broken = await socket.until()
    assert (whole[-1]["type"], text_of(whole)) == ("response.completed", "Hi")
    assert (broken[-1]["type"], text_of(broken)) == ("response.failed", "Hi")
    assert broken[-1]["response"]["error"]["code"] == "backend_stream_broken"


async def test_a_backend_that_talks_nonsense_about_its_models_harms_nobody() -> None:
    nonsense = plain(503, {}, "retry-after: Fri, 31 Dec 99999999999999999999 23:59:59 GMT")
    async with Upstream(nonsense) as upstream:
        text = f'[[backends]]\nname = "up"\nkind = "openai_compatible"\nbase_url = "{upstream.url}"'
        async with gateway(text, [answers()]) as started, client(started) as socket:
            await upstream.seen(0)
            await socket.create()
            assert (await socket.until())[-1]["type"] == "response.completed"


async def test_an_aliass_missing_model_leads_to_the_next_target() -> None:
    backends = FAST.replace('"first/fake"', '"first/gone"')
    async with gateway(backends) as started, client(started) as socket:
        await socket.create("fast")
        assert (await socket.until())[-1]["type"] == "response.completed"


async def test_a_client_that_is_behind_can_still_cancel() -> None:
    big = [TextDelta("x" * 20_000)]
    backend = FakeBackend("fake", script=[*([big] * 2000), DONE])
    async with gateway("limits.max_response_bytes = 100000000", [backend]) as started:
        async with client(started, max_queue=1) as deaf:
            await deaf.create()
            while not backend.open:
                await asyncio.sleep(0)
            backend.left.clear()
            await deaf.send({"type": "response.processed"})
            await deaf.send({"type": "response.cancel"})
            async with asyncio.timeout(0.25):
                await backend.left.wait()
            assert backend.open == 0
            deaf.connection.transport.abort()


async def test_who_answers_no_ping_is_cut() -> None:
    text = "deadlines.ping = 0.05\ndeadlines.pong = 0.1"
    async with gateway(text, [answers()]) as started:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(started.base_url.split(":")[2].split("/")[0]))
        writer.write(
            b"GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(2):
            with suppress(ConnectionResetError):
                seen = await reader.read(2)
                assert seen == b"\x89\x00"
                while await reader.read(64):
                    pass
        writer.close()
