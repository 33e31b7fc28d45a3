"""The table of the contract: each kind of backend, configured as a user would. A new kind is one entry here."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import msgspec
import pytest

from backends.base import Backend
from backends.fake import FakeBackend
from backends.http import Transport
from backends.registry import Parts, load
from tests.contract.chat_server import chat_server
from tests.models import models_dir
from tests.providers.anthropic import Anthropic
from tests.providers.azure_openai import AzureOpenAI
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock
from tests.providers.cohere import Cohere
from tests.providers.gemini import Gemini
from tests.providers.groq import Groq
from tests.providers.mistral import Mistral
from tests.providers.ollama import Ollama
from tests.providers.openai import OpenAI
from tests.providers.vertex import LOCATION, PROJECT, Vertex
from tests.real_servers import KEY, Name, real_server

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
async def groq() -> AsyncIterator[Options]:
    async with Groq(FakeBackend("behind", **TALE), keyed=True) as provider:
        options = {"kind": "openai_compatible", "preset": "groq", "base_url": provider.url}
        yield {**options, "name": "groq", "api_key": provider.key}


@asynccontextmanager
async def mistral() -> AsyncIterator[Options]:
    async with Mistral(FakeBackend("behind", **TALE), keyed=True) as provider:
        options = {"kind": "openai_compatible", "preset": "mistral", "base_url": provider.url}
        yield {**options, "name": "mistral", "api_key": provider.key}


@asynccontextmanager
async def anthropic() -> AsyncIterator[Options]:
    async with Anthropic(FakeBackend("behind", **TALE)) as provider:
        yield {"kind": "anthropic", "base_url": provider.url, "api_key": provider.key}


@asynccontextmanager
async def bedrock() -> AsyncIterator[Options]:
    async with Bedrock(FakeBackend("behind", **TALE)) as provider:
        keys = {"access_key_id": ACCESS, "secret_access_key": SECRET}
        yield {"kind": "bedrock", "base_url": provider.url, "region": REGION, **keys}


@asynccontextmanager
async def cohere() -> AsyncIterator[Options]:
    async with Cohere(FakeBackend("behind", **TALE)) as provider:
        yield {"kind": "cohere", "base_url": provider.url, "api_key": provider.key}


@asynccontextmanager
async def gemini() -> AsyncIterator[Options]:
    async with Gemini(FakeBackend("behind", **TALE)) as provider:
        yield {"kind": "gemini", "base_url": provider.url, "api_key": provider.key}


@asynccontextmanager
async def ollama() -> AsyncIterator[Options]:
    async with Ollama(FakeBackend("behind", **TALE)) as provider:
        yield {"kind": "ollama", "base_url": provider.url}


@asynccontextmanager
async def openai() -> AsyncIterator[Options]:
    async with OpenAI(FakeBackend("behind", **TALE), keyed=True) as provider:
        yield {"kind": "openai", "base_url": provider.url, "api_key": provider.key}


def openai_responses(*, sockets: bool) -> Kind:
    @asynccontextmanager
    async def kind() -> AsyncIterator[Options]:
        async with OpenAI(FakeBackend("behind", **TALE), keyed=True) as provider:
            provider.sockets = sockets
            yield {"kind": "openai", "base_url": provider.url, "api_key": provider.key, "upstream": "responses"}

    return kind


@asynccontextmanager
async def azure_openai() -> AsyncIterator[Options]:
    async with AzureOpenAI(FakeBackend("behind", **TALE), keyed=True) as provider:
        yield {"kind": "azure_openai", "base_url": provider.url, "api_key": provider.key}


@asynccontextmanager
async def vertex_gemini() -> AsyncIterator[Options]:
    async with Vertex(FakeBackend("behind", **TALE | {"models": ("gemini-fake",)})) as provider:
        with TemporaryDirectory() as folder:
            (file := Path(folder) / "account.json").write_bytes(provider.credentials())
            yield {**vertex(provider), "name": "vertex_gemini", "credentials_file": file}


@asynccontextmanager
async def vertex_claude() -> AsyncIterator[Options]:
    async with Vertex(FakeBackend("behind", **TALE | {"models": ("claude-fake",)})) as provider:
        yield {**vertex(provider), "name": "vertex_claude", "metadata_url": provider.root}


def vertex(provider: Vertex) -> Options:
    return {"kind": "vertex", "base_url": provider.url, "project": PROJECT, "location": LOCATION}


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


def real(name: Name) -> Kind:
    @asynccontextmanager
    async def kind() -> AsyncIterator[Options]:
        with real_server(name, CONTEXT, parallel=8) as server:
            yield {"kind": "openai_compatible", "name": f"real-{name}", "base_url": server.base_url, "api_key": KEY}

    return kind


KINDS = [
    pytest.param(fake, id="fake"),
    pytest.param(openai_compatible, id="openai_compatible"),
    pytest.param(groq, id="groq"),
    pytest.param(mistral, id="mistral"),
    pytest.param(anthropic, id="anthropic"),
    pytest.param(bedrock, id="bedrock"),
    pytest.param(cohere, id="cohere"),
    pytest.param(gemini, id="gemini"),
    pytest.param(ollama, id="ollama"),
    pytest.param(openai, id="openai"),
    pytest.param(openai_responses(sockets=True), id="openai-socket"),
    pytest.param(openai_responses(sockets=False), id="openai-responses"),
    pytest.param(azure_openai, id="azure_openai"),
    pytest.param(vertex_gemini, id="vertex_gemini"),
    pytest.param(vertex_claude, id="vertex_claude"),
    pytest.param(vllm, id="vllm"),
    pytest.param(localai, id="localai"),
    pytest.param(llama_cpp("xllamacpp"), id="xllamacpp", marks=pytest.mark.model),
    pytest.param(
        llama_cpp("llama-cpp-python"),
        id="llama-cpp-python",
        marks=[pytest.mark.model, pytest.mark.needs("llama-cpp-python")],
    ),
    pytest.param(real("llama.cpp"), id="llama.cpp-server", marks=pytest.mark.model),
    pytest.param(
        real("llama-cpp-python"),
        id="llama-cpp-python-server",
        marks=[pytest.mark.model, pytest.mark.slow, pytest.mark.needs("llama-cpp-python")],
    ),
]


LACKS = {  # by engine, name, or kind
    "anthropic": frozenset({"any_json", "completions", "embeddings", "logprobs"}),
    "bedrock": frozenset({"any_json", "completions", "context", "embeddings", "logprobs"}),
    "cohere": frozenset({"completions", "logprobs", "token_ids"}),
    "gemini": frozenset({"completions", "token_ids"}),
    "groq": frozenset({"completions", "embeddings", "logprobs", "numbers"}),
    "mistral": frozenset({"completions", "token_ids"}),
    "ollama": frozenset({"forced_tools", "token_ids"}),
    "vertex_gemini": frozenset({"completions", "context", "embeddings"}),
    "vertex_claude": frozenset({"any_json", "completions", "context", "embeddings", "logprobs"}),
    "xllamacpp": frozenset({"tools", "images"}),  # the demo model's template has no place for tools
    "llama-cpp-python": frozenset({"tools", "images", "embeddings"}),
    "real-llama.cpp": frozenset({"images", "embeddings"}),
    "real-llama-cpp-python": frozenset({"context", "usage"}),
}
IGNORES = {  # what a server neither does nor refuses; "models": it answers to any name
    "real-llama.cpp": frozenset({"tools", "models"}),
    "real-llama-cpp-python": frozenset({"tools", "models", "images", "json_schema", "embeddings", "overflow"}),
}


def lacks(options: Options) -> frozenset[str]:
    """What this kind cannot do, and must refuse."""
    return LACKS.get(known_as(options), frozenset())


def ignores(options: Options) -> frozenset[str]:
    """What a server of this kind cannot do, and does not say so."""
    return IGNORES.get(known_as(options), frozenset())


def known_as(options: Options) -> str:
    return options.get("engine", options.get("name", options["kind"]))


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
