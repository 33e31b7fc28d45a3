"""The in-process backend: one loaded model, one thread per request inside the engine, events on the loop."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from backends import embeddings_dialect
from backends.base import Batches, Embeddings, Model
from backends.chat_decode import Decoder
from backends.chat_encode import encode
from backends.errors import (
    BackendError,
    EngineUnavailable,
    ModelNotFound,
    Overloaded,
    StreamBroken,
    UnsupportedFeature,
)
from backends.events import Event
from backends.llama_cpp import catalog, gguf_file
from backends.llama_cpp.abilities import fitted
from backends.llama_cpp.cores import usable_threads
from backends.llama_cpp.engine import Engine, Setup
from backends.llama_cpp.engines import EngineName, load_engine
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request, Sampling

Answer = TypeVar("Answer")

COUNTERS = 2  # threads
MOST_COUNTS = 64  # that run or wait


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="llama_cpp"):
    """One model file, loaded into this process."""

    name: str
    model: Annotated[
        str, Meta(min_length=1, description="A pulled model's name, or the path of a .gguf file.", examples=["smollm2"])
    ]
    engine: Annotated[
        EngineName,
        Meta(description="Which llama.cpp runs it. auto: xllamacpp where it is installed, else llama-cpp-python."),
    ] = "auto"
    parallel: Annotated[
        int,
        Meta(ge=1, le=256, description="Requests that run at once. llama-cpp-python runs one, and the others queue."),
    ] = 8
    context: Annotated[
        int, Meta(ge=256, le=2**20, description="Tokens that each of them has for its prompt and its answer.")
    ] = 4096
    threads: Annotated[
        Annotated[int, Meta(ge=1, le=512)] | None,
        Meta(description="Unset: physical cores - 1, at least 1.", examples=[3]),
    ] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        Meta(description="For requests that name none. Unset: what suits the model.", examples=[0.7]),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="As `temperature`.", examples=[0.95])
    ] = None


def build(options: Options, parts: Parts) -> "LlamaCpp":
    """A backend that has not loaded its model yet."""
    return LlamaCpp(
        options.name,
        model=options.model,
        models_dir=parts.models_dir,
        engine=options.engine,
        parallel=options.parallel,
        context=options.context,
        threads=options.threads,
        sampling=Sampling(temperature=options.temperature, top_p=options.top_p),
    )


class LlamaCpp:
    """Answers from one model file. The arguments are those of Options; `load` is what an engine is loaded with.

    Where neither a request nor `sampling` says how tokens are drawn, the file does, then the catalog.
    """

    extras: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        *,
        model: str,
        models_dir: Path,
        engine: EngineName = "auto",
        parallel: int = 8,
        context: int = 4096,
        threads: int | None = None,
        sampling: Sampling | None = None,
        load: Callable[[EngineName, Setup], Engine] = load_engine,
    ) -> None:
        self.name, self.slots = name, parallel
        self._wanted, self._models_dir = model, models_dir
        self._engine, self._context, self._threads = engine, context, threads
        self._sampling = sampling or Sampling()
        self._load_engine = load
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix=f"llama_cpp-{name}")  # makes threads when needed
        self._counters = ThreadPoolExecutor(COUNTERS, thread_name_prefix=f"llama_cpp-{name}-count")
        self._loaded: tuple[Engine, Model] | None = None
        self._runs: set[Run] = set()
        self._embeds: set[asyncio.Future[Any]] = set()
        self._counts: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Load the model, in a thread. Raises EngineUnavailable."""
        if self._loaded is None:
            self._loaded = await asyncio.get_running_loop().run_in_executor(self._pool, self._load)
            self.slots = self._loaded[0].slots

    def _load(self) -> tuple[Engine, Model]:
        model, file = catalog.find(self._models_dir, self._wanted)
        header = gguf_file.read_header(file)
        gguf_file.check(file, header)
        self._sampling = self._sampling.otherwise(header.sampling).otherwise(catalog.sampling(self._wanted))
        context = min(self._context, header.context or self._context)  # no more than the model was trained for
        setup = Setup(file, self.slots, context, self._threads or usable_threads(), embeds=header.pools_last)
        return self._load_engine(self._engine, setup), Model(model, context)

    async def close(self) -> None:
        """End every stream, wait until no thread is inside the engine, and free the model."""
        loaded, self._loaded = self._loaded, None
        runs = list(self._runs)
        for run in runs:
            run.stop(StreamBroken())
        if inside := [*(run.thread for run in runs), *self._embeds, *self._counts]:
            await asyncio.wait(inside)
        if loaded is not None:
            engine, _ = loaded
            await asyncio.get_running_loop().run_in_executor(self._pool, engine.close)
        self._pool.shutdown(wait=False)
        self._counters.shutdown(wait=False)

    async def models(self) -> Sequence[Model]:
        """The one model. Raises EngineUnavailable before `start`."""
        _, model = self._ready()
        return [model]

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        """Answer one request. Leaving waits until the engine's thread is out: then the slot is free.

        That is at the next token, or the next batch of a prompt. More than `slots` at once are Overloaded.
        """
        engine = self._engine_for(request.model)
        request = fitted(request, tools=engine.tools)
        self._check_room()
        sampling = request.sampling.otherwise(self._sampling)
        run = Run(engine, self._pool, replace(request, sampling=sampling))
        self._runs.add(run)
        run.thread.add_done_callback(lambda _: self._runs.discard(run))
        try:
            yield run
        finally:
            run.stop()
            if not run.thread.done():
                await asyncio.wait([run.thread])  # unlike `await run.thread`, a cancel here does not lose the thread
            self._runs.discard(run)  # the callback may come a turn later, and that slot is asked for now

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Takes a slot as `stream` does, until the engine's thread is out."""
        engine = self._engine_for(request.model)
        if request.dimensions is not None:
            raise UnsupportedFeature("dimensions", "dimensions")
        self._check_room()
        answer = await call(self._pool, self._embeds, engine.embed, embeddings_dialect.encode(request))
        return await embeddings_dialect.decode(answer, request)

    async def count_tokens(self, request: Request) -> int:
        """Takes no slot. More than a few dozen at once are Overloaded."""
        engine = self._engine_for(request.model)
        body = encode(fitted(request, tools=engine.tools))
        if len(self._counts) >= MOST_COUNTS:
            raise Overloaded
        return await call(self._counters, self._counts, engine.count, body)

    def _check_room(self) -> None:
        if len(self._runs) + len(self._embeds) >= self.slots:
            raise Overloaded

    def _engine_for(self, model: str) -> Engine:
        engine, ours = self._ready()
        if model != ours.id:
            raise ModelNotFound(model)
        return engine

    def _ready(self) -> tuple[Engine, Model]:
        if self._loaded is None:
            raise EngineUnavailable(f"The model of the backend '{self.name}' is not loaded. Try again in a moment.")
        return self._loaded


async def call(
    pool: ThreadPoolExecutor,
    inside: set[asyncio.Future[Any]],
    ask: Callable[[dict[str, Any]], Answer],
    body: dict[str, Any],
) -> Answer:
    """What the engine says to `body`, asked in a thread of `pool`. It is in `inside` until the thread is out, and so
    long it also takes to cancel; one that has not begun never begins.
    """
    job = pool.submit(ask, body)
    answer = asyncio.wrap_future(job)
    inside.add(answer)

    def out(_: object) -> None:
        inside.discard(answer)
        if not answer.cancelled():
            answer.exception()  # seen, also when nobody waits for it

    answer.add_done_callback(out)
    try:
        await asyncio.wait([answer])  # unlike `await answer`, a cancel here does not lose the thread
    except asyncio.CancelledError:
        if not job.cancel():
            await asyncio.wait([answer])
        raise
    finally:
        if answer.done():
            inside.discard(answer)  # the callback may come a turn later, and that place is asked for now
    return answer.result()


class Run:
    """One request inside the engine: its thread puts chunks in, the loop takes out what has gathered, as one batch."""

    def __init__(self, engine: Engine, pool: ThreadPoolExecutor, request: Request) -> None:
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(request.model, request.top_logprobs)
        self._chunks: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._waking = self._stopped = False
        self._error: BackendError | None = None
        self.thread = self._loop.run_in_executor(pool, engine.generate, encode(request), self._put)
        self.thread.add_done_callback(self._left)

    def _put(self, chunk: bytes) -> bool:
        """Called in the engine's thread."""
        self._chunks.append(chunk)
        if not self._waking:  # one wake-up for all chunks until the loop looks
            self._waking = True
            self._loop.call_soon_threadsafe(self._arrived.set)
        return self._stopped

    def _left(self, thread: asyncio.Future[None]) -> None:
        thread.exception()  # seen, also when nobody reads on
        self._arrived.set()

    def stop(self, error: BackendError | None = None) -> None:
        """Let the engine stop as soon as it can; who still reads gets `error`."""
        self._stopped, self._error = True, error
        self._arrived.set()

    def __aiter__(self) -> "Run":
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._decoder.finished:
            raise StopAsyncIteration
        await self._arrived.wait()
        if self._error is not None:
            raise self._error
        over = self.thread.done()  # asked before the chunks are taken: after it none is added
        if not over:
            self._arrived.clear()
            self._waking = False
        events: list[Event] = []
        for _ in range(len(self._chunks)):  # not those that come meanwhile, or a fast engine would never let us go
            events += self._decoder.feed(self._chunks.popleft())
        if events or not over:
            return events
        if error := self.thread.exception():
            raise error
        return self._decoder.end()
