"""The vertex backend before a server of that API: where each model is asked, by which account, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backends.errors import AuthenticationFailed, EngineUnavailable, ModelNotFound, Overloaded, RateLimited, Scope
from backends.events import Event, Finished, Usage
from backends.fake import FakeBackend
from backends.http import Transport
from backends.request import Request, said
from backends.vertex import Options, Vertex, url_of
from tests.providers import vertex
from tests.providers.base import Fault
from tests.providers.vertex import LOCATION, PROJECT

GEMINI, CLAUDE = "gemini-3.5-flash", "claude-sonnet-4-5@20250929"
WORDS = "one two three four five six seven eight"
ASK = Request(GEMINI, (said("user", "Hello there"),), 100)
ANSWERED = Finished("stop", Usage(2, 8))


@pytest.fixture
async def provider() -> AsyncIterator[vertex.Vertex]:
    async with vertex.Vertex(FakeBackend("behind", text=WORDS, models=(GEMINI, CLAUDE))) as provider:
        yield provider


@pytest.fixture
async def backend(provider: vertex.Vertex, transport: Transport, tmp_path: Path) -> AsyncIterator[Vertex]:
    (file := tmp_path / "account.json").write_bytes(provider.credentials())
    backend = Vertex(options(provider, credentials_file=file), transport)
    await backend.start()
    yield backend
    await backend.close()


def options(provider: vertex.Vertex, **more: Any) -> Options:
    return Options(**{"name": "v", "base_url": provider.url, "project": PROJECT, "location": LOCATION} | more)


async def told(backend: Vertex, request: Request = ASK) -> list[Event]:
    async with backend.stream(request) as batches:
        return [event async for batch in batches for event in batch]


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (GEMINI, f"google/models/{GEMINI}:streamGenerateContent?alt=sse"),
        (f"google/{GEMINI}", f"google/models/{GEMINI}:streamGenerateContent?alt=sse"),
        (CLAUDE, f"anthropic/models/{CLAUDE}:streamRawPredict"),
        (f"anthropic/{CLAUDE}", f"anthropic/models/{CLAUDE}:streamRawPredict"),
    ],
)
async def test_each_model_is_asked_at_its_publisher(
    backend: Vertex, provider: vertex.Vertex, model: str, path: str
) -> None:
    assert (await told(backend, replace(ASK, model=model)))[-1] == ANSWERED
    [seen] = provider.seen
    assert seen.path == f"/v1/projects/{PROJECT}/locations/{LOCATION}/publishers/{path}"
    assert seen.headers["Authorization"] == f"Bearer {provider.tokens[0]}"
    assert "model" not in seen.body
    assert await backend.count_tokens(replace(ASK, model=model)) == 2


async def test_a_publisher_whose_api_is_not_spoken(backend: Vertex) -> None:
    with pytest.raises(ModelNotFound):
        await told(backend, replace(ASK, model="meta/llama-4"))


async def test_what_answers_is_listed_from_both_publishers(backend: Vertex) -> None:
    assert [model.id for model in await backend.models()] == [GEMINI, CLAUDE]


async def test_a_refused_token_is_renewed_for_the_next_attempt(
    backend: Vertex, provider: vertex.Vertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(backend)
    provider.given()  # the project takes only the newest
    with pytest.raises(AuthenticationFailed) as caught:
        await told(backend)
    assert not caught.value.other_keys, "it was new: another one would be refused as well"
    monkeypatch.setattr("backends.google_token.FRESH", 0.0)
    with pytest.raises(AuthenticationFailed) as caught:
        await told(backend)
    assert caught.value.other_keys, "the dispatcher asks once more"
    assert (await told(backend))[-1] == ANSWERED
    assert len(provider.asked) == 2


async def test_express_mode_has_a_key_and_no_project(provider: vertex.Vertex, transport: Transport) -> None:
    backend = Vertex(options(provider, project=None, api_key=vertex.Vertex.key), transport)
    await backend.start()
    assert (await told(backend))[-1] == ANSWERED
    assert provider.seen[0].path == f"/v1/publishers/google/models/{GEMINI}:streamGenerateContent?alt=sse"
    assert provider.asked == []


async def test_refusals_of_google_and_of_claude(backend: Vertex, provider: vertex.Vertex) -> None:
    provider.faults += [Fault("rate_limited", retry_after=2), Fault("overloaded")]
    with pytest.raises(RateLimited) as caught:
        await told(backend)
    assert (caught.value.retry_after, caught.value.scope) == (2.0, Scope.MODEL)
    with pytest.raises(Overloaded):
        await told(backend, replace(ASK, model=CLAUDE))
    own = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert isinstance(backend.failure(529, {}, own, CLAUDE), Overloaded)


async def test_credentials_that_cannot_be_used_keep_only_this_backend_down(
    provider: vertex.Vertex, transport: Transport, tmp_path: Path
) -> None:
    file = tmp_path / "account.json"
    backend = Vertex(options(provider, credentials_file=file), transport)
    await backend.start()
    for data, words in ((None, "cannot be read"), (b"{}", "of a kind that is not known")):
        if data is not None:
            file.write_bytes(data)
        with pytest.raises(EngineUnavailable, match=words):
            await told(backend)
    file.write_bytes(provider.credentials())
    assert (await told(backend))[-1] == ANSWERED
    await backend.close()


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("global", "https://aiplatform.googleapis.com/v1"),
        ("us", "https://aiplatform.us.rep.googleapis.com/v1"),
        ("europe-west1", "https://europe-west1-aiplatform.googleapis.com/v1"),
    ],
)
def test_each_location_has_its_host(location: str, url: str) -> None:
    assert url_of(Options(name="v", project=PROJECT, location=location)) == url
    assert url_of(Options(name="v", project=PROJECT, location=location, base_url="http://p/v1")) == "http://p/v1"


@pytest.mark.parametrize("wrong", [{}, {"project": "a/b"}, {"project": PROJECT, "location": "x.evil.example/"}])
def test_options_that_make_no_sense(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Options(name="v", **wrong)
