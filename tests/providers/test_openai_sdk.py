"""The fake OpenAI can be believed: its official SDK streams from it, in each API that it has."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, RateLimitError

from backends.events import Finished, ReasoningDelta, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.openai import OpenAI

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
WORDS = "one two three four five six seven eight"
SEALED = '{"id":"rs_0","encrypted_content":"gAAAAAB"}'
THOUGHT = [
    [ReasoningDelta("Let me "), ReasoningDelta("see."), Signature("openai", SEALED), TextDelta("Yes.")],
    [Finished("stop", Usage(3, 9, reasoning_tokens=7))],
]


@pytest.fixture
async def provider() -> AsyncIterator[OpenAI]:
    async with OpenAI(FakeBackend("behind", text=WORDS, models=("fake", "o4-mini")), keyed=True) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: OpenAI) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=provider.url, api_key=OpenAI.key, max_retries=0) as sdk:
        yield sdk


async def test_a_response_streamed_and_whole(sdk: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "fake", "input": "Hello there"}
    async with sdk.responses.stream(**asked) as stream:
        streamed = await stream.get_final_response()
    whole = await sdk.responses.create(**asked)
    for answer in (streamed, whole):
        assert (answer.status, answer.output_text) == ("completed", WORDS)
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 8)


async def test_a_tool_is_called(sdk: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "fake", "input": "Hello", "tools": [TOOL], "tool_choice": "required"}
    async with sdk.responses.stream(**asked) as stream:
        [streamed] = (await stream.get_final_response()).output
    [whole] = (await sdk.responses.create(**asked)).output
    for call in (streamed, whole):
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city":"word"}')


async def test_reasoning_comes_sealed_and_goes_back(sdk: AsyncOpenAI, provider: OpenAI) -> None:
    provider.behind.script = THOUGHT
    asked: dict[str, Any] = {"model": "o4-mini", "store": False, "include": ["reasoning.encrypted_content"]}
    async with sdk.responses.stream(input="Hello", **asked) as stream:
        answer = await stream.get_final_response()
    thought, said = answer.output
    assert (thought.summary[0].text, thought.id, thought.encrypted_content) == ("Let me see.", "rs_0", "gAAAAAB")
    assert said.content[0].text == "Yes."
    assert answer.usage.output_tokens_details.reasoning_tokens == 7
    back = [thought.model_dump(exclude_unset=True), {"role": "assistant", "content": "Yes."}]
    await sdk.responses.create(input=[*back, {"role": "user", "content": "Sure?"}], **asked)
    sent = provider.behind.requests[-1].messages[0].parts[0]
    assert (sent.text, sent.opaque.data) == ("Let me see.", SEALED)


async def test_lanes_of_one_socket(sdk: AsyncOpenAI, provider: OpenAI) -> None:
    said = dict.fromkeys(("a", "b"), "")
    async with sdk.responses.connect() as connection:
        for lane in said:
            await connection.response.create(model="fake", input="Hello", stream_id=lane)
        ends = 0
        while ends < 2:
            event = await connection.recv()
            if event.type == "response.output_text.delta":
                said[event.stream_id] += event.delta
            elif event.type == "response.completed":
                assert event.response.usage.output_tokens == 8
                ends += 1
    assert said == {"a": WORDS, "b": WORDS}
    assert provider.opened == 1


async def test_refusals_on_a_socket_name_their_lane(sdk: AsyncOpenAI, provider: OpenAI) -> None:
    provider.faults.append(Fault("rate_limited", retry_after=2))
    async with sdk.responses.connect() as connection:
        await connection.response.create(model="fake", input="Hello", stream_id="a")
        refused = await connection.recv()
        assert (refused.type, refused.stream_id, refused.status) == ("error", "a", 429)
        assert refused.error.code == "rate_limit_exceeded"
        assert refused.error.headers == {"retry-after": "2"}
        await connection.response.create(model="no-such-model", input="Hello", stream_id="b")
        assert (await connection.recv()).error.code == "model_not_found"


async def test_what_models_that_reason_refuse(sdk: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": "o4-mini", "messages": [{"role": "user", "content": "Hello"}]}
    for more in ({"temperature": 0.5}, {"max_tokens": 9}, {"stop": ["x"]}):
        with pytest.raises(BadRequestError) as refused:
            await sdk.chat.completions.create(**asked, **more)
        assert refused.value.param == min(more)
    whole = await sdk.chat.completions.create(**asked, max_completion_tokens=2)
    assert whole.choices[0].message.content == "one two "
    with pytest.raises(BadRequestError, match="Unsupported parameter: 'temperature'"):
        await sdk.responses.create(model="o4-mini", input="Hello", temperature=0.5)
    with pytest.raises(BadRequestError, match="Expected a value >= 16"):
        await sdk.responses.create(model="fake", input="Hello", max_output_tokens=5)


async def test_errors_are_typed(sdk: AsyncOpenAI, provider: OpenAI) -> None:
    provider.faults.append(Fault("spent"))
    with pytest.raises(RateLimitError) as spent:
        await sdk.responses.create(model="fake", input="Hello")
    assert spent.value.code == "insufficient_quota"
    with pytest.raises(AuthenticationError):
        await sdk.with_options(api_key="sk-wrong").responses.create(model="fake", input="Hello")


async def test_embeddings_and_raw_completions(sdk: AsyncOpenAI) -> None:
    found = await sdk.embeddings.create(model="fake", input=["a cat", "a dog"], dimensions=4)
    assert [len(each.embedding) for each in found.data] == [4, 4]
    stream = await sdk.completions.create(model="fake", prompt="Once", max_tokens=3, stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream if chunk.choices]) == "one two three "
