"""The unmodified official OpenAI SDK streams from us: the documented example, sync and async, and its lanes."""

import asyncio
import sys
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.lib.responses_websocket import AsyncResponsesWebSocketSession, ResponsesWebSocketLimits

from backends.errors import StreamBroken
from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.cli.serve import EXAMPLE
from tests.gateway import answers, gateway, process
from tests.models import models_dir

FAKE = '[[backends]]\nname = "f"\nkind = "fake"\ntext = "The capital of France is Paris."'
LIMITS = ResponsesWebSocketLimits(
    max_lanes=8, max_events_per_lane=100, max_events=1000, max_bytes_per_lane=1 << 20, max_bytes=1 << 22
)
QUESTION = "What is the capital of France?"


@pytest.fixture(params=["fake", pytest.param("smollm2", marks=pytest.mark.model)])
def served(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A configuration, and the model in it that knows France."""
    model: str = request.param
    if model == "fake":
        return FAKE, model
    file = models_dir() / "smollm2.gguf"
    return f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{file}"\nparallel = 2\ncontext = 512', model


def ask(base_url: str, model: str) -> tuple[str, Any]:
    """The example of the documentation, as it stands there."""
    said = ""
    with OpenAI(base_url=base_url, api_key="sk-local").responses.connect() as connection:
        connection.response.create(model=model, input=QUESTION, temperature=0, max_output_tokens=40, stream_id="main")
        for event in connection:
            if event.type == "response.output_text.delta":
                said += event.delta
            elif event.type == "response.completed":
                return said, event.response
            elif event.type in {"response.failed", "response.incomplete", "error"}:
                raise RuntimeError(event.to_json())
    raise RuntimeError("the socket closed before the answer was complete")


async def test_the_sync_example(served: tuple[str, str]) -> None:
    text, model = served
    async with process(text) as started:
        said, response = await asyncio.to_thread(ask, started.base_url, model)
    assert "Paris" in said
    assert response.output_text == said
    assert response.usage.output_tokens > 0


async def test_the_example_that_serve_prints_answers_or_says_what_is_wrong() -> None:
    broken = FakeBackend("broken", models=["broken"], script=[[TextDelta("so far")], StreamBroken()])

    async def run(base_url: str, model: str) -> tuple[int | None, str, str]:
        lines = EXAMPLE.format(base_url=base_url, key="none-needed", model=model).splitlines()
        code = "\n".join(line.removeprefix("    ") for line in lines[2:])
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
        out, err = await child.communicate()
        return child.returncode, out.decode(), err.decode()

    async with gateway(backends=[answers(), broken]) as started:
        whole, unknown, half = await asyncio.gather(*(run(started.base_url, name) for name in ("fake", "no", "broken")))
    assert whole == (0, "Hello wörld", "")
    assert (unknown[0], unknown[1]) == (1, "")
    assert "The model 'no' does not exist." in unknown[2]
    assert (half[0], half[1]) == (1, "so far")
    assert "broke the connection before its answer was whole" in half[2]


async def test_the_async_example(served: tuple[str, str]) -> None:
    text, model = served
    said = ""
    async with gateway(text) as started:
        async with AsyncOpenAI(base_url=started.base_url, api_key="sk-local").responses.connect() as connection:
            await connection.response.create(model=model, input=QUESTION, temperature=0, max_output_tokens=40)
            async for event in connection:
                if event.type == "response.output_text.delta":
                    said += event.delta
                elif event.type == "response.completed":
                    break
                elif event.type in {"response.failed", "response.incomplete", "error"}:
                    raise RuntimeError(event.to_json())
    assert "Paris" in said


async def test_five_lanes_of_the_sdks_session_run_at_once() -> None:
    async with gateway(backends=[answers()]) as started:
        sdk = AsyncOpenAI(base_url=started.base_url, api_key="sk-local")
        async with (
            sdk.responses.connect() as connection,
            AsyncResponsesWebSocketSession(connection, limits=LIMITS) as session,
        ):
            lanes = [session.lane(f"lane{number}") for number in range(5)]
            for lane in lanes:
                await lane.send({"type": "response.create", "model": "fake", "input": "hi"})
            finals = await asyncio.gather(*(lane.get_final_response() for lane in lanes))
    assert [final.output_text for final in finals] == ["Hello wörld"] * 5
    assert len({final.id for final in finals}) == 5
