"""Unmodified SDKs for Python in environments of their own: the oldest that have the feature, and newer ones.

Slow the first time, when the environments are made: environments.py keeps them.
"""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest

from backends.events import Finished, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import DIMENSIONS, FakeBackend
from backends.request import Request, ToolResult
from tests.gateway import DONE, answers, gateway
from tests.integration.cuts import Wire
from tests.integration.environments import python_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a slow network, the first time

SDKS = Path(__file__).parent / "sdks"
LONG = " ".join(str(number) for number in range(200))
SAID = "Hello wörld"


async def printed(python: Path, script: str, *arguments: str) -> Any:
    """What the script prints, as JSON."""
    child = await asyncio.create_subprocess_exec(python, SDKS / script, *arguments, stdout=PIPE, stderr=PIPE)
    out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    return json.loads(out)


async def test_the_oldest_openai_with_responses_knows_every_call() -> None:
    python = await asyncio.to_thread(python_with, "openai==1.66.0")
    async with gateway(backends=[answers()]) as running:
        assert await printed(python, "responses_and_chat.py", running.base_url) == {
            "whole": SAID,
            "streamed": SAID,
            "end": "response.completed",
            "retrieved": SAID,
            "items": ["hi"],
            "gone": "response_not_found",
            "chat": SAID,
            "chunks": SAID,
            "finish": "stop",
            "tokens": 2,
            "dimensions": DIMENSIONS,
            "models": ["fake"],
        }


async def test_an_old_anthropic_streams_messages() -> None:
    python = await asyncio.to_thread(python_with, "anthropic==0.39.0", "httpx==0.27.2")  # it passes what 0.28 refuses
    async with gateway(backends=[answers()]) as running:
        assert await printed(python, "messages.py", running.base_url.removesuffix("/v1")) == {
            "whole": SAID,
            "why": "end_turn",
            "tokens": 2,
            "streamed": SAID,
            "final": SAID,
            "error": "not_found_error",
        }


@pytest.mark.parametrize(
    ("requirements", "has_helper"),
    [(["openai[realtime]==3.8.0"], False), (["openai==3.54.0", "websockets==17.4"], True)],
    ids=["oldest with lanes", "newest"],
)
async def test_sockets_of_openai(requirements: list[str], has_helper: bool) -> None:
    """The documented example sync and async, five lanes, and an answer that goes on over a connection that was cut."""
    python = await asyncio.to_thread(python_with, *requirements)
    backend = FakeBackend("long", models=["long"], text=LONG, tokens_per_second=200)
    async with gateway(backends=[answers(), backend]) as running, Wire(running.base_url) as wire:
        child = await asyncio.create_subprocess_exec(
            python, SDKS / "sockets.py", running.base_url, wire.base_url, stdout=PIPE, stderr=PIPE
        )
        assert child.stdout is not None
        if await child.stdout.readline() == b"half\n":
            wire.cut()
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    assert wire.connections == 2
    example = [SAID, "response.completed", SAID, 2]
    assert json.loads(out) == {
        "resumed": [LONG, "response.completed", True],
        "async": example,
        "sync": example,
        "lanes": [[SAID] * 5, ["response.completed"]],
        "helper": [SAID] * 5 if has_helper else None,
    }
    assert len(backend.requests) == 1


class Caller(FakeBackend):
    """Calls the tool that it is offered, once, and then says what it heard."""

    def answer(self, request: Request) -> Any:
        heard = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
        if request.tools and not heard:
            call = [ToolCallStart(0, "call_1", request.tools[0].name), ToolCallDelta(0, '{"place":"Rome"}')]
            return [call, [Finished("stop", Usage(3, 2))]]
        return [[TextDelta("It is "), TextDelta("sunny.")], DONE]


async def test_openai_agents_run_over_the_socket() -> None:
    """A run that calls a function, and a streamed one that goes on from it, on one connection."""
    python = await asyncio.to_thread(python_with, "openai-agents==0.24.0")
    backend = Caller("fake")
    async with gateway(backends=[backend]) as running, Wire(running.base_url) as wire:
        found = await printed(python, "agents_run.py", wire.base_url)
    assert found == {
        "whole": "It is sunny.",
        "called": ["Rome"],
        "requests": 2,
        "tokens": 4,
        "streamed": "It is sunny.",
        "final": "It is sunny.",
    }
    assert wire.connections == 1
    assert len(backend.requests) == 3
    assert [message.role for message in backend.requests[2].messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
