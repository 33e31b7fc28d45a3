"""What every backend promises: one suite over the table in tests/contract/kinds.py."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
import pytest_asyncio
from msgspec.structs import replace

from backends.base import Backend, Batches, Observable
from backends.errors import ContextLengthExceeded, ModelNotFound, Overloaded, StreamBroken, Unreachable
from backends.events import Event, Finished
from backends.request import Request, Sampling, said
from tests.contract.kinds import CONTEXT, KINDS, Kind, Options, built, ignores, lacks

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORY = Request("", (said("user", "Tell me a long story."),), max_output_tokens=200, sampling=Sampling(temperature=0))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def options(kind: Kind) -> AsyncIterator[Options]:
    async with kind() as options:
        yield options


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(options: Options) -> AsyncIterator[Backend]:
    async with built(options) as backend:
        yield backend


@pytest_asyncio.fixture(loop_scope="module")
async def story(backend: Backend) -> Request:
    """A request whose answer is long, and the same each time."""
    return replace(STORY, model=(await backend.models())[0].id)


async def read(batches: Batches) -> list[Event]:
    return [event async for batch in batches for event in batch]


async def told(backend: Backend, request: Request) -> list[Event]:
    async with backend.stream(request) as batches:
        return await read(batches)


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if not isinstance(event, Finished))


async def first_words(batches: Batches) -> str:
    """Reads until there is text, and no further."""
    async for batch in batches:
        if said := text(list(batch)):
            return said
    pytest.fail("the stream ended before its first word")


async def test_it_lists_what_it_serves(options: Options, backend: Backend) -> None:
    models = await backend.models()
    assert models
    assert all(model.id for model in models)
    known = None if "context" in lacks(options) else CONTEXT
    assert {model.context for model in models} == {known}


async def test_a_stream_is_content_and_then_one_end(backend: Backend, story: Request) -> None:
    *content, end = await told(backend, replace(story, max_output_tokens=20))
    assert content
    assert all(event.text for event in content)
    assert isinstance(end, Finished)
    assert not any(isinstance(event, Finished) for event in content)


async def test_the_text_comes_in_pieces(backend: Backend, story: Request) -> None:
    async with backend.stream(replace(story, max_output_tokens=20)) as batches:
        assert len([batch async for batch in batches if text(list(batch))]) > 1


async def test_usage_is_counted(options: Options, backend: Backend, story: Request) -> None:
    usage = (await told(backend, replace(story, max_output_tokens=20)))[-1].usage
    if "usage" in lacks(options):
        assert usage is None  # never a guess of the backend's
        return
    assert usage.input_tokens >= 5  # the words of the prompt
    assert 1 < usage.output_tokens <= 20
    assert 0 <= usage.cached_tokens <= usage.input_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens


async def test_it_stops_at_the_limit(options: Options, backend: Backend, story: Request) -> None:
    *content, end = await told(backend, replace(story, max_output_tokens=1))
    assert end.reason == "length"
    assert "usage" in lacks(options) or end.usage.output_tokens == 1
    assert len(text(content).split()) <= 1


async def test_it_stops_at_a_stop_string_and_leaves_it_out(backend: Backend, story: Request) -> None:
    *content, end = await told(backend, replace(story, stop=("no such words here", "e")))
    assert end.reason == "stop"
    assert text(content)
    assert "e" not in text(content)


async def test_a_conversation_has_turns(backend: Backend, story: Request) -> None:
    turns = (said("system", "Be brief."), said("user", "Hi."), said("assistant", "Hello."), *story.messages)
    assert text(await told(backend, replace(story, messages=turns, max_output_tokens=5)))


async def test_nothing_is_lost_between_streams_at_once(backend: Backend, story: Request) -> None:
    short = replace(story, max_output_tokens=20)
    answers = await asyncio.gather(*(told(backend, short) for _ in range(backend.slots or 4)))
    assert {len([event for event in answer if isinstance(event, Finished)]) for answer in answers} == {1}
    assert all(text(answer) for answer in answers)


async def test_it_takes_as_many_streams_as_it_has_slots_and_no_more(backend: Backend, story: Request) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(backend.stream(story)) for _ in range(backend.slots or 8)]
        assert all(await asyncio.gather(*(first_words(batches) for batches in streams)))
        if backend.slots is not None:
            with pytest.raises(Overloaded):
                await told(backend, story)


async def left_before_anything_came(backend: Backend, story: Request) -> None:
    async with backend.stream(story):
        pass


async def left_in_the_middle(backend: Backend, story: Request) -> None:
    async with backend.stream(story) as batches:
        await first_words(batches)


async def left_by_an_error(backend: Backend, story: Request) -> None:
    with suppress(ZeroDivisionError):
        async with backend.stream(story) as batches:
            await first_words(batches)
            raise ZeroDivisionError


async def left_by_a_cancel(backend: Backend, story: Request) -> None:
    reading = asyncio.Event()

    async def client() -> None:
        async with backend.stream(story) as batches:
            await first_words(batches)
            reading.set()
            await read(batches)

    task = asyncio.create_task(client())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def left_by_a_deadline(backend: Backend, story: Request) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as deadline, backend.stream(story) as batches:
            await first_words(batches)
            deadline.reschedule(0)
            await read(batches)
            pytest.fail("the stream ended before its deadline")


@pytest.mark.parametrize(
    "leave",
    [left_before_anything_came, left_in_the_middle, left_by_an_error, left_by_a_cancel, left_by_a_deadline],
    ids=lambda f: f.__name__,
)
async def test_leaving_frees_the_slot(backend: Backend, story: Request, leave) -> None:
    for _ in range((backend.slots or 4) + 1):
        await leave(backend, story)
    short = replace(story, max_output_tokens=2)
    answers = await asyncio.gather(*(told(backend, short) for _ in range(backend.slots or 4)))
    assert all(isinstance(answer[-1], Finished) for answer in answers)


async def test_the_load_counts_what_runs_where_it_is_told(backend: Backend, story: Request) -> None:
    if isinstance(backend, Observable):
        async with backend.stream(story) as batches:
            await first_words(batches)
            load = await backend.load()
            assert load is None or (load.running >= 1 and load.waiting == 0)


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    options: Options, backend: Backend, story: Request
) -> None:
    if "overflow" in ignores(options):
        pytest.skip("this server breaks the connection instead")
    prompt = said("user", "word " * (CONTEXT * 2))
    with pytest.raises(ContextLengthExceeded) as refused:
        await told(backend, replace(story, messages=(prompt,)))
    if "numbers" in lacks(options):  # its refusal has none
        return
    assert refused.value.context == CONTEXT
    assert refused.value.prompt_tokens >= CONTEXT * 2


@pytest.fixture
def names(options: Options) -> None:
    """For tests of a name that is no model's: some servers answer to any."""
    if "models" in ignores(options):
        pytest.skip("this server answers to any name")


@pytest.mark.usefixtures("names")
async def test_an_unknown_model_is_refused(backend: Backend, story: Request) -> None:
    with pytest.raises(ModelNotFound):
        await told(backend, replace(story, model="no-such-model"))


@pytest.mark.usefixtures("names")
async def test_after_a_refusal_it_goes_on(backend: Backend, story: Request) -> None:
    for _ in range((backend.slots or 4) + 1):
        with pytest.raises(ModelNotFound):
            await told(backend, replace(story, model="no-such-model"))
    assert text(await told(backend, replace(story, max_output_tokens=2)))


async def test_closing_breaks_the_streams_that_are_open(kind: Kind) -> None:
    async with kind() as options, built(options) as backend:
        request = replace(STORY, model=(await backend.models())[0].id)
        async with backend.stream(request) as batches:
            await first_words(batches)
            await backend.close()
            with pytest.raises(StreamBroken):
                await read(batches)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and never listening
        base_url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with built({"kind": "openai_compatible", "base_url": base_url}) as backend:
            with pytest.raises(Unreachable):
                await backend.models()
            with pytest.raises(Unreachable):
                await told(backend, replace(STORY, model="any"))
