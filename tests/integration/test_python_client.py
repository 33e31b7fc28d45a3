"""The Python client, asynchronous: many answers on one socket, cancels, refusals, and a gateway that goes away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from backends.errors import Overloaded, StreamBroken
from backends.events import TextDelta
from backends.fake import FakeBackend
from streamlane_client import AsyncClient, Cancelled, ConnectionLost, Failed, Refused, StreamlaneError
from tests.gateway import DONE, answers, gateway

KEY = "sk-sl-0123456789abcdefghijklmnop"


def endless(gate: asyncio.Event | None = None, **options: Any) -> FakeBackend:
    """A backend that says "x", then nothing more before `gate`."""
    return FakeBackend("fake", script=[[TextDelta("x")], gate or asyncio.Event(), DONE], **options)


async def nobody_is_served(backend: FakeBackend) -> None:
    async with asyncio.timeout(10):
        while backend.open:
            backend.left.clear()
            await backend.left.wait()


@asynccontextmanager
async def peer(handler: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    """A server that does what no gateway of ours would do at a test's command. Gives its base URL."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_an_answer_is_its_events_its_text_and_its_response() -> None:
    async with gateway(backends=[answers()]) as started, AsyncClient(started.base_url) as client:
        assert client.state == "closed"
        answer = client.create(model="fake", input="hi", metadata={"a": "b"})
        assert answer.id is None
        events = [event async for event in answer]
        assert client.state == "open"
        kinds = [event["type"] for event in events]
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"
        said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert said == await answer.text() == "Hello wörld"
        response = await answer.response()
        assert (response["id"], response["status"], response["metadata"]) == (answer.id, "completed", {"a": "b"})
    assert client.state == "closed"


async def test_the_models_are_listed() -> None:
    async with gateway(backends=[answers()]) as started, AsyncClient(started.base_url) as client:
        assert "fake" in [model["id"] for model in await client.models()]


async def test_sixteen_answers_run_at_once_on_one_socket_and_more_wait_for_a_lane() -> None:
    gate = asyncio.Event()
    backend = endless(gate)
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        running = [client.create(model="fake", input="hi") for _ in range(40)]
        for answer in running[:16]:
            async for event in answer:
                if event["type"] == "response.output_text.delta":
                    break
        assert len(backend.requests) == 16
        gate.set()
        texts = await asyncio.gather(*(answer.text() for answer in running))
        assert texts == ["x"] * 40
        assert len({answer.id for answer in running}) == 40


async def test_a_cancel_stops_the_answer_and_keeps_what_was_said() -> None:
    backend = endless(slots=1)
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        answer = client.create(model="fake", input="hi")
        kinds = []
        async for event in answer:
            kinds.append(event["type"])
            if event["type"] == "response.output_text.delta":
                answer.cancel()
                answer.cancel()
        assert kinds[-1] == "response.incomplete"
        assert (await answer.response())["status"] == "cancelled"
        assert await answer.text() == "x"
        await nobody_is_served(backend)


async def test_leaving_an_answer_early_stops_it_and_others_go_on() -> None:
    gate = asyncio.Event()
    backend = endless(gate)
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        other = client.create(model="fake", input="hi")
        with client.create(model="fake", input="hi") as answer:
            async for event in answer:
                if event["type"] == "response.output_text.delta":
                    break
        async with asyncio.timeout(10):
            while backend.open > 1:
                backend.left.clear()
                await backend.left.wait()
        assert [event async for event in answer] == []
        gate.set()
        assert await other.text() == "x"


async def test_an_answer_cancelled_before_it_is_sent_is_never_asked() -> None:
    gate = asyncio.Event()
    backend = endless(gate)
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        running = [client.create(model="fake", input="hi") for _ in range(16)]
        waiting = client.create(model="fake", input="hi")
        waiting.cancel()
        assert [event async for event in waiting] == []
        assert await waiting.text() == ""
        with pytest.raises(Cancelled):
            await waiting.response()
        gate.set()
        await asyncio.gather(*(answer.response() for answer in running))
        assert len(backend.requests) == 16


async def test_a_refusal_says_why_and_frees_its_lane() -> None:
    async with gateway(backends=[answers()]) as started, AsyncClient(started.base_url) as client:
        for _ in range(17):
            with pytest.raises(Refused, match="The model 'nope' does not exist") as caught:
                await client.create(model="nope", input="hi").text()
        assert (caught.value.code, caught.value.status, caught.value.param) == ("model_not_found", 404, "model")
        assert await client.create(model="fake", input="hi").text() == "Hello wörld"


async def test_a_request_that_the_gateway_cannot_read_is_refused_alone() -> None:
    """Such a refusal names no lane: its frame was not understood."""
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    gate = asyncio.Event()
    async with gateway(backends=[endless(gate)]) as started, AsyncClient(started.base_url) as client:
        other = client.create(model="fake", input="hi")
        assert (await anext(other))["type"] == "response.created"
        with pytest.raises(Refused) as caught:
            await client.create(model="fake", input="hi", metadata=deep).text()
        assert caught.value.code == "invalid_event"
        gate.set()
        assert await other.text() == "x"


async def test_an_answer_that_fails_halfway_gives_what_was_said_and_then_raises() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("so far")], StreamBroken()])
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        answer = client.create(model="fake", input="hi")
        said = []
        with pytest.raises(Failed) as caught:
            said += [event["delta"] async for event in answer if event["type"] == "response.output_text.delta"]
        assert caught.value.code == "backend_stream_broken"
        with pytest.raises(Failed):
            await answer.response()


async def test_an_overloaded_backend_is_a_failure_with_its_code() -> None:
    backend = FakeBackend("fake", script=[Overloaded()])
    async with gateway(backends=[backend]) as started, AsyncClient(started.base_url) as client:
        with pytest.raises(StreamlaneError) as caught:
            await client.create(model="fake", input="hi").text()
        assert caught.value.code == "backend_overloaded"


async def test_a_gateway_that_stops_ends_its_answers_and_is_found_again_when_it_is_back() -> None:
    changed = asyncio.Event()
    states: list[str] = []

    def on_state(state: str, error: StreamlaneError | None) -> None:
        states.append(state)
        changed.set()

    async with gateway("deadlines.drain = 0.05", [endless()]) as started:
        client = AsyncClient(started.base_url, on_state=on_state)
        answer = client.create(model="fake", input="hi")
        assert (await anext(answer))["type"] == "response.created"
    assert (await answer.response())["status"] == "cancelled"
    async with client:
        with pytest.raises(ConnectionLost, match="No gateway answers at") as caught:
            await client.create(model="fake", input="hi").text()
        assert caught.value.code == "connection_failed"
        port = started.base_url.rpartition(":")[2].removesuffix("/v1")
        async with gateway(f"server.port = {port}", [answers()]):
            async with asyncio.timeout(60):
                while client.state != "open":  # nobody asks: it comes back by itself
                    changed.clear()
                    await changed.wait()
            assert await client.create(model="fake", input="hi").text() == "Hello wörld"
    assert states[:3] == ["connecting", "open", "waiting"]
    assert states[-1] == "closed"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, r"lost \(without a word\)"),
        (1000, r"lost \(with code 1000\)"),
        (1009, "larger than it takes"),
        (1012, "The gateway restarts"),
    ],
)
async def test_a_connection_lost_midway_ends_the_answer_with_the_reason(code: int | None, message: str) -> None:
    async def hang_up(socket: ServerConnection) -> None:
        lane = json.loads(await socket.recv())["stream_id"]
        event = {"type": "response.created", "stream_id": lane, "sequence_number": 0, "response": {"id": "resp_1"}}
        await socket.send(json.dumps(event))
        if code is None:
            socket.transport.abort()
        else:
            await socket.close(code)

    async with peer(hang_up) as url, AsyncClient(url) as client:
        answer = client.create(model="m", input="hi")
        assert (await anext(answer))["type"] == "response.created"
        with pytest.raises(ConnectionLost, match=message) as caught:
            await anext(answer)
        assert caught.value.code == "connection_lost"
        with pytest.raises(ConnectionLost, match=message):
            await answer.response()


async def test_unknown_events_come_through_and_rubbish_does_not() -> None:
    async def talk(socket: ServerConnection) -> None:
        lane = json.loads(await socket.recv())["stream_id"]
        for rubbish in ("{", "[]", '{"type":"x"}', '{"type":"x","stream_id":["a"]}', '{"stream_id":"other"}'):
            await socket.send(rubbish)
        for event in ({"type": "new:thing", "n": 1}, {"type": "response.completed", "response": {"id": "r"}}):
            await socket.send(json.dumps({**event, "stream_id": lane}))
        await socket.wait_closed()

    async with peer(talk) as url, AsyncClient(url) as client:
        events = [event async for event in client.create(model="m", input="hi")]
        assert [event["type"] for event in events] == ["new:thing", "response.completed"]


async def test_big_frames_come_through() -> None:
    async def talk(socket: ServerConnection) -> None:
        lane = json.loads(await socket.recv())["stream_id"]
        begun = {"type": "response.created", "response": {"id": "r"}}
        delta = {"type": "response.output_text.delta", "delta": "x" * 3_000_000}
        for event in (begun, delta, {"type": "response.completed", "response": {"id": "r"}}):
            await socket.send(json.dumps({**event, "stream_id": lane}))
        await socket.wait_closed()

    async with peer(talk) as url, AsyncClient(url) as client:
        assert len(await client.create(model="m", input="hi").text()) == 3_000_000


@pytest.mark.parametrize(("key", "message"), [(None, "An API key is needed"), ("sk-sl-wrong", "is not valid")])
async def test_without_the_right_key_everything_is_refused(
    key: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMLANE_API_KEY", raising=False)
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        async with AsyncClient(started.base_url, key) as client:
            for ask in (client.models, client.open, client.create(model="fake", input="hi").text):
                with pytest.raises(Refused, match=message) as caught:
                    await ask()
                assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
            assert client.state == "closed"  # asking again would not help
        async with AsyncClient(started.base_url, KEY) as client:
            await client.open()
            assert await client.create(model="fake", input="hi").text() == "Hello wörld"
            assert KEY not in repr(vars(client))


async def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        monkeypatch.setenv("STREAMLANE_BASE_URL", started.base_url + "/")
        monkeypatch.setenv("STREAMLANE_API_KEY", KEY)
        async with AsyncClient() as client:
            assert client.base_url == started.base_url
            assert await client.create(model="fake", input="hi").text() == "Hello wörld"


async def test_a_redirect_is_not_followed_since_the_key_would_follow_too() -> None:
    asked: list[str] = []

    async def nothing(socket: ServerConnection) -> None:
        asked.append(socket.request.headers.get("Authorization") if socket.request else "")

    async with peer(nothing) as elsewhere:

        def redirect(connection: ServerConnection, request: object) -> Any:
            response = connection.respond(307, "")
            response.headers["Location"] = elsewhere.replace("http", "ws", 1)
            return response

        async with peer(nothing, process_request=redirect) as url, AsyncClient(url, KEY) as client:
            for ask in (client.open, client.models):
                with pytest.raises(Refused, match="Use the address that it leads to") as caught:
                    await ask()
                assert caught.value.status == 307
    assert asked == []


async def test_a_busy_gateway_is_asked_again_after_the_time_it_names() -> None:
    def busy(connection: ServerConnection, request: object) -> Any:
        response = connection.respond(503, "busy")
        response.headers["Retry-After"] = "7"
        return response

    async def nothing(socket: ServerConnection) -> None: ...

    async with peer(nothing, process_request=busy) as url, AsyncClient(url) as client:
        with pytest.raises(Refused) as caught:
            await client.open()
        assert (caught.value.status, caught.value.retry_after) == (503, 7)
        assert client.state == "waiting"


async def test_closing_the_client_ends_what_runs_and_what_waits() -> None:
    async with gateway(backends=[endless()]) as started:
        client = AsyncClient(started.base_url)
        running = [client.create(model="fake", input="hi") for _ in range(17)]
        assert (await anext(running[0]))["type"] == "response.created"
        await client.close()
        for answer in running:
            with pytest.raises(ConnectionLost, match="was closed"):
                await answer.text()
        unsent = client.create(model="fake", input="hi")
        await client.close()
        with pytest.raises(ConnectionLost, match="was closed"):
            await unsent.text()


@pytest.mark.parametrize("url", ["127.0.0.1:8765", "ws://localhost/v1", "http://", "http://h/v1?a=b"])
def test_a_base_url_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(ValueError, match="The base URL must look like"):
        AsyncClient(url)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="Copy it again") as caught:
        AsyncClient(api_key="sk-sl-secret\r\nX: y")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"input": "\ud800"}, {"temperature": float("nan")}, {"input": [object()]}])
async def test_what_json_cannot_say_is_refused_where_it_is_given(fields: dict[str, Any]) -> None:
    client = AsyncClient()
    with pytest.raises((TypeError, ValueError)):
        client.create(model="fake", **{"input": "hi", **fields})
    with pytest.raises(TypeError, match="stream_id"):
        client.create(model="fake", input="hi", stream_id="mine")
