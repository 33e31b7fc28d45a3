"""The in-process backend with a scripted engine in place of llama.cpp."""

import asyncio
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from backends.base import Embeddings
from backends.errors import (
    ContextLengthExceeded,
    EngineUnavailable,
    ModelNotFound,
    Overloaded,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import Finished, TextDelta, Usage
from backends.json import dumps
from backends.llama_cpp.backend import LlamaCpp, Options
from backends.llama_cpp.cores import cpu_quota, physical_cores
from backends.llama_cpp.engine import Put, Setup
from backends.request import (
    EmbeddingRequest,
    Image,
    Message,
    Prompt,
    Request,
    Sampling,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from tests.gguf_files import tiny_model

ASK = Request("tiny", (said("user", "Hi."),), max_output_tokens=10, sampling=Sampling(temperature=0))
READING = dumps({"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}], "prompt_progress": {}})
STOP = dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})


def says(text: str) -> bytes:
    return dumps({"choices": [{"index": 0, "delta": {"content": text}}]})


class ScriptedEngine:
    """Runs `script(put)` in the thread of each request. `inside` is how many are in it now."""

    tools = False

    def __init__(self, script: Callable[[Put], None], slots: int) -> None:
        self.script, self.slots, self.inside, self.closed = script, slots, 0, False
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def generate(self, body: dict[str, Any], put: Put) -> None:
        with self._lock:
            self.inside += 1
            self.bodies.append(body)
        try:
            self.script(put)
        finally:
            with self._lock:
                self.inside -= 1

    def embed(self, body: dict[str, Any]) -> bytes:
        return dumps({"data": [{"index": 0, "embedding": [float(len(body["input"]))]}]})

    def count(self, body: dict[str, Any]) -> int:
        return len(body["messages"][0]["content"])

    def close(self) -> None:
        assert self.inside == 0, "a model must not be freed under a request"
        self.closed = True


def endless(put: Put) -> None:
    while not put(says("on and on ")):
        pass


async def started(
    tmp_path: Path, script: Callable[[Put], None], advice: dict[str, float] | None = None, **options: Any
) -> tuple[LlamaCpp, ScriptedEngine]:
    engines: list[ScriptedEngine] = []

    def load(name: str, setup: Setup) -> ScriptedEngine:
        engines.append(ScriptedEngine(script, 1 if name == "llama-cpp-python" else setup.slots))
        return engines[0]

    name = options.pop("model", ASK.model)
    tiny_model(tmp_path / f"{name}.gguf", advice=advice)
    backend = LlamaCpp("local", model=name, models_dir=tmp_path, load=load, **options)
    await backend.start()
    return backend, engines[0]


async def test_an_answer_is_its_text_and_then_its_end(tmp_path: Path) -> None:
    def script(put: Put) -> None:
        for chunk in (READING, says("Good "), says("day."), STOP, USAGE):
            put(chunk)

    backend, engine = await started(tmp_path, script)
    async with backend.stream(ASK) as batches:
        events = [event async for batch in batches for event in batch]
    assert events == [TextDelta("Good "), TextDelta("day."), Finished("stop", Usage(5, 2))]
    assert engine.bodies[0]["messages"] == [{"role": "user", "content": "Hi."}]
    assert engine.bodies[0]["max_tokens"] == 10


async def test_vectors_and_counts_come_from_the_engine(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless)
    assert await backend.embed(EmbeddingRequest("tiny", ("a",))) == Embeddings([array("d", [1.0])])
    assert await backend.count_tokens(ASK) == 3
    with pytest.raises(UnsupportedFeature, match="dimensions"):
        await backend.embed(EmbeddingRequest("tiny", ("a",), dimensions=2))
    with pytest.raises(ModelNotFound):
        await backend.count_tokens(replace(ASK, model="other"))


CALL = Message("assistant", (ToolCall("a", "clock", "{}"),))
PICTURE = Message("user", (Image("image/png", ""),))
CLOCK = Tool("clock")


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (replace(ASK, messages=(PICTURE,)), "input"),
        (replace(ASK, messages=(Message("user", (ToolResult("a", PICTURE.parts),)),)), "input"),
        (replace(ASK, messages=(CALL,)), "input"),
        (replace(ASK, tools=(CLOCK,)), "tools"),
        (replace(ASK, messages=(), prompt=Prompt("a", "b")), "suffix"),
    ],
)
async def test_what_the_engine_cannot_do_is_refused_before_it_is_asked(
    tmp_path: Path, request_: Request, param: str
) -> None:
    backend, engine = await started(tmp_path, endless)
    with pytest.raises(UnsupportedFeature) as caught:
        async with backend.stream(request_):
            pytest.fail("entered")
    assert caught.value.param == param
    assert engine.bodies == []


async def sampled(tmp_path: Path, request: Sampling, advice: dict[str, float] | None = None, **options: Any) -> Any:
    """How the engine is told to draw tokens, by a file that gives `advice`."""

    def script(put: Put) -> None:
        put(STOP)

    backend, engine = await started(tmp_path, script, advice, **options)
    [model] = await backend.models()
    async with backend.stream(replace(ASK, model=model.id, sampling=request)) as batches:
        async for _ in batches:
            pass
    return {name: round(value, 3) for name, value in engine.bodies[0].items() if name in Sampling.__slots__}


async def test_tokens_are_drawn_as_the_request_says_then_the_configuration_then_the_file(tmp_path: Path) -> None:
    advice = {"temp": 0.6, "top_p": 0.8, "top_k": 20}
    configured = Sampling(top_p=0.5)
    assert await sampled(tmp_path, Sampling()) == {}
    assert await sampled(tmp_path, Sampling(), advice) == {"temperature": 0.6, "top_p": 0.8, "top_k": 20}
    told = await sampled(tmp_path, Sampling(temperature=0), advice, sampling=configured)
    assert told == {"temperature": 0, "top_p": 0.5, "top_k": 20}


async def test_a_known_model_is_asked_as_its_card_advises(tmp_path: Path) -> None:
    known = {"model": "smollm2"}
    assert await sampled(tmp_path, Sampling(), **known) == {"temperature": 0}
    assert await sampled(tmp_path, Sampling(temperature=1.0), **known) == {"temperature": 1.0}
    assert await sampled(tmp_path, Sampling(), {"temp": 0.6}, **known) == {"temperature": 0.6}


async def test_chunks_that_gathered_come_as_one_batch(tmp_path: Path) -> None:
    gathered, go_on = threading.Event(), threading.Event()

    def script(put: Put) -> None:
        for word in "abc":
            put(says(word))
        gathered.set()
        go_on.wait()
        put(STOP)

    backend, _ = await started(tmp_path, script)
    async with backend.stream(ASK) as batches:
        gathered.wait()  # the loop is busy meanwhile, on purpose
        assert await anext(batches) == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
        go_on.set()
        assert [event async for batch in batches for event in batch] == [Finished("stop", None)]


async def test_while_a_prompt_is_read_there_are_signs_of_life(tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(put: Put) -> None:
        put(READING)
        go_on.wait()
        put(STOP)

    backend, _ = await started(tmp_path, script)
    async with backend.stream(ASK) as batches:
        assert await anext(batches) == []
        go_on.set()


async def test_after_leaving_no_thread_is_inside_the_engine(tmp_path: Path) -> None:
    backend, engine = await started(tmp_path, endless, parallel=2)
    for _ in range(5):
        async with backend.stream(ASK) as batches:
            await anext(batches)
        assert engine.inside == 0


async def test_more_streams_than_slots_are_overloaded(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless, parallel=2)
    async with backend.stream(ASK), backend.stream(ASK):
        with pytest.raises(Overloaded):
            async with backend.stream(ASK):
                pass
    async with backend.stream(ASK) as batches:
        assert await anext(batches)


async def test_an_engine_may_take_fewer_at_once_than_were_wanted(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless, parallel=2, engine="llama-cpp-python")
    assert backend.slots == 1
    async with backend.stream(ASK):
        with pytest.raises(Overloaded):
            async with backend.stream(ASK):
                pass


async def test_a_slot_is_free_as_soon_as_its_stream_is_left(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, lambda put: put(STOP) and None, parallel=1)
    for _ in range(100):
        async with backend.stream(ASK) as batches:
            assert [event async for batch in batches for event in batch] == [Finished("stop", None)]


async def test_a_slot_is_not_free_before_its_thread_is_out(tmp_path: Path) -> None:
    """Even when whoever leaves is cancelled a second time, and gives up waiting for the thread."""
    inside, let_out = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def script(put: Put) -> None:
        loop.call_soon_threadsafe(inside.set)
        let_out.wait()

    async def client() -> None:
        async with backend.stream(ASK) as batches:
            await anext(batches)

    backend, engine = await started(tmp_path, script, parallel=1)
    task = asyncio.create_task(client())
    await inside.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Overloaded):
        async with backend.stream(ASK):
            pass
    let_out.set()
    await backend.close()
    assert engine.inside == 0


async def test_a_prompt_too_long_is_told_with_both_numbers(tmp_path: Path) -> None:
    error = {"code": 400, "type": "exceed_context_size_error", "message": "…", "n_prompt_tokens": 5031, "n_ctx": 4096}
    backend, _ = await started(tmp_path, lambda put: put(dumps({"error": error})) and None)
    with pytest.raises(ContextLengthExceeded) as refused:
        async with backend.stream(ASK) as batches:
            await anext(batches)
    assert (refused.value.prompt_tokens, refused.value.context) == (5031, 4096)


async def test_an_engine_that_breaks_down_is_our_error(tmp_path: Path) -> None:
    def script(put: Put) -> None:
        put(says("I was "))
        raise ServerFailed

    backend, _ = await started(tmp_path, script)
    async with backend.stream(ASK) as batches:
        assert await anext(batches) == [TextDelta("I was ")]
        with pytest.raises(ServerFailed):
            await anext(batches)


async def test_an_answer_without_its_end_is_broken(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, lambda put: put(says("I was ")) and None)
    async with backend.stream(ASK) as batches:
        assert await anext(batches) == [TextDelta("I was ")]
        with pytest.raises(StreamBroken):
            await anext(batches)


async def test_closing_ends_the_streams_and_frees_the_model(tmp_path: Path) -> None:
    backend, engine = await started(tmp_path, endless)
    async with backend.stream(ASK) as batches:
        await anext(batches)
        await backend.close()
        assert engine.closed
        with pytest.raises(StreamBroken):
            await anext(batches)
    with pytest.raises(EngineUnavailable):
        await backend.models()
    await backend.close()


async def test_another_model_is_not_found(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless)
    with pytest.raises(ModelNotFound):
        async with backend.stream(replace(ASK, model="huge")):
            pass


async def test_a_model_is_known_by_its_name_and_never_by_its_path(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless, context=300)
    [model] = await backend.models()
    assert (model.id, model.context) == ("tiny", 300)


async def test_a_slot_holds_no_more_than_the_model_was_trained_for(tmp_path: Path) -> None:
    backend, _ = await started(tmp_path, endless, context=1_000_000)
    assert [model.context for model in await backend.models()] == [2048]


async def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    backend = LlamaCpp("local", model="smollm2", models_dir=tmp_path)
    with pytest.raises(EngineUnavailable, match="Run: streamlane models pull smollm2"):
        await backend.start()
    with pytest.raises(EngineUnavailable, match="not loaded"):
        await backend.models()


@pytest.mark.parametrize(
    "wrong",
    [
        {"parallel": 0},
        {"parallel": 1000},
        {"context": 10},
        {"threads": 0},
        {"model": ""},
        {"gpu": 1},
        {"engine": "ollama"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "llama_cpp", "name": "local", "model": "smollm2", **wrong}, Options)


def test_cpus_that_share_a_core_count_once(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        (tmp_path / f"cpu{cpu}/topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}/topology/thread_siblings_list").write_text(siblings)
    assert physical_cores(tmp_path, {0, 1, 2, 3}) == 2
    assert physical_cores(tmp_path, {0, 2}) == 1
    assert physical_cores(tmp_path / "unknown", {0, 1, 2, 3}) == 4


@pytest.mark.parametrize(("text", "cpus"), [("200000 100000\n", 2), ("150000 100000\n", 1)])
def test_a_container_gets_no_more_than_its_limit(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path / "cpu.max") == cpus


def test_without_a_limit_every_core_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path / "cpu.max") > 1000
    assert cpu_quota(tmp_path / "no-such-file") > 1000
