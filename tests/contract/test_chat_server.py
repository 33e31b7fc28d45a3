"""The fake chat server is a server to others too: the official SDK understands all that it says."""

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from backends.fake import FakeBackend
from tests.contract.chat_server import chat_server

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
ASK = {"model": "fake", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 100}


async def test_the_official_sdk_understands_the_fake_server() -> None:
    async with chat_server(FakeBackend("behind", text="one two three")) as base_url:
        async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as sdk:
            assert [model.id async for model in sdk.models.list()] == ["fake"]

            async with sdk.chat.completions.stream(**ASK, logprobs=True, top_logprobs=1) as stream:
                answer = await stream.get_final_completion()
            assert answer.choices[0].message.content == "one two three"
            assert answer.choices[0].finish_reason == "stop"
            assert [each.token for each in answer.choices[0].logprobs.content] == ["one ", "two ", "three"]

            async with sdk.chat.completions.stream(**ASK, tools=[WEATHER], tool_choice="required") as stream:
                [call] = (await stream.get_final_completion()).choices[0].message.tool_calls
            assert call.id
            assert (call.function.name, call.function.arguments) == ("weather", '{"city":"word"}')

            format_ = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
            async with sdk.chat.completions.stream(**ASK, response_format=format_) as stream:
                assert (await stream.get_final_completion()).choices[0].message.content == '{"city":"word"}'

            raw = await sdk.completions.create(model="fake", prompt="Go on", max_tokens=2, stream=True, logprobs=1)
            choices = [piece.choices[0] async for piece in raw if piece.choices]
            assert "".join(choice.text for choice in choices) == "one two "
            assert choices[-1].finish_reason == "length"
            assert choices[0].logprobs.top_logprobs == [{"one ": 0.0}]

            for encoding in ({}, {"encoding_format": "float"}):  # without one, the SDK asks for base64
                vectors = await sdk.embeddings.create(model="fake", input=["a b", "c"], dimensions=4, **encoding)
                assert [len(each.embedding) for each in vectors.data] == [4, 4]
                assert vectors.usage.prompt_tokens == 3


async def test_and_its_refusals() -> None:
    async with chat_server(FakeBackend("behind", context=3)) as base_url:
        async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as sdk:
            with pytest.raises(NotFoundError, match="does not exist"):
                await sdk.chat.completions.create(**{**ASK, "model": "other"}, stream=True)
            long = [{"role": "user", "content": "one word too many"}]
            with pytest.raises(BadRequestError, match="maximum context length is 3 tokens"):
                await sdk.chat.completions.create(**{**ASK, "messages": long}, stream=True)
