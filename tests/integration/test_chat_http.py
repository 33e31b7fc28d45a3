"""Chat completions, completions, embeddings and models over HTTP, asked by the unmodified official Python SDK."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from backends.errors import Overloaded, StreamBroken
from backends.events import Finished, Logprob, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta, ToolCallStart
from backends.fake import FakeBackend
from tests.gateway import ANSWER, DONE, Gateway, answers, gateway
from tests.models import models_dir

SAY = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}
CALLS: list[Any] = [
    [ReasoningDelta("Two "), ReasoningDelta("places.")],
    [TextDelta("I look.")],
    [ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"place":'), ToolCallDelta(0, '"Rome"}')],
    [ToolCallStart(1, "call_2", "weather"), ToolCallDelta(1, '{"place":"Oslo"}')],
    DONE,
]


def scripted(*script: Any) -> FakeBackend:
    return FakeBackend("fake", script=list(script))


class Sdks:
    """The SDK against one gateway."""

    def __init__(self, running: Gateway) -> None:
        self.url = running.base_url
        self.sdk = AsyncOpenAI(base_url=running.base_url, api_key="sk-local", max_retries=0)

    def sync(self) -> OpenAI:
        return OpenAI(base_url=self.url, api_key="sk-local", max_retries=0)


@pytest.fixture
def fake() -> FakeBackend:
    return answers()


@pytest.fixture
async def sdks(fake: FakeBackend) -> AsyncIterator[Sdks]:
    async with gateway(backends=[fake]) as running:
        made = Sdks(running)
        yield made
        await made.sdk.close()


async def test_a_whole_answer(sdks: Sdks) -> None:
    completion = await sdks.sdk.chat.completions.create(**SAY)  # type: ignore[call-overload]
    assert completion.choices[0].message.content == "Hello wörld"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == 5
    assert completion.id.startswith("chatcmpl-")


async def test_the_sync_sdk_whole_and_streamed(sdks: Sdks) -> None:
    def ask() -> tuple[str, str]:
        with sdks.sync() as sdk:
            whole = sdk.chat.completions.create(**SAY)  # type: ignore[call-overload]
            stream = sdk.chat.completions.create(**SAY, stream=True)  # type: ignore[call-overload]
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert await asyncio.to_thread(ask) == ("Hello wörld", "Hello wörld")


async def test_a_stream_with_usage(sdks: Sdks) -> None:
    stream = await sdks.sdk.chat.completions.create(**SAY, stream=True, stream_options={"include_usage": True})  # type: ignore[call-overload]
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "Hello wörld"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 5)
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_helper_collects_tool_calls() -> None:
    async with gateway(backends=[scripted(*CALLS)]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            async with sdk.chat.completions.stream(**SAY, tools=[WEATHER]) as stream:
                kinds = {event.type async for event in stream}
                final = await stream.get_final_completion()
            whole = await sdk.chat.completions.create(**SAY, tools=[WEATHER])  # type: ignore[call-overload]
    assert {"content.delta", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
    for choice in (final.choices[0], whole.choices[0]):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "I look."
        assert choice.message.reasoning_content == "Two places."
        calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls]
        assert calls == [("call_1", "weather", '{"place":"Rome"}'), ("call_2", "weather", '{"place":"Oslo"}')]


class City(BaseModel):
    """An answer with a form."""

    name: str
    people: int


async def test_structured_outputs_are_parsed() -> None:
    fake = scripted([TextDelta('{"name":"Oslo",'), TextDelta('"people":7}')], DONE)
    async with gateway(backends=[fake]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            parsed = await sdk.chat.completions.parse(**SAY, response_format=City)
            async with sdk.chat.completions.stream(**SAY, response_format=City) as stream:
                streamed = await stream.get_final_completion()
    assert parsed.choices[0].message.parsed == streamed.choices[0].message.parsed == City(name="Oslo", people=7)
    asked = fake.requests[0].format
    assert asked is not None
    assert (asked.name, asked.strict) == ("City", True)


async def test_log_probabilities() -> None:
    tokens = [TextDelta(word, (Logprob(word, -0.5, ((word, -0.5), ("no", -2.0))),)) for word in ("Hé", "llo")]
    fake = scripted(tokens, DONE)
    async with gateway(backends=[fake]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            asked: Any = {**SAY, "logprobs": True, "top_logprobs": 2}
            whole = await sdk.chat.completions.create(**asked)
            stream = [chunk async for chunk in await sdk.chat.completions.create(**asked, stream=True)]
            older = await sdk.completions.create(model="fake", prompt="hi", logprobs=2)
    streamed = [one for chunk in stream if (found := chunk.choices[0].logprobs) for one in found.content]
    for likely in (whole.choices[0].logprobs.content, streamed):
        assert (likely[0].token, likely[0].logprob, likely[0].bytes) == ("Hé", -0.5, [72, 195, 169])
        assert [one.token for one in likely[1].top_logprobs] == ["llo", "no"]
    assert older.choices[0].logprobs.tokens == ["Hé", "llo"]
    assert older.choices[0].logprobs.text_offset == [0, 2]
    assert fake.requests[0].top_logprobs == 2


async def test_three_choices_are_three_generations_on_one_stream(sdks: Sdks, fake: FakeBackend) -> None:
    whole = await sdks.sdk.chat.completions.create(**SAY, n=3)  # type: ignore[call-overload]
    assert [(choice.index, choice.message.content) for choice in whole.choices] == [
        (index, "Hello wörld") for index in range(3)
    ]
    assert whole.usage.total_tokens == 15
    said = {0: "", 1: "", 2: ""}
    ends = []
    stream = await sdks.sdk.chat.completions.create(**SAY, n=3, stream=True)  # type: ignore[call-overload]
    async for chunk in stream:
        [choice] = chunk.choices
        said[choice.index] += choice.delta.content or ""
        ends += [choice.index] if choice.finish_reason else []
    assert set(said.values()) == {"Hello wörld"}
    assert sorted(ends) == [0, 1, 2]
    assert len(fake.requests) == 6


async def test_a_refusal_is_not_content() -> None:
    async with gateway(backends=[scripted([RefusalDelta("I will not.")], DONE)]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            message = (await sdk.chat.completions.create(**SAY)).choices[0].message  # type: ignore[call-overload]
    assert (message.content, message.refusal) == (None, "I will not.")


async def test_completions(sdks: Sdks, fake: FakeBackend) -> None:
    whole = await sdks.sdk.completions.create(model="fake", prompt=["a", "b"], suffix="z", max_tokens=9)
    assert [choice.text for choice in whole.choices] == ["Hello wörld"] * 2
    prompts = [request.prompt for request in fake.requests]
    assert [(prompt.text, prompt.suffix) for prompt in prompts if prompt] == [("a", "z"), ("b", "z")]
    stream = await sdks.sdk.completions.create(model="fake", prompt="a", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello wörld"
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_embeddings_as_numbers_and_as_bytes(sdks: Sdks) -> None:
    numbers = await sdks.sdk.embeddings.create(model="fake", input=["a", "b"], encoding_format="float", dimensions=4)
    packed = await sdks.sdk.embeddings.create(model="fake", input=["a", "b"], dimensions=4)  # the SDK asks for base64
    assert [len(each.embedding) for each in numbers.data] == [4, 4]
    assert [each.index for each in packed.data] == [0, 1]
    for one, other in zip(numbers.data, packed.data, strict=True):
        assert other.embedding == pytest.approx(one.embedding, abs=1e-6)
    assert numbers.data[0].embedding != numbers.data[1].embedding
    assert numbers.usage.prompt_tokens > 0


async def test_one_model_by_each_of_its_names() -> None:
    text = '[[backends]]\nname = "b"\nkind = "fake"\nmodels = ["org/deep"]\ncontext = 2048'
    async with gateway(text) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            for name in ("org/deep", "b/org/deep"):
                model = await sdk.models.retrieve(name)
                assert (model.id, model.owned_by) == (name, "b")
                assert model.context_length == 2048  # type: ignore[attr-defined]
            with pytest.raises(openai.NotFoundError, match="Did you mean 'org/deep'"):
                await sdk.models.retrieve("org/deap")


async def test_what_fails_before_the_first_word_is_a_status() -> None:
    async with gateway("deadlines.retry = 1", [scripted(Overloaded(2))]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k", max_retries=0) as sdk:
            for more in ({}, {"stream": True}, {"n": 3}):
                with pytest.raises(openai.InternalServerError) as raised:
                    await sdk.chat.completions.create(**SAY, **more)  # type: ignore[call-overload]
                assert raised.value.status_code == 503
                assert raised.value.code == "backend_overloaded"
                assert raised.value.response.headers["retry-after"] == "2"
            with pytest.raises(openai.BadRequestError) as refused:
                await sdk.chat.completions.create(**SAY, functions=[{"name": "f"}])  # type: ignore[call-overload]
            assert (refused.value.code, refused.value.param) == ("unsupported_feature", "functions")


UPSTREAM: dict[str, list[Any]] = {
    "cut": [[TextDelta("half")], StreamBroken()],
    "no end": [[TextDelta("half")]],
    "an error of another kind": [[TextDelta("half")], RuntimeError("secret")],
    "two ends": [[TextDelta("half")], [*DONE, *DONE]],
    "an end and more": [[TextDelta("half"), *DONE, TextDelta("more")]],
    "nothing but the end": [DONE],
    "no usage": [[TextDelta("half")], [Finished("length")]],
    "a call without a beginning": [[ToolCallDelta(3, "{}")], DONE],
}


@pytest.mark.parametrize("kind", UPSTREAM)
async def test_a_stream_ends_once_whatever_upstream_does(kind: str) -> None:
    asked = {"/chat/completions": SAY, "/completions": {"model": "fake", "prompt": "hi"}}
    message = {**SAY, "max_tokens": 9}
    async with gateway(backends=[scripted(*UPSTREAM[kind])]) as running, aiohttp.ClientSession() as http:
        for path, body in asked.items():
            async with http.post(running.base_url + path, json={**body, "stream": True}) as got:
                raw = await got.text()
            data = [line.removeprefix("data: ") for line in raw.split("\n") if line.startswith("data: ")]
            chunks = [json.loads(each) for each in data if each != "[DONE]"]
            errors = [chunk for chunk in chunks if "error" in chunk]
            ends = [chunk for chunk in chunks if "error" not in chunk and chunk["choices"][0]["finish_reason"]]
            assert len(errors) + len(ends) == 1, raw
            assert data[-1] == ("[DONE]" if ends else json.dumps(errors[0], separators=(",", ":"), ensure_ascii=False))
            assert "secret" not in raw
        async with http.post(f"{running.base_url}/messages", json={**message, "stream": True}) as got:
            kinds = [line.removeprefix("event: ") for line in (await got.text()).split("\n") if line[:6] == "event:"]
        assert kinds[-1] in {"message_stop", "error"}
        assert kinds.count("message_stop") + kinds.count("error") == 1


async def test_a_client_that_leaves_stops_its_generations() -> None:
    never = asyncio.Event()
    fake = scripted([TextDelta("a")], never)
    async with gateway(backends=[fake]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            stream = await sdk.chat.completions.create(**SAY, n=2, stream=True)  # type: ignore[call-overload]
            await anext(stream)
            assert fake.open == 2
            await stream.close()
            async with asyncio.timeout(10):
                while fake.open:
                    fake.left.clear()
                    await fake.left.wait()


class Scripts(FakeBackend):
    """Plays the next script to each request."""

    def __init__(self, *scripts: Any) -> None:
        super().__init__("fake")
        self.scripts = list(scripts)

    def answer(self, request: Any) -> Any:
        return self.scripts.pop(0)


async def test_a_choice_that_fails_ends_the_stream_and_the_other_choices() -> None:
    fake = Scripts([[TextDelta("a")], StreamBroken()], [[TextDelta("b")], asyncio.Event()])
    async with gateway(backends=[fake]) as running, aiohttp.ClientSession() as http:
        body = {**SAY, "n": 2, "stream": True}
        async with asyncio.timeout(30), http.post(f"{running.base_url}/chat/completions", json=body) as got:
            raw = await got.text()
        assert raw.count('data: {"error":') == 1
        assert raw.rstrip().split("\n")[-1].startswith('data: {"error":')
        while fake.open:
            fake.left.clear()
            await fake.left.wait()


async def test_unknown_usage_is_estimated_and_marked() -> None:
    async with gateway(backends=[scripted(ANSWER[0], [Finished("stop")])]) as running:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            usage = (await sdk.chat.completions.create(**SAY)).usage  # type: ignore[call-overload]
    assert usage.completion_tokens == 2
    assert usage.sl_estimated is True


@pytest.mark.model
async def test_the_real_model_answers_through_each_api() -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    file = models_dir() / "smollm2.gguf"
    text = f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{file}"\nparallel = 2\ncontext = 512'
    asked: Any = {"model": "smollm2", "messages": question, "temperature": 0, "max_tokens": 20}
    async with gateway(text) as running, aiohttp.ClientSession() as http:
        async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
            stream = await sdk.chat.completions.create(**asked, stream=True)
            assert "Paris" in "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            whole = await sdk.completions.create(model="smollm2", prompt="The capital of France is", temperature=0)
            assert "Paris" in whole.choices[0].text
            assert len((await sdk.embeddings.create(model="smollm2", input="x")).data[0].embedding) > 100
        async with http.post(f"{running.base_url}/messages", json=asked) as got:
            assert "Paris" in (await got.json())["content"][0]["text"]
        prompt = {name: asked[name] for name in ("model", "messages")}
        async with http.post(f"{running.base_url}/messages/count_tokens", json=prompt) as got:
            counted = await got.json()
        assert counted["input_tokens"] > 7
        assert "sl_estimated" not in counted
