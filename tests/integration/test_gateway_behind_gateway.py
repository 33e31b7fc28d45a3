"""One gateway asks another over its socket: both sides of the Responses API meet, cancels and sealed reasoning too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from backends.events import ReasoningDelta, Signature, TextDelta, ToolCallDelta, ToolCallStart
from backends.fake import FakeBackend
from backends.request import Opaque, Reasoning
from tests.gateway import DONE, Client, client, gateway, text_of

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}


@asynccontextmanager
async def chained(behind: FakeBackend) -> AsyncIterator[Client]:
    """A socket to a gateway whose only backend is a gateway in front of `behind`."""
    async with gateway(backends=[behind]) as inner:
        text = f'[[backends]]\nkind = "openai"\nname = "outer"\nbase_url = "{inner.base_url}"\nupstream = "responses"\n'
        async with gateway(text) as outer, client(outer) as socket:
            yield socket


async def asked(socket: Client, given: Any = "hi", **more: Any) -> list[dict[str, Any]]:
    await socket.send({"type": "response.create", "model": "outer/fake", "input": given, **more})
    return await socket.until()


async def test_words_and_calls_go_through_both() -> None:
    call = [ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"a":'), ToolCallDelta(0, "1}")]
    async with chained(FakeBackend("fake", script=[[TextDelta("Hel"), TextDelta("lo")], call, DONE])) as socket:
        events = await asked(socket, tools=[TOOL])
    assert text_of(events) == "Hello"
    _, called = events[-1]["response"]["output"]
    assert (called["call_id"], called["name"], called["arguments"]) == ("call_1", "weather", '{"a":1}')
    assert events[-1]["response"]["usage"]["output_tokens"] == 2


async def test_a_cancel_reaches_the_model() -> None:
    behind = FakeBackend("fake", script=[[TextDelta("x")], asyncio.Event()])
    async with chained(behind) as socket:
        await socket.send({"type": "response.create", "model": "outer/fake", "input": "hi"})
        *_, created = await socket.until("response.created")
        await socket.until("response.output_text.delta")
        await socket.send({"type": "response.cancel", "response_id": created["response"]["id"]})
        [*_, end] = await socket.until()
        assert end["response"]["status"] == "cancelled"
        await behind.left.wait()
        behind.script = [[TextDelta("again")], DONE]
        assert text_of(await asked(socket)) == "again"


async def test_what_a_model_thought_goes_back_to_it_through_both() -> None:
    thought = [ReasoningDelta("Hm."), Signature("anthropic", "c2ln"), TextDelta("Yes.")]
    behind = FakeBackend("fake", script=[thought, DONE])
    async with chained(behind) as socket:
        events = await asked(socket)
        await asked(socket, "Sure?", previous_response_id=events[-1]["response"]["id"])
    [sent] = [part for message in behind.requests[-1].messages for part in message.parts if isinstance(part, Reasoning)]
    assert sent == Reasoning("Hm.", Opaque("anthropic", "c2ln"))
