"""llama.cpp's own server, with a chat template that knows tools: calls, schemas and vectors through our backend."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.base import Embedder
from backends.events import Finished, TextDelta, ToolCallDelta, ToolCallStart
from backends.json import loads
from backends.request import EmbeddingRequest, JsonFormat, Request, Sampling, Tool, said
from tests.contract.kinds import built
from tests.models import models_dir
from tests.real_servers import announced

TEMPLATE = Path(__file__).parent.parent / "contract" / "tools.jinja"
SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.model_alias, params.chat_template = sys.argv[1], {"smollm2"}, open(sys.argv[2]).read()
params.hostnames, params.port, params.ui, params.warmup = ["127.0.0.1"], 0, False, False
params.n_parallel, params.n_ctx, params.cpuparams.n_threads = 1, 2048, 1
params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(3600)
"""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}
SCHEMA["additionalProperties"] = False
# The small model cannot choose a tool, but it can copy a call.
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'

pytestmark = [pytest.mark.model]


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-c", SERVER, str(models_dir() / "smollm2.gguf"), str(TEMPLATE)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield f"{announced(process, log)}/v1"
    finally:
        process.kill()
        process.wait()


def ask(question: str, **more) -> Request:
    return Request("smollm2", (said("user", question),), 60, sampling=Sampling(temperature=0), **more)


async def test_a_tool_is_called(base_url: str) -> None:
    tool = Tool("get_weather", "The weather of a city.", SCHEMA)
    async with built({"kind": "openai_compatible", "base_url": base_url}) as backend:
        async with backend.stream(ask(f"Repeat: {CALL}", tools=(tool,), tool_choice="required")) as batches:
            start, *pieces, end = [event async for batch in batches for event in batch]
    assert isinstance(start, ToolCallStart)
    assert start.name == "get_weather"
    assert all(isinstance(piece, ToolCallDelta) for piece in pieces)
    assert loads("".join(piece.arguments for piece in pieces)) == {"city": "Paris"}
    assert isinstance(end, Finished)


async def test_an_answer_keeps_to_a_schema(base_url: str) -> None:
    async with built({"kind": "openai_compatible", "base_url": base_url}) as backend:
        async with backend.stream(ask("Where is the Eiffel tower?", format=JsonFormat(SCHEMA))) as batches:
            events = [event async for batch in batches for event in batch]
    assert loads("".join(event.text for event in events if isinstance(event, TextDelta))).keys() == {"city"}


async def test_texts_become_vectors(base_url: str) -> None:
    async with built({"kind": "openai_compatible", "base_url": base_url}) as backend:
        assert isinstance(backend, Embedder)
        found = await backend.embed(EmbeddingRequest("smollm2", ("a cat", "a dog")))
    assert [len(vector) for vector in found.vectors] == [576, 576]
    assert found.input_tokens == 4
