"""The whole vocabulary, by the table in kinds.py: each kind of backend does what is asked, or refuses it at once."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from msgspec.structs import replace

from backends.base import Backend, Embedder, TokenCounter
from backends.errors import ContextLengthExceeded, ModelNotFound, UnsupportedFeature
from backends.events import Event, Finished, TextDelta, ToolCallDelta, ToolCallStart
from backends.json import loads
from backends.request import (
    EmbeddingRequest,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
    Prompt,
    Reasoning,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from tests.contract.kinds import CONTEXT, KINDS, Kind, built, ignores, lacks

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER, CLOCK = Tool("weather", "The weather of a city.", SCHEMA), Tool("clock")
QUESTION = said("user", "What is the weather in Paris?")
CALLED = Message("assistant", (ToolCall("call_1", "weather", '{"city":"Paris"}'),))
RESULT = Message("user", (ToolResult("call_1", (Text("Sunny."),)),))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SEEN = Message("user", (Text("What is this?"), Image("image/png", PIXEL)))


@dataclass(frozen=True)
class Subject:
    """A started backend, its model, and what it cannot do."""

    backend: Backend
    model: str
    lacks: frozenset[str]
    ignores: frozenset[str]

    def ask(self, *messages: Message, **more) -> Request:
        defaults = {"max_output_tokens": 40, "sampling": Sampling(temperature=0)}
        return Request(self.model, messages, **(defaults | more))

    async def told(self, request: Request) -> list[Event]:
        async with self.backend.stream(request) as batches:
            return [event async for batch in batches for event in batch]

    async def told_or_refused(self, feature: str, request: Request) -> list[Event] | None:
        """None where it lacks `feature` and says so."""
        if feature in self.ignores:
            pytest.skip(f"this server neither has {feature} nor says so")
        if feature not in self.lacks:
            return await self.told(request)
        with pytest.raises(UnsupportedFeature, match="Leave it out, or choose another model"):
            await self.told(request)
        return None


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    kind: Kind = request.param
    async with kind() as options, built(options) as backend:
        yield Subject(backend, (await backend.models())[0].id, lacks(options), ignores(options))


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("choice", ["required", NamedTool("weather")], ids=["required", "named"])
async def test_a_tool_that_must_be_called_is_called(subject: Subject, choice) -> None:
    tools = (WEATHER, CLOCK) if choice == "required" else (CLOCK, WEATHER)
    feature = "tools" if "tools" in subject.lacks | subject.ignores else "forced_tools"
    events = await subject.told_or_refused(feature, subject.ask(QUESTION, tools=tools, tool_choice=choice))
    if events is not None:
        start, *deltas, end = events
        assert isinstance(start, ToolCallStart)
        assert (start.index, start.name) == (0, "weather")
        assert start.id
        assert all(isinstance(delta, ToolCallDelta) and delta.index == 0 for delta in deltas)
        assert loads("".join(delta.arguments for delta in deltas)).keys() == {"city"}
        assert isinstance(end, Finished)
        assert end.reason == "stop"


async def test_the_result_of_a_tool_goes_back(subject: Subject) -> None:
    request = subject.ask(QUESTION, CALLED, RESULT, tools=(WEATHER,), max_output_tokens=5)
    events = await subject.told_or_refused("tools", request)
    assert events is None or text(events)


async def test_the_results_of_two_calls_go_back_together(subject: Subject) -> None:
    called = Message("assistant", (Text("I look twice."), *CALLED.parts, ToolCall("call_2", "clock", "{}")))
    results = Message("user", (*RESULT.parts, ToolResult("call_2", (Text("Noon."), Text("In Paris.")))))
    request = subject.ask(QUESTION, called, results, tools=(WEATHER, CLOCK), max_output_tokens=5)
    events = await subject.told_or_refused("tools", request)
    assert events is None or text(events)


@pytest.mark.parametrize("provider", ["elsewhere", "anthropic", "gemini", "openai", "cohere", "ollama"])
async def test_what_another_provider_wants_back_does_no_harm(subject: Subject, provider: str) -> None:
    thought = Reasoning("Paris, then.", Opaque(provider, "no data of yours"))
    sealed = Reasoning("", Opaque(provider, '{"id": 1}'))
    answer = Message("assistant", (thought, sealed, Text("It is sunny.")))
    for turns in ((QUESTION, answer, said("user", "Sure?")), (QUESTION, Message("assistant", (thought,)), QUESTION)):
        assert text(await subject.told(subject.ask(*turns, max_output_tokens=5)))


async def test_how_hard_to_think_is_a_wish(subject: Subject) -> None:
    for effort in ("none", "low", "high"):
        assert text(await subject.told(subject.ask(QUESTION, reasoning_effort=effort, max_output_tokens=5)))


async def test_tools_that_must_not_be_called_do_no_harm(subject: Subject) -> None:
    request = subject.ask(QUESTION, tools=(WEATHER,), tool_choice="none", max_output_tokens=5)
    assert text(await subject.told(request))


async def test_an_answer_keeps_to_a_schema(subject: Subject) -> None:
    events = await subject.told_or_refused("json_schema", subject.ask(QUESTION, format=JsonFormat(SCHEMA)))
    if events is None:
        return
    answer = loads(text(events))
    assert answer.keys() == {"city"}
    assert isinstance(answer["city"], str)
    assert events[-1].reason == "stop"


async def test_any_json_is_an_object(subject: Subject) -> None:
    events = await subject.told_or_refused("any_json", subject.ask(QUESTION, format=JsonFormat()))
    assert events is None or text(events).lstrip().startswith("{")


@pytest.mark.parametrize("most", [0, 2])
async def test_log_probabilities_of_every_token(subject: Subject, most: int) -> None:
    events = await subject.told_or_refused("logprobs", subject.ask(QUESTION, top_logprobs=most, max_output_tokens=3))
    if events is None:
        return
    *content, _ = events
    likely = [each for event in content for each in event.logprobs]
    assert "".join(each.token for each in likely) == text(content)
    assert all(each.logprob <= 0 for each in likely)
    assert all(len(each.top) <= most for each in likely)
    assert not most or all(each.top[0][1] >= each.logprob for each in likely)


async def test_no_log_probabilities_unasked(subject: Subject) -> None:
    *content, _ = await subject.told(subject.ask(QUESTION, max_output_tokens=3))
    assert {event.logprobs for event in content} == {None}


async def test_a_raw_prompt_is_gone_on_with(subject: Subject) -> None:
    prompt = Prompt("The capital of France is")
    request = subject.ask(prompt=prompt, max_output_tokens=4, top_logprobs=1)
    events = await subject.told_or_refused("completions", request)
    if events is None:
        return
    *content, end = events
    assert text(content)
    assert all(event.logprobs for event in content)
    assert end.reason == "length"
    assert "usage" in subject.lacks or end.usage.input_tokens == 5  # no chat template around it


async def test_a_raw_prompt_that_does_not_fit(subject: Subject) -> None:
    if "overflow" in subject.ignores:
        pytest.skip("this server breaks the connection instead")
    with pytest.raises(UnsupportedFeature if "completions" in subject.lacks else ContextLengthExceeded):
        await subject.told(subject.ask(prompt=Prompt("word " * CONTEXT * 2)))


async def test_images_are_taken_or_refused(subject: Subject) -> None:
    events = await subject.told_or_refused("images", subject.ask(SEEN, max_output_tokens=3))
    assert events is None or text(events)


async def test_texts_become_vectors(subject: Subject) -> None:
    if not isinstance(subject.backend, Embedder):
        assert "embeddings" in subject.lacks
        return
    if "embeddings" in subject.ignores:
        pytest.skip("this server fails instead")
    request = EmbeddingRequest(subject.model, ("a cat", "a dog " * 40, "a cat", (1, 2, 3)))
    if "embeddings" in subject.lacks:
        with pytest.raises(UnsupportedFeature):
            await subject.backend.embed(request)
        return
    if "token_ids" in subject.lacks:
        with pytest.raises(UnsupportedFeature):
            await subject.backend.embed(request)
        request = replace(request, inputs=request.inputs[:-1])
    found = await subject.backend.embed(request)
    cat, dogs, again, *ids = found.vectors
    assert {len(vector) for vector in found.vectors} == {len(cat)}
    assert cat == pytest.approx(again, abs=0.01)
    assert sum(a * b for a, b in zip(cat, dogs, strict=True)) < 0.999
    assert all(sum(number * number for number in each) == pytest.approx(1, abs=0.01) for each in ids)
    assert found.input_tokens >= 80


async def test_vectors_of_an_unknown_model(subject: Subject) -> None:
    if not isinstance(subject.backend, Embedder):
        assert "embeddings" in subject.lacks
        return
    if "embeddings" in subject.ignores:
        pytest.skip("this server fails instead")
    with pytest.raises((ModelNotFound, UnsupportedFeature) if "embeddings" in subject.lacks else ModelNotFound):
        await subject.backend.embed(EmbeddingRequest("no-such-model", ("a",)))


async def test_tokens_are_counted_as_the_answer_counts_them(subject: Subject) -> None:
    if isinstance(subject.backend, TokenCounter):
        raw = [] if "completions" in subject.lacks else [subject.ask(prompt=Prompt("The capital of France is"))]
        for request in (subject.ask(QUESTION), *raw):
            [*_, end] = await subject.told(replace(request, max_output_tokens=1))
            assert await subject.backend.count_tokens(request) == end.usage.input_tokens
