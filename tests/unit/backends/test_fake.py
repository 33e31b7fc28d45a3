"""The fake backend answers as configured, and plays the scripts of tests."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from backends.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, Overloaded, StreamBroken
from backends.events import Event, Finished, TextDelta, Usage
from backends.fake import FakeBackend, Options, Step
from backends.request import EmbeddingRequest, NamedTool, Request, Tool, said


def ask(text: str = "Say something", *, model: str = "fake", words: int = 100, stop: tuple[str, ...] = ()) -> Request:
    return Request(model, (said("user", text),), max_output_tokens=words, stop=stop)


async def told(backend: FakeBackend, request: Request | None = None) -> list[Event]:
    async with backend.stream(request or ask()) as batches:
        return [event async for batch in batches for event in batch]


async def test_it_says_its_text_word_by_word_with_every_space() -> None:
    text = " To be,\n or not  to be. "
    *words, end = await told(FakeBackend("a", text=text))
    assert "".join(word.text for word in words) == text
    assert len(words) == 6
    assert end == Finished("stop", Usage(input_tokens=2, output_tokens=6))


@pytest.mark.parametrize(
    ("request_", "said", "reason"),
    [
        (ask(words=2), "one two ", "length"),
        (ask(words=4), "one two three four", "stop"),
        (ask(stop=("three",)), "one two ", "stop"),
        (ask(stop=("four", "o three")), "one tw", "stop"),
        (ask(stop=("one",)), "", "stop"),
        (ask(words=1, stop=("three",)), "one ", "length"),
    ],
)
async def test_it_obeys_the_limit_and_the_stop_strings(request_: Request, said: str, reason: str) -> None:
    *words, end = await told(FakeBackend("a", text="one two three four"), request_)
    assert "".join(word.text for word in words) == said
    assert end.reason == reason


async def test_it_refuses_what_a_server_would_refuse() -> None:
    backend = FakeBackend("a", models=["small"], context=3)
    with pytest.raises(ModelNotFound):
        await told(backend, ask(model="large"))
    with pytest.raises(ContextLengthExceeded, match=r"4 tokens .* of 3 tokens"):
        await told(backend, ask("One word too many", model="small"))


async def test_it_keeps_the_asked_speed() -> None:
    clock = asyncio.get_running_loop().time
    backend = FakeBackend("a", text="one two three", tokens_per_second=200, first_token_delay=0.02)
    started = clock()
    async with backend.stream(ask()) as batches:
        times = [clock() - started async for _ in batches]
    assert len(times) == 4  # three words and the end
    for took, at_least in zip(times, (0.020, 0.025, 0.030, 0.035), strict=True):
        assert took >= at_least - 0.001


async def test_a_script_is_played_step_by_step() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("a", script=[[TextDelta("hi")], gate, [], 0.0, [TextDelta(" you"), Finished("stop")]])
    request = ask()
    async with backend.stream(request) as batches:
        assert await anext(batches) == [TextDelta("hi")]
        assert backend.open == 1
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        assert await waiting == []
        assert [batch async for batch in batches] == [[TextDelta(" you"), Finished("stop")]]
    assert backend.open == 0
    assert backend.requests == [request]


async def test_a_script_raises_first_on_entering_and_later_between_batches() -> None:
    with pytest.raises(Overloaded):
        async with FakeBackend("a", script=[Overloaded()]).stream(ask()):
            pytest.fail("entered")
    async with FakeBackend("a", script=[[TextDelta("hi")], Overloaded()]).stream(ask()) as batches:
        assert await anext(batches) == [TextDelta("hi")]
        with pytest.raises(Overloaded):
            await anext(batches)


@pytest.mark.parametrize("script", [[], [[TextDelta("hi")]]])
async def test_a_script_without_an_end_is_a_broken_stream(script: list[Step]) -> None:
    with pytest.raises(StreamBroken):
        await told(FakeBackend("a", script=script))


async def test_a_test_can_wait_until_a_stream_is_left() -> None:
    backend = FakeBackend("a", script=[asyncio.Event()])
    client = asyncio.create_task(told(backend))
    await asyncio.sleep(0)
    assert not backend.left.is_set()
    client.cancel()
    await backend.left.wait()
    assert backend.open == 0


async def test_more_streams_than_slots_are_refused() -> None:
    backend = FakeBackend("a", slots=1)
    async with backend.stream(ask()):
        with pytest.raises(Overloaded):
            await told(backend)
    assert (await told(backend))[-1].reason == "stop"


async def test_closing_wakes_a_stream_that_waits() -> None:
    backend = FakeBackend("a", script=[asyncio.Event()])
    client = asyncio.create_task(told(backend))
    await asyncio.sleep(0)
    await backend.close()
    with pytest.raises(StreamBroken):
        await client


async def test_after_closing_it_can_be_started_again() -> None:
    backend = FakeBackend("a")
    await backend.close()
    with pytest.raises(StreamBroken):
        await told(backend)
    await backend.start()
    assert (await told(backend))[-1].reason == "stop"


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="txet"):
        msgspec.convert({"kind": "fake", "name": "a", "txet": "hi"}, Options)


async def test_it_calls_the_tool_that_it_must_call_with_what_is_required() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools, backend = (Tool("clock"), Tool("weather", None, schema)), FakeBackend("a")
    start, *pieces, end = await told(backend, replace(ask(), tools=tools, tool_choice=NamedTool("weather")))
    assert (start.index, start.name) == (0, "weather")
    assert "".join(piece.arguments for piece in pieces) == '{"city":"word"}'
    assert end.reason == "stop"
    first, *_ = await told(backend, replace(ask(), tools=tools, tool_choice="required"))
    assert first.name == "clock"
    assert first.id != start.id
    text, *_ = await told(backend, replace(ask(), tools=tools))
    assert isinstance(text, TextDelta)


async def test_the_same_text_has_the_same_vector() -> None:
    backend = FakeBackend("a")
    one, two, again = (await backend.embed(EmbeddingRequest("fake", ("x", "y", "x"), dimensions=300))).vectors
    assert one == again != two
    assert len(one) == 300
    with pytest.raises(ModelNotFound):
        await backend.embed(EmbeddingRequest("other", ("x",)))


async def test_many_vectors_leave_the_loop_its_turns() -> None:
    making = asyncio.create_task(FakeBackend("a").embed(EmbeddingRequest("fake", ("x",) * 64, dimensions=16_384)))
    turns = 0
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    with pytest.raises(InvalidRequest):
        await FakeBackend("a").embed(EmbeddingRequest("fake", ("x",) * 2048, dimensions=16_384))
