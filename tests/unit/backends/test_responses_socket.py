"""The Responses API's socket: one for many answers, opened anew when it is lost, done without while it cannot be."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backends import key_file, responses_lanes, responses_socket
from backends.errors import ModelNotFound, ProtocolViolation, RateLimited, StreamBroken
from backends.events import Event, Finished, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from backends.forward_proxy import ForwardProxy
from backends.http import Transport
from backends.openai import OpenAI, Options
from backends.request import Message, Opaque, Reasoning, Request, Secret, Text, said
from tests.providers import openai as provider
from tests.providers.base import Fault
from tests.upstream import until

ASK = Request("fake", (said("user", "Hello"),), 100)
END = Finished("stop", Usage(1, 8))
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def server() -> AsyncIterator[provider.OpenAI]:
    async with provider.OpenAI(FakeBackend("behind", text=WORDS), keyed=True) as server:
        yield server


@pytest.fixture
async def backend(server: provider.OpenAI, transport: Transport) -> AsyncIterator[OpenAI]:
    async with built(server, transport) as backend:
        yield backend


@asynccontextmanager
async def built(server: provider.OpenAI, transport: Transport, **more: Any) -> AsyncIterator[OpenAI]:
    defaults = {"api_key": server.key, "upstream": "responses"}
    backend = OpenAI(Options(name="b", base_url=server.url, **(defaults | more)), transport)
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()


async def told(backend: OpenAI, request: Request = ASK) -> list[Event]:
    async with backend.stream(request) as batches:
        return [event async for batch in batches for event in batch]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def by_socket(server: provider.OpenAI) -> list[bool]:
    return [seen.path == "socket" for seen in server.seen]


async def test_many_answers_come_over_one_socket(backend: OpenAI, server: provider.OpenAI) -> None:
    for _ in range(3):
        answers = await asyncio.gather(*(told(backend) for _ in range(8)))
        assert {text(answer) for answer in answers} == {WORDS}
        assert {answer[-1] for answer in answers} == {Finished("stop", Usage(1, 8))}
    assert server.opened == 1
    assert by_socket(server) == [True] * 24
    assert server.seen[0].body["store"] is False


async def test_what_finds_no_lane_goes_by_http(backend: OpenAI, server: provider.OpenAI) -> None:
    go_on = asyncio.Event()
    server.behind.script = [[TextDelta("a")], go_on, [END]]
    tasks = [asyncio.create_task(told(backend)) for _ in range(responses_lanes.LANES + 2)]
    await until(lambda: len(server.behind.requests) == len(tasks))
    go_on.set()
    assert {text(answer) for answer in await asyncio.gather(*tasks)} == {"a"}
    assert sorted(by_socket(server)) == [False] * 2 + [True] * responses_lanes.LANES


async def test_a_pushed_answer_can_be_held_back(backend: OpenAI) -> None:
    found: list[Event] = []
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sink(batch: Any) -> asyncio.Future[None] | None:
        found.extend(batch)
        return None if held.done() else held

    async with backend.stream(ASK) as lane:
        task = asyncio.create_task(lane.into(sink))
        await until(lambda: bool(found))
        assert lane.silent_since() is None
        assert text(await told(backend)) == WORDS, "other lanes go on meanwhile"
        assert text(found) != WORDS
        held.set_result(None)
        assert await task == Finished("stop", Usage(1, 8))
    assert text(found) == WORDS


async def test_a_reader_that_is_too_slow_loses_its_lane(
    backend: OpenAI, server: provider.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses_lanes, "LANE_LIMIT", 2000)
    server.behind.script = [[TextDelta("word ") for _ in range(100)], [END]]
    async with backend.stream(ASK) as slow:
        await until(lambda: len(server.behind.requests) == 1)
        server.behind.script = [[TextDelta("quick")], [END]]
        assert text(await told(backend)) == "quick"
        batches = aiter(slow)
        assert text(list(await anext(batches))).startswith("word word")
        with pytest.raises(StreamBroken):
            async for _ in batches:
                pass
    assert server.opened == 1


@pytest.mark.parametrize("cancels", [True, False])
async def test_who_leaves_is_told_to_the_server(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    """By response.cancel; and by closing the socket where that is unknown, and nobody else is on it."""
    if not cancels:
        monkeypatch.setattr(responses_lanes, "LINGER", 0.05)
    behind = FakeBackend("behind", script=[[TextDelta("a")], asyncio.Event()])
    async with provider.OpenAI(behind, keyed=True, cancels=cancels) as server:
        async with built(server, transport) as backend:
            async with backend.stream(ASK) as batches:
                while not text(list(await anext(batches))):
                    pass
                [socket] = server.open
            await server.seen[0].gone.wait()
            assert server.seen[0].left_early
            assert bool(socket.cancelled) is cancels
            behind.script = None
            assert text(await told(backend))
            await until(lambda: server.opened == (1 if cancels else 2))


async def test_a_lost_socket_breaks_what_was_on_it_and_is_opened_again(
    backend: OpenAI, server: provider.OpenAI
) -> None:
    server.behind.script = [[TextDelta("a")], asyncio.Event()]
    for lose in (lambda socket: socket.reset(), lambda socket: asyncio.create_task(socket.limit())):
        before = server.opened
        async with backend.stream(ASK) as batches:
            while not text(list(await anext(batches))):
                pass
            [socket] = server.open
            lost = lose(socket)
            with pytest.raises(StreamBroken):
                async for _ in batches:
                    pass
            if lost is not None:
                await lost
        await until(lambda before=before: server.opened == before + 1)
    server.behind.script = None
    assert text(await told(backend)) == WORDS
    assert set(by_socket(server)) == {True}


async def test_an_old_socket_is_retired_while_answers_still_run_on_it(
    server: provider.OpenAI, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses_socket, "LIFETIME", 0.2)
    go_on = asyncio.Event()
    server.behind.script = [[TextDelta("a")], go_on, [END]]
    async with built(server, transport) as backend:
        task = asyncio.create_task(told(backend))
        await until(lambda: server.opened == 2)
        monkeypatch.setattr(responses_socket, "LIFETIME", 3600)
        assert not task.done()
        go_on.set()
        assert text(await task) == "a"


async def test_without_a_socket_http_is_spoken_and_the_socket_is_tried_again_later(
    server: provider.OpenAI, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.sockets = False
    async with built(server, transport) as backend:
        assert text(await told(backend)) == WORDS
        server.sockets = True
        assert text(await told(backend)) == WORDS, "not again at once"
        assert server.opened == 0
        later = backend._socket._now() + responses_socket.PAUSE
        monkeypatch.setattr(backend._socket, "_now", lambda: later)
        assert text(await told(backend)) == WORDS
        assert by_socket(server) == [False, False, True]
        assert server.seen[0].path == "/v1/responses"


async def test_a_refusal_ends_one_answer_alone(backend: OpenAI, server: provider.OpenAI) -> None:
    server.faults += [Fault("rate_limited", retry_after=2), None]
    with pytest.raises(RateLimited) as limited:
        await told(backend)
    assert limited.value.retry_after == 2
    with pytest.raises(ModelNotFound, match="'other'"):
        await told(backend, replace(ASK, model="other"))
    assert text(await told(backend)) == WORDS
    assert server.opened == 1


async def test_rubbish_ends_the_socket(backend: OpenAI, server: provider.OpenAI) -> None:
    server.faults.append(Fault("bad_chunk", at=2))
    with pytest.raises(ProtocolViolation):
        await told(backend)
    assert text(await told(backend)) == WORDS
    assert server.opened == 2


async def test_what_the_api_has_no_words_for_is_asked_in_chat_completions(
    backend: OpenAI, server: provider.OpenAI
) -> None:
    assert text(await told(backend, replace(ASK, stop=("three",)))) == "one two "
    assert server.seen[-1].path == "/v1/chat/completions"


async def test_a_callers_own_key_never_goes_over_our_socket(server: provider.OpenAI, transport: Transport) -> None:
    asked = replace(ASK, keys={"b": Secret(server.key)})
    async with built(server, transport, key_source="hybrid", api_key="sk-ours-that-is-wrong") as backend:
        assert text(await told(backend, asked)) == WORDS
    async with built(server, transport, key_source="caller", api_key=None) as backend:
        assert text(await told(backend, asked)) == WORDS
    assert by_socket(server) == [False, False]


async def test_what_was_thought_comes_sealed_and_goes_back(server: provider.OpenAI, transport: Transport) -> None:
    sealed = '{"id":"rs_0","encrypted_content":"gAAAAAB"}'
    server.behind._models = [dataclasses.replace(server.behind._models[0], id="o4-mini")]
    server.behind.script = [[Signature("openai", sealed), TextDelta("Yes.")], [END]]
    async with built(server, transport) as backend:
        first = replace(ASK, model="o4-mini")
        signature, *_ = await told(backend, first)
        assert signature == Signature("openai", sealed)
        answer = Message("assistant", (Reasoning("", Opaque("openai", signature.data)), Text("Yes.")))
        await told(backend, replace(first, messages=(*first.messages, answer, said("user", "Sure?"))))
        thought = server.seen[-1].body["input"][1]
        assert thought == {"type": "reasoning", "id": "rs_0", "encrypted_content": "gAAAAAB", "summary": []}


async def test_closing_leaves_nothing_open(server: provider.OpenAI, transport: Transport) -> None:
    before = asyncio.all_tasks()
    async with built(server, transport) as backend:
        await told(backend)
    await until(lambda: not server.open)
    await until(lambda: not any("responses_" in repr(task) for task in asyncio.all_tasks() - before))


async def test_a_socket_whose_key_was_taken_out_of_the_file_takes_nothing_new(
    server: provider.OpenAI, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_file, "LOOK", 0.0)
    file = tmp_path / "keys"
    file.write_text(f"{server.key}\n")
    go_on = asyncio.Event()
    server.behind.script = [[TextDelta("a")], go_on, [END]]
    async with built(server, transport, api_key=None, api_key_file=file) as backend:
        task = asyncio.create_task(told(backend))
        await until(lambda: len(server.behind.requests) == 1)
        [old] = server.open
        server.behind.script = None
        monkeypatch.setattr(server, "key", "sk-another-that-is-good")
        file.write_text(f"{server.key}\n")
        assert [text(await told(backend)) for _ in range(2)] == [WORDS] * 2
        assert (server.opened, by_socket(server)) == (2, [True] * 3)
        assert [seen.headers["Authorization"] for seen in server.seen[1:]] == [f"Bearer {server.key}"] * 2
        go_on.set()
        assert text(await task) == "a", "what was under way ends as it should"
        await until(lambda: old not in server.open)


def test_a_proxy_is_named_as_websockets_wants_it() -> None:
    assert responses_socket.proxy_url(ForwardProxy("proxy", 3128)) == "http://proxy:3128"
    named = ForwardProxy("::1", 3128, "Basic dXM6cEB3")
    assert responses_socket.proxy_url(named) == "http://us:p%40w@[::1]:3128"
