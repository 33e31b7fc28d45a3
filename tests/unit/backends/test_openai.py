"""OpenAI and Azure OpenAI over HTTP: whom they are asked as, what they refuse, and what their answers mean."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from backends.azure_openai import AzureOpenAI
from backends.azure_openai import Options as AzureOptions
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.events import Event, Finished, TextDelta, Usage
from backends.fake import FakeBackend
from backends.http import Transport
from backends.openai import OpenAI, Options
from backends.request import EmbeddingRequest, Prompt, Request, Sampling, said
from tests.providers import azure_openai as azure
from tests.providers import openai as provider
from tests.providers.base import Fault
from tests.upstream import Upstream, plain

ASK = Request("fake", (said("user", "Hello"),), 100)
WORDS = "one two three four five six seven eight"
MODELS = ("fake", "o4-mini", "gpt-4.1")
END = Finished("stop", Usage(1, 8))


@pytest.fixture
async def server() -> AsyncIterator[provider.OpenAI]:
    async with provider.OpenAI(FakeBackend("behind", text=WORDS, models=MODELS), keyed=True) as server:
        yield server


@pytest.fixture
async def resource() -> AsyncIterator[azure.AzureOpenAI]:
    async with azure.AzureOpenAI(FakeBackend("behind", text=WORDS, models=MODELS), keyed=True) as server:
        yield server


def openai(server: provider.OpenAI, transport: Transport, **more: Any) -> OpenAI:
    return OpenAI(Options(name="b", base_url=server.url, **({"api_key": server.key} | more)), transport)


def azured(server: azure.AzureOpenAI, transport: Transport, path: str = "", **more: Any) -> AzureOpenAI:
    options = {"name": "b", "base_url": server.url + path, "api_key": server.key, **more}
    return AzureOpenAI(msgspec.convert(options, AzureOptions), transport)


@contextmanager
def refused(kind: type[BackendError]) -> Iterator[list[BackendError]]:
    found: list[BackendError] = []
    with pytest.raises(kind) as caught:
        yield found
    found.append(caught.value)
    assert type(caught.value) is kind


async def told(backend: OpenAI | AzureOpenAI, request: Request = ASK) -> list[Event]:
    async with backend.stream(request) as batches:
        return [event async for batch in batches for event in batch]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_who_pays_is_said(server: provider.OpenAI, transport: Transport) -> None:
    assert text(await told(openai(server, transport, organization="org-1", project="proj_1"))) == WORDS
    headers = {name.lower(): value for name, value in server.seen[0].headers.items()}
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj_1")
    assert headers["authorization"] == f"Bearer {server.key}"
    with pytest.raises(ValueError, match="visible ASCII"):
        Options(name="b", organization="org 1")


@pytest.mark.parametrize("upstream", ["chat", "responses"])
async def test_a_model_that_reasons_is_asked_nothing_that_it_refuses(
    server: provider.OpenAI, transport: Transport, upstream: str
) -> None:
    server.sockets = False
    backend = openai(server, transport, upstream=upstream)
    sampling = Sampling(0.5, 0.9, 40, 0.1, 0.1, 0.1, 7)
    for model in MODELS:
        assert text(await told(backend, replace(ASK, model=model, sampling=sampling, reasoning_effort="low"))) == WORDS
    with refused(UnsupportedFeature):
        await told(backend, replace(ASK, model="o4-mini", stop=("x",)))


@pytest.mark.parametrize("upstream", ["chat", "responses"])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("rate_limited", retry_after=2), RateLimited),
        (Fault("spent"), QuotaExhausted),
        (Fault("overloaded"), Overloaded),
        (Fault("server_error"), ServerFailed),
        (Fault("context_overflow"), ContextLengthExceeded),
        (Fault("content_filter"), ContentFiltered),
        (Fault("bad_key"), AuthenticationFailed),
        (Fault("unknown_model"), ModelNotFound),
        (Fault("error_in_200"), ServerFailed),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_refusals(
    server: provider.OpenAI, transport: Transport, fault: Fault, expected: type[BackendError], upstream: str
) -> None:
    server.sockets = False
    backend = openai(server, transport, upstream=upstream)
    server.faults.append(fault)
    with refused(expected) as found:
        await told(backend)
    assert found[0].retry_after == fault.retry_after
    assert expected is not QuotaExhausted or found[0].scope is Scope.ACCOUNT


async def test_embeddings_and_raw_prompts(server: provider.OpenAI, transport: Transport) -> None:
    backend = openai(server, transport, upstream="responses")
    found = await backend.embed(EmbeddingRequest("fake", ("a cat",), 4))
    assert len(found.vectors[0]) == 4
    assert text(await told(backend, Request("fake", (), 2, prompt=Prompt("Once")))) == "one two "


# Azure.


async def test_a_deployment_is_a_path(resource: azure.AzureOpenAI, transport: Transport) -> None:
    *words, end = await told(azured(resource, transport))
    assert (text(words), end) == (WORDS, END)
    backend = azured(resource, transport, "/openai", api_version="2025-04-01-preview")
    assert text(await told(backend)) == WORDS
    assert text(await told(azured(resource, transport, "/openai/v1"))) == WORDS
    assert text(await told(azured(resource, transport, "/openai/v1/", api_version="preview"))) == WORDS
    assert [seen.path for seen in resource.seen] == [
        "/openai/deployments/fake/chat/completions?api-version=2024-10-21",
        "/openai/deployments/fake/chat/completions?api-version=2025-04-01-preview",
        "/openai/v1/chat/completions",
        "/openai/v1/chat/completions?api-version=preview",
    ]
    assert {name.lower() for name in resource.seen[0].headers} & {"api-key", "authorization"} == {"api-key"}


async def test_a_token_of_entra_is_sent_as_one(resource: azure.AzureOpenAI, transport: Transport) -> None:
    backend = azured(resource, transport, bearer=True, api_key=resource.token)
    assert text(await told(backend)) == WORDS
    assert "api-key" not in {name.lower() for name in resource.seen[0].headers}


async def test_the_model_behind_a_deployment_decides_what_is_sent(
    resource: azure.AzureOpenAI, transport: Transport
) -> None:
    resource.behind._models = [
        dataclasses.replace(resource.behind._models[0], id=name) for name in ("old", "wise", "new")
    ]
    deployments = {"old": "gpt-4o", "wise": "o4-mini"}
    backend = azured(resource, transport, deployments=deployments)
    assert [model.id for model in await backend.models()] == ["old", "wise"]
    for name in ("old", "wise", "new"):
        await told(backend, replace(ASK, model=name, sampling=Sampling(0.5)))
    old, wise, new = (seen.body for seen in resource.seen)
    assert {"max_tokens", "temperature"} <= set(old)
    assert {"max_completion_tokens"} == {"max_completion_tokens", "max_tokens", "temperature"} & set(wise)
    assert {"max_completion_tokens", "temperature"} <= set(new)


async def test_a_wrong_key_is_noticed_though_the_deployments_are_named(
    resource: azure.AzureOpenAI, transport: Transport
) -> None:
    named = {"deployments": {"chat": "gpt-4.1"}}
    for path in ("", "/openai/v1"):
        backend = azured(resource, transport, path, api_key="wrong", **named)
        with refused(AuthenticationFailed):
            await backend.models()
        assert backend.key_counts == (0, 1)
        for more in (
            {"api_keys": ["wrong"]},
            {"api_key": None, "key_source": "caller"},
            {"api_key": None, "key_source": "hybrid"},
        ):
            found = await azured(resource, transport, path, **more, **named).models()
            assert [model.id for model in found] == ["chat"]


async def test_deployments_behind_something_that_has_no_list(transport: Transport) -> None:
    async with Upstream(default=lambda _: plain(404, {})) as upstream:
        options = AzureOptions(name="b", base_url=upstream.origin, api_key="any", deployments={"chat": "gpt-4.1"})
        assert [model.id for model in await AzureOpenAI(options, transport).models()] == ["chat"]


async def test_models_that_cannot_be_asked_are_not_listed(resource: azure.AzureOpenAI, transport: Transport) -> None:
    for path in ("", "/openai/v1"):
        assert [model.id for model in await azured(resource, transport, path).models()] == [*MODELS]


async def test_an_answer_that_the_filter_cut(resource: azure.AzureOpenAI, transport: Transport) -> None:
    resource.behind.script = [[TextDelta("Well"), Finished("content_filter", Usage(1, 1))]]
    assert await told(azured(resource, transport)) == [TextDelta("Well"), Finished("content_filter", Usage(1, 1))]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("rate_limited", retry_after=2), RateLimited),
        (Fault("content_filter"), ContentFiltered),
        (Fault("bad_key"), AuthenticationFailed),
        (Fault("unknown_model"), ModelNotFound),
        (Fault("context_overflow"), ContextLengthExceeded),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_azures_refusals(
    resource: azure.AzureOpenAI, transport: Transport, fault: Fault, expected: type[BackendError]
) -> None:
    resource.faults.append(fault)
    with refused(expected) as found:
        await told(azured(resource, transport))
    assert found[0].retry_after == fault.retry_after


async def test_an_embedding_of_a_deployment(resource: azure.AzureOpenAI, transport: Transport) -> None:
    found = await azured(resource, transport).embed(EmbeddingRequest("fake", ("a cat",)))
    assert len(found.vectors[0]) == 8
    with refused(ModelNotFound):
        await azured(resource, transport).embed(EmbeddingRequest("other", ("a cat",)))


def test_an_api_version_that_is_none() -> None:
    with pytest.raises(ValueError, match="expected an api_version"):
        AzureOptions(name="b", base_url="http://x", api_version="1&key=2")
