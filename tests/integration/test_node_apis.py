"""The official OpenAI SDK for Node and the Vercel AI SDK, unmodified, talk to a gateway over HTTP."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.events import Finished, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import DIMENSIONS, FakeBackend
from backends.request import Request, ToolResult
from tests.gateway import Gateway, gateway

pytestmark = pytest.mark.needs("node")
SCRIPT = Path(__file__).parent / "node" / "apis.mjs"
WORDS: list[Any] = [[TextDelta("Hel"), TextDelta("lo wörld")], [Finished("stop", Usage(3, 2))]]
CALL: list[Any] = [
    [ToolCallStart(0, "call_1", "weather"), ToolCallDelta(0, '{"place":'), ToolCallDelta(0, '"Rome"}')],
    [Finished("stop", Usage(3, 2))],
]


class Caller(FakeBackend):
    """Calls the tool that it is offered, once."""

    def answer(self, request: Request) -> Any:
        called = any(isinstance(part, ToolResult) for message in request.messages for part in message.parts)
        if request.format is not None:
            return [[TextDelta('{"name":"Oslo"}')], [Finished("stop", Usage(3, 2))]]
        return CALL if request.tools and not called else WORDS


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(backends=[Caller("fake")]) as started:
        yield started


WHOLE = {"text": "Hello wörld", "finish": "stop", "tokens": 2}
STREAMED = {"text": "Hello wörld", "results": ["sunny in Rome"], "finish": "stop", "tokens": 4}
EXPECTED: dict[str, Any] = {
    "openai chat": {"text": "Hello wörld", "final": "Hello wörld", "whole": ["Hello wörld"] * 2},
    "openai tools": {"text": "Hello wörld", "roles": ["user", "assistant", "tool", "assistant"]},
    "openai embeddings": [DIMENSIONS] * 2,
    "openai error": {"status": 404, "code": "model_not_found", "id": True},
    "ai chat stream": STREAMED,
    "ai chat": WHOLE,
    "ai chat object": {"name": "Oslo"},
    "ai responses stream": STREAMED,
    "ai responses": WHOLE,
    "ai responses object": {"name": "Oslo"},
    "ai completion": WHOLE,
    "ai embeddings": [DIMENSIONS] * 2,
}


@pytest.mark.parametrize("case", EXPECTED)
async def test_it_gets_what_the_model_said(running: Gateway, case: str) -> None:
    node = await asyncio.create_subprocess_exec("node", str(SCRIPT), running.base_url, case, stdout=PIPE, stderr=PIPE)
    out, err = await node.communicate()
    assert node.returncode == 0, err.decode()
    assert json.loads(out) == EXPECTED[case]
