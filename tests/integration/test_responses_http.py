"""The Responses API over HTTP, asked by the unmodified official Python SDK, sync and async."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from backends.errors import Overloaded
from backends.events import TextDelta, ToolCallDelta, ToolCallStart
from backends.fake import FakeBackend
from backends.request import Request
from tests.gateway import ANSWER, DONE, Gateway, answers, client, gateway
from tests.upstream import until

KEYS = ("sk-sl-aaaaaaaaaaaaaaaa", "sk-sl-bbbbbbbbbbbbbbbb")


class Sdk(Protocol):
    """Makes a client of the SDK, which is closed after the test."""

    def __call__(self, running: Gateway, key: str = ..., retries: int = ...) -> AsyncOpenAI: ...


@pytest.fixture
async def sdk() -> AsyncIterator[Sdk]:
    made: dict[tuple[str, str, int], AsyncOpenAI] = {}

    def make(running: Gateway, key: str = "sk-local", retries: int = 0) -> AsyncOpenAI:
        wanted = (running.base_url, key, retries)
        if wanted not in made:
            made[wanted] = AsyncOpenAI(base_url=running.base_url, api_key=key, max_retries=retries)
        return made[wanted]

    yield make
    for each in made.values():
        await each.close()


async def threaded(running: Gateway, ask: Callable[[OpenAI], Any]) -> Any:
    """What `ask` gets with the synchronous SDK."""
    with OpenAI(base_url=running.base_url, api_key="sk-local", max_retries=0) as asking:
        return await asyncio.to_thread(ask, asking)


class Scripts(FakeBackend):
    """Plays the next script to each request."""

    def __init__(self, *scripts: Any) -> None:
        super().__init__("fake")
        self.scripts = list(scripts)

    def answer(self, request: Request) -> Any:
        return self.scripts.pop(0)


async def test_create(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        response = await sdk(running).responses.create(model="fake", input="hi", metadata={"a": "b"})
        same = await threaded(running, lambda sync: sync.responses.create(model="fake", input="hi"))
    assert (response.status, response.output_text, response.metadata) == ("completed", "Hello wörld", {"a": "b"})
    assert response.usage.total_tokens == 5
    assert same.output_text == "Hello wörld"


async def test_stream(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        events = [event async for event in await sdk(running).responses.create(model="fake", input="hi", stream=True)]
        same = await threaded(running, lambda sync: [*sync.responses.create(model="fake", input="hi", stream=True)])
    assert [event.type for event in events] == [event.type for event in same]
    assert events[-1].response.output_text == "Hello wörld"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello wörld"


async def test_the_stream_helper_builds_the_response(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        async with sdk(running).responses.stream(model="fake", input="hi") as stream:
            text = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
    assert (text[-1], final.output_text) == ("Hello wörld", "Hello wörld")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_sdks_retry_works_on_a_503_before_the_first_content(sdk: Sdk, stream: bool) -> None:
    async with gateway(backends=[Scripts([Overloaded()], ANSWER)]) as running:
        asking = sdk(running, retries=1).responses
        if stream:
            events = [event async for event in await asking.create(model="fake", input="hi", stream=True)]
            assert events[-1].response.output_text == "Hello wörld"
        else:
            assert (await asking.create(model="fake", input="hi")).output_text == "Hello wörld"


async def test_refusals_are_the_sdks_own_errors(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        asking = sdk(running).responses
        with pytest.raises(openai.NotFoundError) as caught:
            await asking.create(model="nobody", input="hi")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]
        with pytest.raises(openai.BadRequestError):
            await asking.create(model="fake", input="hi", temperature=9)
        with pytest.raises(openai.BadRequestError):
            await asking.create(model="fake", input="hi", stream="yes")  # type: ignore[call-overload]
        with pytest.raises(openai.NotFoundError):
            await asking.retrieve("resp_nothing")


async def test_a_response_can_be_followed_from_any_event(sdk: Sdk) -> None:
    go = asyncio.Event()
    script = [[TextDelta("Hel")], [TextDelta("lo")], go, [TextDelta(" wörld")], DONE]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as running:
        stream = await sdk(running).responses.create(model="fake", input="hi", stream=True)
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
        response_id = seen[0].response.id
        assert (await sdk(running).responses.retrieve(response_id)).status == "in_progress"
        after = seen[0].sequence_number
        rest = await sdk(running).responses.retrieve(response_id, stream=True, starting_after=after)
        events = [await anext(rest)]
        assert events[0].sequence_number == after + 1
        go.set()  # from replay to live
        events += [event async for event in rest]
        async for _ in stream:
            pass
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == "Hello wörld"
        assert events[-1].type == "response.completed"
        again = await threaded(
            running, lambda sync: [*sync.responses.retrieve(response_id, stream=True, starting_after=after)]
        )
        assert [event.type for event in again][-1] == "response.completed"
        async with sdk(running).responses.stream(response_id=response_id, starting_after=0) as helper:
            assert (await helper.get_final_response()).output_text == "Hello wörld"
        stored = await sdk(running).responses.retrieve(response_id)
        assert (stored.status, stored.output_text) == ("completed", "Hello wörld")
        for wrong in (10_000, -5):
            with pytest.raises(openai.BadRequestError) as caught:
                await sdk(running).responses.retrieve(response_id, stream=True, starting_after=wrong)
            assert caught.value.param == "starting_after"


async def test_events_that_are_gone_are_said_to_be(sdk: Sdk) -> None:
    async with gateway("responses.log_bytes = 1024", [FakeBackend("fake", text="long " * 1000)]) as running:
        response = await sdk(running).responses.create(model="fake", input="hi")
        assert (await sdk(running).responses.retrieve(response.id)).output_text == "long " * 1000
        with pytest.raises(openai.ConflictError) as caught:
            await sdk(running, retries=2).responses.retrieve(response.id, stream=True, starting_after=3)
    assert caught.value.code == "sl_resume_gap"


async def test_a_failed_response_can_be_read_again(sdk: Sdk) -> None:
    async with gateway(backends=[FakeBackend("fake", script=[[TextDelta("Hel")], Overloaded()])]) as running:
        events = [event async for event in await sdk(running).responses.create(model="fake", input="hi", stream=True)]
        again = [event async for event in await sdk(running).responses.retrieve(events[0].response.id, stream=True)]
    assert [event.type for event in again][-1] == events[-1].type == "response.failed"


async def test_cancel_by_http_and_again(sdk: Sdk) -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], asyncio.Event()])
    async with gateway(backends=[backend]) as running:
        stream = await sdk(running).responses.create(model="fake", input="hi", stream=True)
        events = [await anext(stream)]
        cancelled = await sdk(running).responses.cancel(events[0].response.id)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", "Hel")
        await backend.left.wait()
        events += [event async for event in stream]
        assert (events[-1].type, events[-1].response.status) == ("response.incomplete", "cancelled")
        assert await sdk(running).responses.cancel(events[0].response.id) == cancelled
        with pytest.raises(openai.NotFoundError):
            await sdk(running).responses.cancel("resp_nothing")


async def test_what_runs_on_a_socket_can_be_cancelled_by_http(sdk: Sdk) -> None:
    async with gateway(backends=[FakeBackend("fake", script=[[TextDelta("Hel")], asyncio.Event()])]) as running:
        async with client(running) as socket:
            await socket.create()
            [created, *_] = await socket.until("response.output_text.delta")
            assert (await sdk(running).responses.cancel(created["response"]["id"])).status == "cancelled"
            assert (await socket.until())[-1]["type"] == "response.incomplete"


async def test_delete(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        response = await sdk(running).responses.create(model="fake", input="hi")
        await sdk(running).responses.delete(response.id)
        for gone in (sdk(running).responses.retrieve, sdk(running).responses.delete, sdk(running).responses.cancel):
            with pytest.raises(openai.NotFoundError):
                await gone(response.id)


async def test_a_response_is_its_keys_alone(sdk: Sdk) -> None:
    text = f"server.api_keys = {list(KEYS)}"
    async with gateway(text, [answers()]) as running:
        mine, other = (sdk(running, key).responses for key in KEYS)
        response = await mine.create(model="fake", input="hi")
        for ask in (
            other.retrieve(response.id),
            other.retrieve(response.id, stream=True),
            other.cancel(response.id),
            other.delete(response.id),
            other.input_items.list(response.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await ask
        assert (await mine.retrieve(response.id)).id == response.id


async def test_input_items_in_pages(sdk: Sdk) -> None:
    said = [{"role": "user", "content": str(number)} for number in range(5)]
    async with gateway(backends=[answers()]) as running:
        responses = sdk(running).responses
        response = await responses.create(model="fake", input=said)
        for order, expected in (("asc", "01234"), ("desc", "43210")):
            items = [item async for item in responses.input_items.list(response.id, limit=2, order=order)]
            assert "".join(item.content[0].text for item in items) == expected
            assert len({item.id for item in items}) == 5
        for wrong in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "msg_nothing"}):
            with pytest.raises(openai.BadRequestError):
                await responses.input_items.list(response.id, **wrong)


async def test_input_tokens_of_a_whole_conversation(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        asking = sdk(running).responses
        first = await asking.create(model="fake", input="one " * 100)
        counted = await asking.input_tokens.count(model="fake", input="two")
        more = await asking.input_tokens.count(model="fake", input="two", previous_response_id=first.id)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == 1  # to the fake backend a word is a token
    assert more.input_tokens == 100 + len(["Hello", "wörld"]) + 1


async def test_the_background(sdk: Sdk) -> None:
    go = asyncio.Event()
    async with gateway(
        backends=[FakeBackend("fake", script=[[TextDelta("Hel")], go, [TextDelta("lo")], DONE])]
    ) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="sk-local") as asking:
            response = await asking.responses.create(model="fake", input="hi", background=True)
            assert response.background
        assert response.status in ("queued", "in_progress")  # and its client is gone
        go.set()
        while (found := await sdk(running).responses.retrieve(response.id)).status != "completed":
            await asyncio.sleep(0.01)
        assert found.output_text == "Hello"
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk(running).responses.create(model="fake", input="hi", background=True, store=False)
        assert caught.value.param == "store"


async def test_a_stream_in_the_background_outlives_its_client(sdk: Sdk) -> None:
    go = asyncio.Event()
    async with gateway(backends=[FakeBackend("fake", script=[go, [TextDelta("Hello")], DONE])]) as running:
        async with await sdk(running).responses.create(
            model="fake", input="hi", background=True, stream=True
        ) as stream:
            created = await anext(stream)  # at once: its id is what a client needs to come back
        assert (await sdk(running).responses.retrieve(created.response.id)).status == "in_progress"
        rest = await sdk(running).responses.retrieve(
            created.response.id, stream=True, starting_after=created.sequence_number
        )
        async with await sdk(running).responses.retrieve(created.response.id, stream=True) as onlooker:
            await anext(onlooker)  # who only looks on, and leaves, stops nothing
        go.set()
        assert [event async for event in rest][-1].response.output_text == "Hello"


class Capital(BaseModel):
    city: str
    country: str


async def test_structured_output_is_parsed(sdk: Sdk) -> None:
    script = [[TextDelta('{"city": "Paris", "country": "France"}')], DONE]
    backend = FakeBackend("fake", script=script)
    async with gateway(backends=[backend]) as running:
        parsed = await sdk(running).responses.parse(model="fake", input="Which?", text_format=Capital)
        async with sdk(running).responses.stream(model="fake", input="Which?", text_format=Capital) as stream:
            streamed = await stream.get_final_response()
    assert parsed.output_parsed == streamed.output_parsed == Capital(city="Paris", country="France")
    assert backend.requests[0].format is not None
    assert backend.requests[0].format.schema["properties"].keys() == {"city", "country"}


async def test_function_tools_there_and_back(sdk: Sdk) -> None:
    call = [[ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"city":'), ToolCallDelta(0, ' "Paris"}')], DONE]
    backend = Scripts(call, [[TextDelta("Sunny.")], DONE])
    tools: Any = [
        {
            "type": "function",
            "name": "weather",
            "strict": True,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        }
    ]
    async with gateway(backends=[backend]) as running:
        asking = sdk(running).responses
        async with asking.stream(model="fake", input="Weather?", tools=tools) as stream:
            first = await stream.get_final_response()
        [called] = first.output
        assert (called.type, called.name, called.arguments) == ("function_call", "weather", '{"city": "Paris"}')
        result: Any = {"type": "function_call_output", "call_id": called.call_id, "output": "22 degrees"}
        last = await asking.create(model="fake", previous_response_id=first.id, input=[result], tools=tools)
    assert last.output_text == "Sunny."
    assert last.previous_response_id == first.id
    assert "22 degrees" in str(backend.requests[1].messages)


async def test_a_drain_lets_streams_end_and_takes_none(sdk: Sdk) -> None:
    go = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], go, [TextDelta("lo")], DONE])
    running_gateway = gateway(backends=[backend])
    running = await running_gateway.__aenter__()
    stream = await sdk(running).responses.create(model="fake", input="hi", stream=True)
    events = [await anext(stream)]
    leaving = asyncio.ensure_future(running_gateway.__aexit__(None, None, None))
    await asyncio.sleep(0)  # it begins to leave
    with pytest.raises(openai.InternalServerError) as caught:
        await sdk(running).responses.create(model="fake", input="hi", stream=True)
    assert (caught.value.status_code, caught.value.code) == (503, "server_draining")
    assert caught.value.response.headers["retry-after"] == "1"
    go.set()
    events += [event async for event in stream]
    assert events[-1].response.output_text == "Hello"
    began = time.monotonic()
    await leaving
    assert time.monotonic() - began < 10


async def test_a_response_continues_another(sdk: Sdk) -> None:
    async with gateway(backends=[answers()]) as running:
        first = await sdk(running).responses.create(model="fake", input="one")
        second = await sdk(running).responses.create(model="fake", input="two", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        await until(lambda: running.generations.running == 0)
