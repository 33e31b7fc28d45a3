"""Google's access tokens: where they come from, that they are kept, and renewed once at a time before they run out."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from backends.errors import AuthenticationFailed, EngineUnavailable, StreamBroken
from backends.fake import FakeBackend
from backends.google_credentials import CredentialsUnusable, credentials, token, token_request
from backends.google_token import EARLY, FRESH, Tokens
from backends.http import Transport
from backends.json import dumps, loads
from tests.providers.vertex import Vertex

USER = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "again"}
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def provider() -> AsyncIterator[Vertex]:
    async with Vertex(FakeBackend("behind")) as provider:
        yield provider


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(provider: Vertex, transport: Transport, clock: Clock) -> Tokens:
    return Tokens(transport, credentials(provider.credentials()), clock=clock)


async def test_a_service_account_signs_for_its_token(tokens: Tokens, provider: Vertex) -> None:
    assert await tokens.get() == provider.tokens[0]
    assert provider.asked == [JWT]


async def test_a_persons_file_of_gcloud(provider: Vertex, transport: Transport) -> None:
    of = credentials(dumps(USER | {"token_uri": f"{provider.root}/token", "quota_project_id": "p"}))
    assert await Tokens(transport, of).get() == provider.tokens[0]
    assert (provider.asked, of.quota_project_id) == (["refresh_token"], "p")


async def test_the_account_of_a_machine(provider: Vertex, transport: Transport) -> None:
    assert await Tokens(transport, None, provider.root).get() == provider.tokens[0]
    assert provider.asked == ["metadata"]


async def test_many_at_once_ask_once_and_the_token_is_kept(tokens: Tokens, provider: Vertex, clock: Clock) -> None:
    assert len({*await asyncio.gather(*(tokens.get() for _ in range(20)))}) == 1
    clock.now += provider.lasts - EARLY - 1
    assert await tokens.get() == provider.tokens[0]
    assert provider.asked == [JWT]


async def test_nobody_waits_while_the_old_one_is_good(tokens: Tokens, provider: Vertex, clock: Clock) -> None:
    old = await tokens.get()
    clock.now += provider.lasts - EARLY + 1
    assert [await tokens.get() for _ in range(3)] == [old] * 3
    while await tokens.get() == old:
        await asyncio.sleep(0)
    assert await tokens.get() == provider.tokens[1]
    assert len(provider.asked) == 2
    clock.now += provider.lasts + 1
    assert await tokens.get() == provider.tokens[2], "the old one is no good, so it is waited for"


async def test_a_token_that_was_refused_is_forgotten_unless_it_is_new(
    tokens: Tokens, provider: Vertex, clock: Clock
) -> None:
    assert not tokens.refused(), "there is none yet"
    await tokens.get()
    assert not tokens.refused(), "another one would be refused as well"
    clock.now += FRESH + 1
    assert tokens.refused()
    assert await tokens.get() == provider.tokens[1]


async def test_who_leaves_does_not_end_it_for_the_others(tokens: Tokens, provider: Vertex) -> None:
    impatient = asyncio.create_task(tokens.get())
    patient = asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == provider.tokens[0]
    assert provider.asked == [JWT]


async def test_a_refused_account_is_asked_for_again_with_the_next_call(
    tokens: Tokens, provider: Vertex, transport: Transport
) -> None:
    account = loads(provider.credentials()) | {"private_key_id": "deleted"}
    broken = Tokens(transport, credentials(dumps(account)))
    for _ in range(2):
        with pytest.raises(AuthenticationFailed):
            await broken.get()
    assert provider.asked == [JWT, JWT]


async def test_a_machine_without_an_account_is_told_what_to_do(transport: Transport) -> None:
    with pytest.raises(EngineUnavailable, match="Set credentials_file"):
        await Tokens(transport, None, "http://127.0.0.1:1").get()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not json", "holds no JSON"),
        (b'{"type":"external_account"}', "of a kind that is not known"),
        (b"[]", "holds no JSON"),
        (b'{"type":"service_account"}', "not whole"),
    ],
)
def test_a_file_that_is_no_credentials(data: bytes, words: str) -> None:
    with pytest.raises(CredentialsUnusable, match=words):
        credentials(data)


def test_a_key_that_is_none(provider: Vertex) -> None:
    account = credentials(dumps(loads(provider.credentials()) | {"private_key": "-----BEGIN PRIVATE KEY-----"}))
    with pytest.raises(CredentialsUnusable, match="no RSA key"):
        token_request(account, 0)
    assert "PRIVATE" not in repr(account)


def test_without_the_extra_it_says_how_to_get_it(provider: Vertex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    with pytest.raises(CredentialsUnusable, match=r'pip install "streamlane\[vertex\]"'):
        token_request(credentials(provider.credentials()), 0)
    assert token_request(credentials(dumps(USER)), 0), "a person's file needs none"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"access_token":"","expires_in":5}', b'{"access_token":"a","expires_in":0}']
)
def test_an_answer_without_a_token(body: bytes) -> None:
    assert token(body) is None


async def test_who_waits_for_a_token_when_it_is_closed_is_not_cancelled(tokens: Tokens) -> None:
    waiting = asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    await tokens.close()
    with pytest.raises(StreamBroken):
        await waiting


def test_a_token_that_no_header_can_hold_is_none() -> None:
    assert token(dumps({"access_token": "a\r\nx: y", "expires_in": 3600})) is None
