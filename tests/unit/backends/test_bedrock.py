"""Amazon Bedrock as a backend: who signs, what it lists, and what its faults mean."""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import bedrock
from backends.base import Model, TokenCounter
from backends.bedrock import Options, build
from backends.bedrock_decode import Decoder
from backends.capabilities import Capabilities
from backends.chat_decode import Decoder as ChatDecoder
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    EngineUnavailable,
    ModelNotFound,
    Overloaded,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    StreamBroken,
    UnsupportedFeature,
)
from backends.event_stream import EventStreamDecoder
from backends.events import Event, Finished, TextDelta, Usage
from backends.fake import FakeBackend
from backends.http import Transport
from backends.json import dumps
from backends.registry import Parts
from backends.request import Request, said
from backends.sse import SseDecoder
from tests.providers.base import Fault
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock
from tests.providers.bedrock import said as framed
from tests.upstream import Upstream

WORDS = "one two three four five six seven eight"
MODEL = "arn:aws:bedrock:us-east-1:1:inference-profile/us.fake:0"
ASK = Request(MODEL, (said("user", "Hello there"),), 100)
SIGNED = {"access_key_id": ACCESS, "secret_access_key": SECRET}
ABLE = Capabilities(images=True, audio=False, logprobs=False, completions=False, embeddings=False)
AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of whoever runs the tests."""
    for name in AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
async def provider() -> AsyncIterator[Bedrock]:
    async with Bedrock(FakeBackend("behind", text=WORDS, models=(MODEL, "b", "c"), context=512)) as provider:
        yield provider


def backend(provider: Bedrock, transport: Transport, **options: Any) -> bedrock.Bedrock:
    place = {"name": "b", "base_url": provider.url, "region": REGION}
    return build(Options(**(place | options)), Parts(transport, Path()))


async def told(backend: bedrock.Bedrock) -> list[Event]:
    async with backend.stream(ASK) as batches:
        return [event async for batch in batches for event in batch]


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# Where it is.


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_place_follows_from_the_region(region: str, url: str) -> None:
    options = msgspec.convert({"kind": "bedrock", "name": "b", "region": region}, Options)
    assert options.base_url == url


@pytest.mark.parametrize(
    "wrong",
    [{"region": "the moon"}, {"access_key_id": "A"}, {**SIGNED, "secret_access_key": "a b"}, {"base_url": "ftp://x"}],
)
def test_options_that_are_wrong(wrong: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert({"kind": "bedrock", "name": "b", **wrong}, Options)
    assert "a b" not in str(caught.value)
    assert SECRET not in repr(Options(name="b", region=REGION, **SIGNED))


# Who asks.


async def test_a_key_of_the_configuration_signs(provider: Bedrock, transport: Transport) -> None:
    asked = backend(provider, transport, **SIGNED)
    *content, end = await told(asked)
    assert text(content) == WORDS
    assert end == Finished("stop", Usage(2, 8))
    assert isinstance(asked, TokenCounter)
    assert await asked.count_tokens(ASK) == 2
    assert SECRET not in str(provider.seen[0].headers)


async def test_a_borrowed_key_comes_with_its_token(provider: Bedrock, transport: Transport) -> None:
    provider.token = "a-session"
    assert text(await told(backend(provider, transport, **SIGNED, session_token="a-session"))) == WORDS
    with pytest.raises(AuthenticationFailed):
        await told(backend(provider, transport, **SIGNED))


async def test_an_api_key_needs_no_signature(
    provider: Bedrock, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)  # as if botocore were not installed
    asked = backend(provider, transport, api_key=Bedrock.key)
    assert text(await told(asked)) == WORDS
    with pytest.raises(EngineUnavailable, match=r"pip install 'streamlane\[bedrock\]'"):
        backend(provider, transport, **SIGNED)


async def test_the_environment_and_a_profile(
    provider: Bedrock, transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = f"[ours]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    (tmp_path / "credentials").write_text(profile)
    assert text(await told(backend(provider, transport, profile="ours"))) == WORDS
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert text(await told(backend(provider, transport))) == WORDS


async def test_a_credential_that_expires_is_renewed(provider: Bedrock, transport: Transport, tmp_path: Path) -> None:
    """botocore asks a program for it: here one that gives it for a minute only, and counts."""
    program = tmp_path / "borrow.py"
    counter = tmp_path / "asked"
    program.write_text(
        "import datetime, json, pathlib\n"
        f"asked = pathlib.Path({str(counter)!r})\n"
        "asked.write_text((asked.read_text() if asked.exists() else '') + '.')\n"
        "until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)\n"
        f"print(json.dumps({{'Version': 1, 'AccessKeyId': {ACCESS!r}, 'SecretAccessKey': {SECRET!r},\n"
        "                  'SessionToken': 't', 'Expiration': until.isoformat()}))\n"
    )
    (tmp_path / "config").write_text(f"[profile lent]\ncredential_process = {sys.executable} {program}\n")
    provider.token = "t"
    asked = backend(provider, transport, profile="lent")
    assert text(await told(asked)) == WORDS
    before = len(counter.read_text())
    assert text(await told(asked)) == WORDS
    assert len(counter.read_text()) > before


async def test_without_credentials_it_says_what_to_do(provider: Bedrock, transport: Transport) -> None:
    with pytest.raises(AuthenticationFailed, match="The operator must check") as caught:
        await told(backend(provider, transport))
    assert "No AWS credentials were found. Set" in caught.value.reason
    assert "AWS_ACCESS_KEY_ID" not in str(caught.value), "a client has nothing to do with that"
    with pytest.raises(AuthenticationFailed) as caught:
        await told(backend(provider, transport, profile="nobody"))
    assert "ProfileNotFound" in caught.value.reason


@pytest.mark.parametrize("wrong", [{**SIGNED, "secret_access_key": "wrong"}, {"api_key": "wrong"}])
async def test_a_wrong_key_is_told(provider: Bedrock, transport: Transport, wrong: dict[str, str]) -> None:
    asked = backend(provider, transport, **wrong)
    for ask in (asked.models, lambda: told(asked), lambda: asked.count_tokens(ASK)):
        with pytest.raises(AuthenticationFailed):
            await ask()


# What it serves, and what goes wrong.


async def test_models_and_the_profiles_of_those_that_need_one(provider: Bedrock, transport: Transport) -> None:
    found = await backend(provider, transport, **SIGNED).models()
    assert found == [Model(name, None, ABLE) for name in (MODEL, "us.b", "us.c")]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("rate_limited", retry_after=2), RateLimited),
        (Fault("overloaded"), Overloaded),
        (Fault("server_error"), ServerFailed),
        (Fault("context_overflow"), ContextLengthExceeded),
        (Fault("content_filter"), ContentFiltered),
        (Fault("prefill_refused"), UnsupportedFeature),
        (Fault("bad_key"), AuthenticationFailed),
        (Fault("unknown_model"), ModelNotFound),
        (Fault("spent"), QuotaExhausted),
        (Fault("reset_after_headers"), StreamBroken),
        (Fault("cut", at=3), StreamBroken),
        (Fault("bad_chunk", at=3), ProtocolViolation),
        (Fault("half_json"), StreamBroken),
        (Fault("error_in_200"), Overloaded),
        (Fault("error_in_stream", at=3), Overloaded),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_fault_is_what_it_means(
    provider: Bedrock, transport: Transport, fault: Fault, error: type[BackendError]
) -> None:
    provider.faults.append(fault)
    with pytest.raises(error) as caught:
        await told(backend(provider, transport, **SIGNED))
    assert caught.value.retry_after == fault.retry_after


# What it says that is in no recording.


@pytest.mark.parametrize(
    "unknown",
    [
        b'{"aNewEvent":{"text":5}}',
        b'{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"aNewDelta":{}}}}',
        b'{"contentBlockStart":{"contentBlockIndex":0,"start":{"image":{}}}}',
        b'{"metadata":{"usage":{}}}',
    ],
)
def test_what_is_new_to_us_says_nothing(unknown: bytes) -> None:
    decoder = Decoder()
    assert decoder.feed(unknown) == []
    decoder.feed(b'{"messageStop":{"stopReason":"a new reason"}}')
    assert decoder.end() == [Finished("stop")]


@pytest.mark.parametrize("name", [7, None, ["a"]])
async def test_a_list_of_models_that_is_none(transport: Transport, name: Any) -> None:
    summary = {"modelArn": "a", "modelId": name, "responseStreamingSupported": True, "inputModalities": ["TEXT"]}
    body = dumps({"modelSummaries": [summary | {"inferenceTypesSupported": ["ON_DEMAND"]}]})
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with Upstream([head, body]) as upstream:
        listing = build(
            Options(name="b", region=REGION, base_url=upstream.origin, api_key="bedrock-key"), Parts(transport, Path())
        )
        with pytest.raises(ProtocolViolation, match="list of models"):
            await listing.models()


@pytest.mark.parametrize("broken", [b"{not json", b"[]", b'{"contentBlockDelta":{"delta":{"text":5}}}'])
def test_what_breaks_the_protocol(broken: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder().feed(broken)


def test_reading_a_token_costs_little_more_than_from_chat_completions() -> None:
    """Framing and decoder together; AWS's own reader alone would take four times as much."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    theirs, chat = [], []
    for i in range(2000):
        delta = {"content": f" word{i}"}
        theirs.append(framed("contentBlockDelta", contentBlockIndex=0, delta={"text": f" word{i}"}))
        chunk = dumps(common | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        chat.append(b"data: " + chunk + b"\n\n")

    def best(framing: type[Any], decode: type[Any], pieces: list[bytes]) -> float:
        found = []
        for _ in range(7):
            cut, decoder = framing(), decode()
            start = time.process_time()
            for piece in pieces:
                for message in cut.feed(piece):
                    decoder.feed(message)
            found.append(time.process_time() - start)
        return min(found)

    limit = 2.0  # 1.3 when nothing else runs
    costs = ((best(EventStreamDecoder, Decoder, theirs), best(SseDecoder, ChatDecoder, chat)) for _ in range(3))
    assert any(ours <= limit * others for ours, others in costs)
