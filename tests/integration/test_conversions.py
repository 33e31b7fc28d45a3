"""Every client format over every provider's own API: what was said arrives, and what was answered comes back.

Two turns of one conversation: a system prompt, a picture and a tool go there; thinking, a call of the tool and why it
ended come back. Then its result goes there, with what the provider wants back of its thinking.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from backends.events import (
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.fake import FakeBackend, Step
from backends.json import dumps, loads
from backends.request import Image, Reasoning, Request, Text, ToolCall, ToolResult, text_of
from tests.gateway import Gateway, client, gateway
from tests.providers.anthropic import Anthropic
from tests.providers.azure_openai import AzureOpenAI
from tests.providers.base import Provider
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock
from tests.providers.chat import Chat
from tests.providers.cohere import Cohere
from tests.providers.gemini import Gemini
from tests.providers.ollama import Ollama
from tests.providers.openai import OpenAI
from tests.providers.vertex import LOCATION, PROJECT, Vertex
from tests.unit.proxy.wire.responses_requests import PIXEL

RULES, QUESTION, THOUGHT, ANSWER = "Be brief.", "Is it sunny there?", "Let me see.", "Yes, it is sunny."
NAME, ABOUT, SUNNY = "weather", "The weather of a place.", "24 degrees, no clouds"
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
CALL = {"place": "Rome"}
SEALED = dumps({"id": "rs_1", "encrypted_content": "c2ln"}).decode()


class Thinker(FakeBackend):
    """Thinks and calls the tool, and when it has its result, answers; `signature` is given between."""

    signature: Signature | None = None

    def answer(self, request: Request) -> list[Step]:
        if any(isinstance(part, ToolResult) for message in request.messages for part in message.parts):
            return [[TextDelta(ANSWER[:4]), TextDelta(ANSWER[4:])], [Finished("length", Usage(40, 4))]]
        arguments = dumps(CALL).decode()
        called: list[Event] = [ToolCallStart(0, "call_1", NAME), ToolCallDelta(0, arguments)]
        signed = [self.signature] if self.signature else []
        return [[ReasoningDelta(THOUGHT)], signed, called, [Finished("stop", Usage(20, 7))]]


@dataclass(frozen=True)
class Native:
    """A provider's fake, how it is configured, and what it signs with. `keeps` says whether it wants thinking back.

    `keyed` is for one that takes the fake's own key; the others' credentials are in their options.
    """

    server: Callable[[FakeBackend], Provider]
    options: dict[str, str]
    signature: Signature | None = None
    keeps: bool = True
    model: str = "fake"
    keyed: bool = True


AWS = {"region": REGION, "access_key_id": ACCESS, "secret_access_key": SECRET}
GOOGLE = {"kind": "vertex", "project": PROJECT, "location": LOCATION}
PROVIDERS = {
    "anthropic": Native(Anthropic, {"kind": "anthropic"}, Signature("anthropic", "c2ln")),
    "gemini": Native(Gemini, {"kind": "gemini"}, Signature("gemini", "call:c2ln")),
    "openai-responses": Native(
        partial(OpenAI, keyed=True),
        {"kind": "openai", "upstream": "responses"},
        Signature("openai", SEALED),
        model="gpt-5",  # by its name it is one that thinks
    ),
    "openai": Native(partial(OpenAI, keyed=True), {"kind": "openai"}, keeps=False),
    "azure_openai": Native(partial(AzureOpenAI, keyed=True), {"kind": "azure_openai"}, keeps=False),
    "openai_compatible": Native(Chat, {"kind": "openai_compatible"}, keeps=False),
    "cohere": Native(Cohere, {"kind": "cohere"}),
    "ollama": Native(Ollama, {"kind": "ollama"}),
    "bedrock": Native(Bedrock, {"kind": "bedrock", **AWS}, Signature("bedrock", "c2ln"), keyed=False),
    "vertex-gemini": Native(Vertex, GOOGLE, Signature("gemini", "call:c2ln"), model="gemini-3.5-flash", keyed=False),
    "vertex-claude": Native(Vertex, GOOGLE, Signature("anthropic", "c2ln"), model="claude-fake", keyed=False),
}


@dataclass(frozen=True)
class Said:
    """One turn of the model's, in no API's words."""

    text: str
    thought: str
    calls: tuple[tuple[str, Any], ...]
    stop: str
    usage: tuple[int, int]


class Talk(ABC):
    """One conversation in one client format, by its official SDK."""

    def __init__(self, running: Gateway, model: str) -> None:
        self.running, self.model = running, model
        self.openai = AsyncOpenAI(base_url=running.base_url, api_key="k", max_retries=0)
        self.anthropic = AsyncAnthropic(base_url=running.base_url.removesuffix("/v1"), api_key="k", max_retries=0)

    @abstractmethod
    async def ask(self) -> Said:
        """The first turn."""

    @abstractmethod
    async def tell(self) -> Said:
        """The second: the tool's result."""


class Responses(Talk):
    """The client keeps the conversation, and sends all of it."""

    tools: ClassVar[list[Any]] = [
        {"type": "function", "name": NAME, "description": ABOUT, "parameters": SCHEMA, "strict": False}
    ]

    async def ask(self) -> Said:
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
        content = [{"type": "input_text", "text": QUESTION}, image]
        self.input: list[Any] = [{"role": "user", "content": content}]
        return await self.turn()

    async def tell(self) -> Said:
        self.input += [item.model_dump(exclude_none=True) for item in self.response.output]
        self.input.append(self.result())
        return await self.turn()

    async def turn(self, **more: Any) -> Said:
        asked = {"model": self.model, "instructions": RULES, "tools": self.tools, "input": self.input, **more}
        async with await self.openai.responses.create(store=False, stream=True, **asked) as stream:
            *_, last = [event async for event in stream]
        self.response: Any = last.response
        return self.said(self.response.model_dump())

    def result(self) -> dict[str, Any]:
        [call] = [item for item in self.response.output if item.type == "function_call"]
        return {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}

    def said(self, response: dict[str, Any]) -> Said:
        items = response["output"]
        texts = {
            kind: "".join(part["text"] for item in items if item["type"] == kind for part in item["content"])
            for kind in ("message", "reasoning")
        }
        calls = tuple((each["name"], loads(each["arguments"])) for each in items if each["type"] == "function_call")
        stop = "length" if response["status"] == "incomplete" else "tools" if calls else "stop"
        usage = response["usage"]["input_tokens"], response["usage"]["output_tokens"]
        return Said(texts["message"], texts["reasoning"], calls, stop, usage)


class Continued(Responses):
    """The gateway keeps it: the first turn over HTTP, the second on a socket."""

    async def turn(self, **more: Any) -> Said:
        asked = {"model": self.model, "instructions": RULES, "tools": self.tools, "input": self.input, **more}
        self.response = await self.openai.responses.create(**asked)
        return self.said(self.response.model_dump())

    async def tell(self) -> Said:
        asked = {"type": "response.create", "model": self.model, "instructions": RULES, "tools": self.tools}
        async with client(self.running) as socket:
            await socket.send({**asked, "previous_response_id": self.response.id, "input": [self.result()]})
            return self.said((await socket.until())[-1]["response"])


class ChatCompletions(Talk):
    """Chat completions."""

    tools: ClassVar[list[Any]] = [
        {"type": "function", "function": {"name": NAME, "description": ABOUT, "parameters": SCHEMA}}
    ]

    async def ask(self) -> Said:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        content = [{"type": "text", "text": QUESTION}, image]
        self.messages: list[Any] = [{"role": "system", "content": RULES}, {"role": "user", "content": content}]
        return await self.turn()

    async def tell(self) -> Said:
        [call] = self.message.tool_calls
        answer = {"role": "tool", "tool_call_id": call.id, "content": SUNNY}
        self.messages += [self.message.model_dump(exclude_none=True), answer]
        return await self.turn()

    async def turn(self) -> Said:
        asked: Any = {"model": self.model, "messages": self.messages, "tools": self.tools}
        completion = await self.openai.chat.completions.create(**asked)
        [choice] = completion.choices
        assert completion.usage
        self.message: Any = choice.message
        calls = tuple((each.function.name, loads(each.function.arguments)) for each in self.message.tool_calls or ())
        stop = {"tool_calls": "tools"}.get(choice.finish_reason, choice.finish_reason)
        usage = completion.usage.prompt_tokens, completion.usage.completion_tokens
        thought = (self.message.model_extra or {}).get("reasoning_content", "")
        return Said(self.message.content or "", thought, calls, stop, usage)


class Messages(Talk):
    """Anthropic's Messages."""

    tools: ClassVar[list[Any]] = [{"name": NAME, "description": ABOUT, "input_schema": SCHEMA}]

    async def ask(self) -> Said:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        content = [{"type": "text", "text": QUESTION}, {"type": "image", "source": source}]
        self.messages: list[Any] = [{"role": "user", "content": content}]
        return await self.turn()

    async def tell(self) -> Said:
        [call] = [block for block in self.message.content if block.type == "tool_use"]
        answer = {"type": "tool_result", "tool_use_id": call.id, "content": SUNNY}
        self.messages += [{"role": "assistant", "content": self.message.content}, {"role": "user", "content": [answer]}]
        return await self.turn()

    async def turn(self) -> Said:
        asked: Any = {"model": self.model, "max_tokens": 100, "system": RULES, "tools": self.tools}
        async with self.anthropic.messages.stream(messages=self.messages, **asked) as stream:
            self.message: Any = await stream.get_final_message()
        blocks = self.message.content
        texts = [
            "".join(getattr(each, kind, "") for each in blocks if each.type == kind) for kind in ("text", "thinking")
        ]
        calls = tuple((each.name, each.input) for each in blocks if each.type == "tool_use")
        stop = {"tool_use": "tools", "max_tokens": "length"}[self.message.stop_reason]
        usage = self.message.usage
        return Said(texts[0], texts[1], calls, stop, (usage.input_tokens, usage.output_tokens))


@asynccontextmanager
async def between(native: Native) -> AsyncIterator[tuple[Gateway, Thinker]]:
    """A gateway before the provider, and the model behind it."""
    behind = Thinker("behind", models=(native.model,))
    behind.signature = native.signature
    async with native.server(behind) as provider:
        options = {"name": "provider", "base_url": provider.url, **native.options}
        if native.keyed:
            options["api_key"] = provider.key
        if isinstance(provider, Vertex):
            options["metadata_url"] = provider.root
        lines = [f'{name} = "{value}"' for name, value in options.items()]
        async with gateway("\n".join(["[[backends]]", *lines])) as running:
            yield running, behind


@pytest.mark.parametrize("talk", [Responses, Continued, ChatCompletions, Messages])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_conversation_with_a_tool_and_a_picture(name: str, talk: type[Talk]) -> None:
    native = PROVIDERS[name]
    async with between(native) as (running, behind):
        talking = talk(running, native.model)
        async with talking.openai, talking.anthropic:
            called, answered = await talking.ask(), await talking.tell()
    thought = called.thought
    assert called == Said("", thought, ((NAME, CALL),), "tools", (20, 7))
    assert answered == Said(ANSWER, "", (), "length", (40, 4))
    if native.keeps:
        assert thought == THOUGHT

    first, second = behind.requests
    for request in (first, second):
        assert [(tool.name, tool.description) for tool in request.tools] == [(NAME, ABOUT)]
        assert text_of(request.messages[0].parts) == RULES
    asked = [part for message in first.messages for part in message.parts]
    assert [part.text for part in asked if isinstance(part, Text)] == [RULES, QUESTION]
    assert [(part.media_type, part.data) for part in asked if isinstance(part, Image)] == [("image/png", PIXEL)]

    parts = [part for message in second.messages for part in message.parts]
    at = next(number for number, part in enumerate(parts) if isinstance(part, ToolCall))
    call, result = parts[at], parts[-1]
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert (call.name, loads(call.arguments)) == (NAME, CALL)
    assert (result.call_id, text_of(result.parts)) == (call.id, SUNNY)
    kept = parts[at - 1]
    if not native.keeps:
        assert not any(isinstance(part, Reasoning) for part in parts)
    else:
        assert isinstance(kept, Reasoning)
        assert kept.opaque is not None
        assert native.signature is None or "c2ln" in kept.opaque.data
        assert "gemini" in name or kept.text == THOUGHT
