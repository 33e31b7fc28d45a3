"""Programs for Node, unmodified, in folders of their own: the oldest OpenAI SDK with lanes, and Codex.

Slow the first time, when npm fetches them: environments.py keeps them.
"""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Any

import pytest

from backends.events import Finished, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from backends.request import Request, ToolResult, text_of
from tests.gateway import DONE, answers, gateway
from tests.integration.cuts import Wire
from tests.integration.environments import npm_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.needs("node")]  # a slow network, the first time

LANES = Path(__file__).parent / "sdks" / "lanes.mjs"
NAMESPACED = "multi_agent_v1__close_agent"
CODEX = """
model = "fake"
model_provider = "streamlane"
web_search = "disabled"

[model_providers.streamlane]
name = "Streamlane"
base_url = "{base_url}"
env_key = "STREAMLANE_API_KEY"
wire_api = "responses"
supports_websockets = true
"""


async def test_five_lanes_of_the_oldest_sdk_with_lanes() -> None:
    folder = await asyncio.to_thread(npm_with, "openai@7.10.0", "ws@8.23.0")
    script = shutil.copy(LANES, folder)  # Node finds packages beside the file
    async with gateway(backends=[answers()]) as running:
        child = await asyncio.create_subprocess_exec("node", script, running.base_url, stdout=PIPE, stderr=PIPE)
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    assert json.loads(out) == {"said": dict.fromkeys("abcde", "Hello wörld"), "ends": ["response.completed"]}


class Coder(FakeBackend):
    """Calls two tools of Codex that do nothing, and then says that it is done."""

    def answer(self, request: Request) -> Any:
        if results_of(request):
            return [[TextDelta("All "), TextDelta("done.")], DONE]
        tools = {tool.name for tool in request.tools}
        assert {NAMESPACED, "get_goal"} <= tools, tools
        goal = [ToolCallStart(0, "call_1", "get_goal"), ToolCallDelta(0, "{}")]
        close = [ToolCallStart(1, "call_2", NAMESPACED), ToolCallDelta(1, '{"target":"nobody"}')]
        return [goal, close, [Finished("stop", Usage(3, 2))]]


def results_of(request: Request) -> list[str]:
    """What the tools gave back."""
    return [text_of(part.parts) for each in request.messages for part in each.parts if isinstance(part, ToolResult)]


async def test_codex_works_over_the_socket(tmp_path: Path) -> None:
    """One turn with calls of its own tools, one of them in a namespace. Codex is told of no network but us."""
    folder = await asyncio.to_thread(npm_with, "@openai/codex@0.169.0")
    backend = Coder("fake")
    async with gateway(backends=[backend]) as running, Wire(running.base_url) as wire:
        (tmp_path / "config.toml").write_text(CODEX.format(base_url=wire.base_url))
        home = {"CODEX_HOME": str(tmp_path), "HOME": str(tmp_path), "STREAMLANE_API_KEY": "none-needed"}
        program = folder / "node_modules" / ".bin" / "codex"
        options = ["--json", "--skip-git-repo-check", "--ephemeral", "--sandbox", "read-only"]
        command = [program, "exec", *options, "Do it."]
        child = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env={**os.environ, **home}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
        )
        out, err = await child.communicate()
    events = [json.loads(line) for line in out.splitlines()]
    said = [event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"]
    assert (child.returncode, said) == (0, ["All done."]), (out + err).decode()
    assert events[-1]["type"] == "turn.completed"
    assert len(backend.requests) == 2
    goal, closed = results_of(backend.requests[1])
    assert "Goal" in goal
    assert "nobody" in closed
    assert not [event for event in events if "Falling back" in str(event)]  # to HTTP
