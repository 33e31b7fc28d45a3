"""The fake Bedrock can be believed: AWS's own SDK signs for it, and understands all that it says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from backends.events import Citation, Event, Finished, ReasoningDelta, Signature, TextDelta, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}], "toolChoice": {"any": {}}}
TURNS = [{"role": "user", "content": [{"text": "Hello there"}]}]
ASK = {"modelId": "us.fake:0", "messages": TURNS, "inferenceConfig": {"maxTokens": 100}}
WORDS = "one two three four five six seven eight"


@pytest.fixture
async def provider() -> AsyncIterator[Bedrock]:
    async with Bedrock(FakeBackend("behind", text=WORDS, models=("us.fake:0", "b", "c"))) as provider:
        yield provider


async def called(provider: Bedrock, do: Callable[[Any], Any], service: str = "bedrock-runtime", **keys: Any) -> Any:
    """What `do` gets from a client; the SDK knows no asyncio."""
    ours = {"aws_access_key_id": ACCESS, "aws_secret_access_key": SECRET, "aws_session_token": None}
    config = Config(retries={"total_max_attempts": 1}, ignore_configured_endpoint_urls=True)

    def call() -> Any:
        place = {"endpoint_url": provider.url, "region_name": REGION, "config": config}
        with closing(boto3.client(service, **place, **(ours | keys))) as client:
            return do(client)

    return await asyncio.to_thread(call)


async def streamed(provider: Bedrock, **more: Any) -> list[dict[str, Any]]:
    """The events of a stream."""

    def read(client: Any) -> list[dict[str, Any]]:
        with closing(client.converse_stream(**{**ASK, **more})["stream"]) as stream:
            return list(stream)

    return await called(provider, read)


def deltas(events: list[dict[str, Any]], kind: str) -> list[Any]:
    found = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return [delta[kind] for delta in found if kind in delta]


async def test_text_and_usage(provider: Bedrock) -> None:
    events = await streamed(provider)
    assert "".join(deltas(events, "text")) == WORDS
    assert events[-2]["messageStop"]["stopReason"] == "end_turn"
    assert events[-1]["metadata"]["usage"] == {"inputTokens": 2, "outputTokens": 8, "totalTokens": 10}
    whole = await called(provider, lambda client: client.converse(**ASK))
    assert whole["output"]["message"]["content"] == [{"text": WORDS}]
    counted = {"modelId": "us.fake:0", "input": {"converse": {"messages": TURNS}}}
    assert (await called(provider, lambda client: client.count_tokens(**counted)))["inputTokens"] == 2


async def test_a_tool_is_called_and_answered(provider: Bedrock) -> None:
    events = await streamed(provider, toolConfig=TOOLS)
    [start] = [event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event]
    assert start["name"] == "weather"
    assert "".join(piece["input"] for piece in deltas(events, "toolUse")) == '{"city":"word"}'
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"
    whole = await called(provider, lambda client: client.converse(**ASK, toolConfig=TOOLS))
    message = whole["output"]["message"]
    assert message["content"][0]["toolUse"]["input"] == {"city": "word"}
    call_id = message["content"][0]["toolUse"]["toolUseId"]
    result = {"toolResult": {"toolUseId": call_id, "content": [{"text": "Sunny."}]}}
    turns = [*TURNS, message, {"role": "user", "content": [result]}]
    again = await streamed(provider, messages=turns, toolConfig={"tools": TOOLS["tools"]})
    assert "".join(deltas(again, "text")) == WORDS


async def test_reasoning_comes_with_its_signature_and_goes_back() -> None:
    script: list[list[Event]] = [
        [ReasoningDelta("let me "), ReasoningDelta("see"), Signature("bedrock", "c2lnbmVk")],
        [Signature("bedrock", "redacted.aGlkZGVu")],
        [TextDelta("It is so."), Citation(0, 9, "so it is", "https://example.com/", "Example")],
        [Finished("stop", Usage(20, 9, cached_tokens=8))],
    ]
    async with Bedrock(FakeBackend("behind", script=script)) as provider:
        events = await streamed(provider)
        first, second, signature, hidden = deltas(events, "reasoningContent")
        assert (first["text"] + second["text"], signature["signature"]) == ("let me see", "c2lnbmVk")
        assert hidden["redactedContent"] == b"hidden"
        [citation] = deltas(events, "citation")
        assert citation["location"]["web"]["url"] == "https://example.com/"
        assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 8
        thought = {"reasoningContent": {"reasoningText": {"text": "let me see", "signature": "c2lnbmVk"}}}
        blocks = [thought, {"reasoningContent": {"redactedContent": b"hidden"}}, {"text": "It is so."}]
        await streamed(provider, messages=[*TURNS, {"role": "assistant", "content": blocks}, *TURNS])


async def test_what_there_is(provider: Bedrock) -> None:
    listed = await called(provider, lambda control: control.list_foundation_models(byOutputModality="TEXT"), "bedrock")
    assert [model["modelId"] for model in listed["modelSummaries"]] == ["us.fake:0", "b", "c"]
    paged = lambda control: list(control.get_paginator("list_inference_profiles").paginate())  # noqa: E731
    pages = await called(provider, paged, "bedrock")
    profiles = [profile["inferenceProfileId"] for page in pages for profile in page["inferenceProfileSummaries"]]
    assert profiles == ["us.b", "us.c"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("rate_limited", retry_after=2), "ThrottlingException"),
        (Fault("spent"), "ServiceQuotaExceededException"),
        (Fault("overloaded"), "ServiceUnavailableException"),
        (Fault("server_error"), "InternalServerException"),
        (Fault("context_overflow"), "ValidationException"),
        (Fault("content_filter"), "ValidationException"),
        (Fault("prefill_refused"), "ValidationException"),
        (Fault("bad_key"), "UnrecognizedClientException"),
        (Fault("unknown_model"), "ValidationException"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(provider: Bedrock, fault: Fault, code: str) -> None:
    provider.faults.append(fault)
    with pytest.raises(ClientError) as caught:
        await streamed(provider)
    assert caught.value.response["Error"]["Code"] == code
    assert await streamed(provider), "a fault is for one request"


async def test_who_signed(provider: Bedrock) -> None:
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        await called(provider, lambda client: client.converse(**ASK), aws_secret_access_key="wrong")
    provider.token = "a-session"
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        await called(provider, lambda client: client.converse(**ASK))
    assert await called(provider, lambda client: client.converse(**ASK), aws_session_token="a-session")


@pytest.mark.parametrize("fault", [Fault("error_in_200"), Fault("error_in_stream", at=3)], ids=lambda fault: fault.name)
async def test_an_exception_inside_the_stream(provider: Bedrock, fault: Fault) -> None:
    provider.faults.append(fault)
    with pytest.raises(EventStreamError, match="serviceUnavailableException"):
        await streamed(provider)


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": [{"role": "user", "content": [{"text": " "}]}]},
        {"messages": [{"role": "assistant", "content": [{"text": "Hi"}]}]},
        {"messages": [*TURNS, *TURNS]},
        {"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": []}}]}]},
    ],
)
async def test_what_bedrock_refuses_is_refused(provider: Bedrock, wrong: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        await streamed(provider, **wrong)
