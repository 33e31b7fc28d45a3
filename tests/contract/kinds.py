"""The table of the contract: each kind of backend, configured as a user would. A new kind is one entry here."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from backends.base import Backend
from backends.fake import FakeBackend
from backends.http import Transport
from backends.registry import Parts, load
from tests.contract.chat_server import chat_server
from tests.models import models_dir

CONTEXT = 512  # tokens; every backend of the table has it
SLOTS = 2
TALE = {"text": "and then she said: go on, " * 200, "tokens_per_second": 2000, "context": CONTEXT, "models": ("fake",)}

Options: TypeAlias = dict[str, Any]
Kind: TypeAlias = Callable[[], AbstractAsyncContextManager[Options]]


@asynccontextmanager
async def fake() -> AsyncIterator[Options]:
    yield {"kind": "fake", "slots": SLOTS, **TALE}


@asynccontextmanager
async def openai_compatible() -> AsyncIterator[Options]:
    async with chat_server(FakeBackend("behind", **TALE)) as base_url:
        yield {"kind": "openai_compatible", "base_url": base_url}


@asynccontextmanager
async def vllm() -> AsyncIterator[Options]:
    async with chat_server(FakeBackend("behind", **TALE), "vllm") as base_url:
        yield {"kind": "vllm", "base_url": base_url}


@asynccontextmanager
async def localai() -> AsyncIterator[Options]:
    async with chat_server(FakeBackend("behind", **TALE), "localai") as base_url:
        yield {"kind": "localai", "base_url": base_url}


def llama_cpp(engine: str) -> Kind:
    @asynccontextmanager
    async def kind() -> AsyncIterator[Options]:
        model = str(models_dir() / "smollm2.gguf")
        yield {"kind": "llama_cpp", "engine": engine, "model": model, "context": CONTEXT, "parallel": SLOTS}

    return kind


KINDS = [
    pytest.param(fake, id="fake"),
    pytest.param(openai_compatible, id="openai_compatible"),
    pytest.param(vllm, id="vllm"),
    pytest.param(localai, id="localai"),
    pytest.param(llama_cpp("xllamacpp"), id="xllamacpp", marks=pytest.mark.model),
    pytest.param(
        llama_cpp("llama-cpp-python"),
        id="llama-cpp-python",
        marks=[pytest.mark.model, pytest.mark.needs("llama-cpp-python")],
    ),
]


LACKS = {
    "xllamacpp": frozenset({"tools", "images"}),  # the demo model's template has no place for tools
    "llama-cpp-python": frozenset({"tools", "images", "embeddings"}),
}


def lacks(options: Options) -> frozenset[str]:
    """What this kind cannot do, and must refuse."""
    return LACKS.get(options.get("engine", ""), frozenset())


@asynccontextmanager
async def built(options: Options) -> AsyncIterator[Backend]:
    """A started backend from its entry in a configuration."""
    transport = Transport()
    module = load(options["kind"])
    backend = module.build(msgspec.convert({"name": "under-test", **options}, module.Options), Parts(transport, Path()))
    await backend.start()
    try:
        yield backend
    finally:
        await backend.close()
        transport.close()
