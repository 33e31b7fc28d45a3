"""Official SDKs, unmodified, with the real model: streams of each API, and answers that keep to a schema."""

from collections.abc import AsyncIterator
from typing import Literal

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel

from backends.json import loads
from proxy.app import Gateway
from tests.gateway import gateway
from tests.models import models_dir

pytestmark = [pytest.mark.model]

MODEL = "smollm2"
QUESTION = "What is the capital of France?"


class City(BaseModel):
    """What the grammar forces: a small model alone would not."""

    city: Literal["Paris", "Rome"]
    inhabitants: int
    river: Literal["Seine", "Tiber"]


SCHEMA = {**City.model_json_schema(), "additionalProperties": False}


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    file = models_dir() / f"{MODEL}.gguf"
    text = f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{file}"\nparallel = 2\ncontext = 512'
    async with gateway(text) as started:
        yield started


async def test_streams(running: Gateway) -> None:
    """Responses and chat with OpenAI's SDK, messages with Anthropic's. The socket is in test_sdk.py."""
    async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
        async with sdk.responses.stream(model=MODEL, input=QUESTION, temperature=0, max_output_tokens=40) as responses:
            said = "".join([event.delta async for event in responses if event.type == "response.output_text.delta"])
            final = await responses.get_final_response()
        assert "Paris" in said
        assert (final.status, final.output_text) == ("completed", said)
        messages = [{"role": "user", "content": QUESTION}]
        async with sdk.chat.completions.stream(
            model=MODEL,
            messages=messages,  # type: ignore[arg-type]
            temperature=0,
            max_tokens=40,
        ) as chat:
            completion = await chat.get_final_completion()
        assert completion.choices[0].message.content == said
        assert completion.choices[0].finish_reason == "stop"
    async with AsyncAnthropic(base_url=running.base_url.removesuffix("/v1"), api_key="k") as claude:
        async with claude.messages.stream(
            model=MODEL,
            messages=messages,  # type: ignore[arg-type]
            max_tokens=40,
            extra_body={"temperature": 0},  # the helper does not take it any more; the API does
        ) as stream:
            message = await stream.get_final_message()
    assert [block.text for block in message.content if block.type == "text"] == [said]
    assert message.usage.output_tokens > 0


async def test_answers_keep_to_a_schema(running: Gateway) -> None:
    """The helpers that parse, over HTTP; and the same schema on a socket."""
    async with AsyncOpenAI(base_url=running.base_url, api_key="k") as sdk:
        parsed = await sdk.responses.parse(
            model=MODEL, input=QUESTION, text_format=City, temperature=0, max_output_tokens=80
        )
        assert isinstance(parsed.output_parsed, City)
        chat = await sdk.chat.completions.parse(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            response_format=City,
            temperature=0,
            max_tokens=80,
        )
        assert chat.choices[0].message.parsed == parsed.output_parsed
        async with sdk.responses.connect() as connection:
            await connection.response.create(
                model=MODEL,
                input=QUESTION,
                text={"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}},
                temperature=0,
                max_output_tokens=80,
            )
            async for event in connection:
                if event.type == "response.completed":
                    assert City.model_validate(loads(event.response.output_text))
                    break
                assert event.type not in {"response.failed", "response.incomplete", "error"}, event
