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
    """Asks Codex for its goal, and then says that it is done."""

    def answer(self, request: Request) -> Any:
        if results_of(request):
            return [[TextDelta("All "), TextDelta("done.")], DONE]
        return [[ToolCallStart(0, "call_1", "get_goal"), ToolCallDelta(0, "{}")], [Finished("stop", Usage(3, 2))]]


def results_of(request: Request) -> list[str]:
    """What the tools gave back."""
    return [text_of(part.parts) for each in request.messages for part in each.parts if isinstance(part, ToolResult)]


async def test_codex_works_over_the_socket(tmp_path: Path) -> None:
    """One turn with a call of a tool of its own. Codex has no network here but to us."""
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
    assert len(results_of(backend.requests[1])) == 1
    assert not [event for event in events if "Falling back" in str(event)]  # to HTTP
