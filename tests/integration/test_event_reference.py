"""Every event that leaves a socket is in the reference with exactly its members, and none is there that never comes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import reduce
from operator import or_
from typing import Any

import msgspec
import pytest

from backends.errors import ServerFailed
from backends.events import (
    Citation,
    Finished,
    Logprob,
    ReasoningDelta,
    RefusalDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.fake import FakeBackend
from backends.request import Request
from proxy.reference.event_shapes import SERVER_EVENTS, ServerEvent
from proxy.reference.events import name_of
from tests.gateway import TERMINAL, Client, connected, gateway
from tests.providers.groq import Groq
from tests.upstream import until

DONE = [Finished("stop", Usage(3, 2, cached_tokens=1, reasoning_tokens=1))]
ANY: Any = reduce(or_, SERVER_EVENTS)
KNOWN = {name_of(each): each for each in SERVER_EVENTS}
KEY = "a-session-of-this-test"
MODEL = "openai/gpt-oss-120b"
ACCOUNT = """
[free]
wait = 120.0
[[accounts]]
name = "mine"
provider = "groq"
api_key = "gsk_0123456789abcdef0123"
base_url = "{url}"
models = ["{model}"]
limits = [
  {{ metric = "requests", amount = 1, window = "minute" }},
  {{ metric = "tokens", amount = 900000, window = "minute" }},
]
"""
TOOLS = [{"type": "function", "name": "add", "parameters": {}}, {"type": "custom", "name": "shell"}]


class Scripts(FakeBackend):
    """Says what the prompt's last word names."""

    def __init__(self) -> None:
        super().__init__("fake", slots=2)
        self.go = asyncio.Event()
        self.scripts: dict[str, Any] = {
            "text": [[TextDelta("Hel"), TextDelta("lo")], DONE],
            "uncounted": [[TextDelta("Hello")], [Finished("length")]],
            "likely": [[TextDelta("Hi", (Logprob("Hi", -0.1, (("Ho", -2.0),)),))], DONE],
            "refusal": [[RefusalDelta("No.")], DONE],
            "reasoning": [[ReasoningDelta("Hm."), TextDelta("Yes.")], DONE],
            "signed": [[ReasoningDelta("Hm."), Signature("anthropic", "c2ln"), TextDelta("Yes.")], DONE],
            "cited": [
                [TextDelta("Yes."), Citation(0, 3, "yes", "https://a.example/", "A"), Citation(0, 3, "", "doc-1")],
                DONE,
            ],
            "tools": [
                [
                    ToolCallStart(0, "call_1", "add"),
                    ToolCallDelta(0, '{"a": 1}'),
                    ToolCallStart(1, "call_2", "shell"),
                    ToolCallDelta(1, '{"input": "ls"}'),
                ],
                DONE,
            ],
            "fail": [[TextDelta("a")], ServerFailed()],
            "wait": [[TextDelta("a")], self.go, DONE],
            "flood": [[TextDelta("a" * 1000)] * 200, self.go, DONE],
        }

    def answer(self, request: Request) -> Any:
        return self.scripts[request.messages[-1].parts[-1].text]  # type: ignore[union-attr]


@asynccontextmanager
async def talking(base_url: str, query: str, seen: list[dict[str, Any]]) -> AsyncIterator[Client]:
    """A socket whose events are all written down."""
    async with connected(base_url, query) as client:
        plain = client.next

        async def noted() -> dict[str, Any]:
            event = await plain()
            seen.append(event)
            return event

        client.next = noted  # type: ignore[method-assign]  # for this client only
        yield client


async def plain(base_url: str) -> list[dict[str, Any]]:
    """What everybody sees."""
    seen: list[dict[str, Any]] = []
    async with talking(base_url, "", seen) as client:
        for word in ("text", "uncounted", "likely", "refusal", "reasoning", "signed", "cited", "tools", "fail"):
            await client.create(text=word, tools=TOOLS, stream_id=word, metadata={"a": "b"})
            await client.until()
        await client.create(text="text", generate=False)
        await client.until()
        await client.create(model="nobody")
        await client.until()
        await client.send({"type": "response.steer", "previous_response_id": "resp_1", "input": []})
        await client.next()
        await client.create(text="wait")
        await client.until("response.output_text.delta")
        await client.send({"type": "response.cancel"})
        await client.until()
    return seen


async def session(base_url: str) -> list[dict[str, Any]]:
    """What who asked for it sees too: a response is paused, its connection lost and found again."""
    seen: list[dict[str, Any]] = []
    async with talking(base_url, f"?sl_ext=1&sl_session={KEY}", seen) as client:
        await client.next()
        await client.send({"type": "streamlane:ping", "id": 7})
        await client.until("streamlane:pong")
        await client.create(text="text", stream_id="a")
        await client.until("response.completed")
        await client.send({"type": "streamlane:flow.set", "window": 1})
        await client.create(text="flood")
        await client.until("streamlane:flow.stalled")
    async with talking(base_url, f"?sl_ext=1&sl_session={KEY}&sl_after=1", seen) as client:
        await client.until("streamlane:session.resumed")
        await client.until("response.created")
    async with talking(base_url, f"?sl_ext=1&sl_session={KEY}&sl_after=99999", seen) as client:
        await client.until("error")
    return seen


async def metered(base_url: str) -> list[dict[str, Any]]:
    """What is said of quotas: an account has one request a minute, and the next one waits."""
    seen: list[dict[str, Any]] = []
    async with talking(base_url, "?sl_ext=1", seen) as client:
        await client.create(model=f"mine/{MODEL}")
        await client.until()
        await client.create(model="free/auto")
        await client.until("streamlane:queue", *TERMINAL)
        await client.send({"type": "response.cancel"})
        await client.until()
    return seen


async def drained(base_url: str, leave: Callable[[], Awaitable[object]], go: asyncio.Event) -> list[dict[str, Any]]:
    """What is said when the gateway stops."""
    seen: list[dict[str, Any]] = []
    async with talking(base_url, "?sl_ext=1", seen) as client:
        await client.create(text="wait")
        await client.until("response.output_text.delta")
        leaving = asyncio.ensure_future(leave())
        await client.until("streamlane:session.draining")
        go.set()
        await client.until()
    await leaving
    return seen


async def test_what_a_socket_says_is_what_the_reference_says() -> None:
    backend = Scripts()
    entered = gateway("limits.log_ahead_bytes = 65536", [backend])
    started = await entered.__aenter__()
    everybody = await plain(started.base_url)
    extended = await session(started.base_url)
    async with (
        Groq(FakeBackend("behind", script=[[TextDelta("a")], DONE])) as groq,
        gateway(ACCOUNT.format(url=groq.url, model=MODEL)) as other,
    ):
        extended += await metered(other.base_url)
    backend.go.set()
    await until(lambda: started.generations.running == 0)
    backend.go.clear()
    extended += await drained(started.base_url, lambda: entered.__aexit__(None, None, None), backend.go)
    for event in (*everybody, *extended):
        try:
            msgspec.convert(event, ANY)
        except msgspec.ValidationError as error:
            pytest.fail(f"{error}: {event}")
    assert {event["type"] for event in (*everybody, *extended)} == set(KNOWN)
    assert {who(event) for event in everybody} == {"all"}
    assert not any("sl_seq" in event for event in everybody)


def who(event: dict[str, Any]) -> str:
    """Who may see it, by the reference."""
    kind: type[ServerEvent] = KNOWN[event["type"]]
    return kind.seen_by
