"""What a model can do is shown where models are listed, and decides who is asked."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import structlog

from tests.gateway import Client, Gateway, client, connected, gateway
from tests.unit.proxy.wire.responses_requests import PIXEL

CONFIG = """
[[backends]]
name = "blind"
kind = "fake"
text = "one two three four"

[[backends]]
name = "able"
kind = "fake"
context = 1000

[models.both]
targets = ["blind/fake", "able/fake"]

[capabilities."blind/fake"]
context = 4096
max_output = 2
images = false
tools = true
"""
SEEN: Any = [
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
        ],
    }
]


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(CONFIG) as started:
        yield started


async def created(socket: Client, **fields: Any) -> list[dict[str, Any]]:
    await socket.send({"type": "response.create", "input": "hi", **fields})
    return await socket.until()


async def test_the_list_of_models_says_what_is_known(running: Gateway) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{running.base_url}/models") as response:
            listed = {model["id"]: model for model in (await response.json())["data"]}
    blind, able = listed["blind/fake"], listed["able/fake"]
    assert (blind["context_length"], blind["max_output_tokens"]) == (4096, 2)
    assert blind["capabilities"] == {"tools": True, "images": False}
    assert able["context_length"] == 1000
    assert not {"max_output_tokens", "capabilities"} & able.keys(), "what is not known is not there"


async def test_a_target_that_cannot_is_passed_by_and_those_who_ask_hear_why(running: Gateway) -> None:
    reason = {"model": "fake", "backend": "blind", "reason": "does not support images"}
    with structlog.testing.capture_logs() as lines:
        async with client(running) as socket:
            await socket.send({"type": "response.create", "model": "both", "input": SEEN})
            plain = await socket.until()
    assert plain[-1]["type"] == "response.completed"
    assert not any(event["type"].startswith("streamlane:") for event in plain)
    [line] = [line for line in lines if line["event"] == "passed_over"]
    assert {name: line[name] for name in reason} == reason

    async with connected(running.base_url, "?sl_ext=1") as socket:
        events = await created(socket, model="both", input=SEEN)
        [route] = [event for event in events if event["type"] == "streamlane:route"]
        assert (route["backend"], route["passed_over"]) == ("able", [reason])
        events = await created(socket, model="both")
        [route] = [event for event in events if event["type"] == "streamlane:route"]
        assert route["backend"] == "blind"
        assert "passed_over" not in route


async def test_when_no_target_is_left_the_feature_and_the_field_are_named(running: Gateway) -> None:
    async with client(running) as socket:
        events = await created(socket, model="blind/fake", input=SEEN)
    error = events[-1]["response"]["error"]
    assert events[-1]["type"] == "response.failed"
    assert error["code"] == "unsupported_feature"
    assert "images" in error["message"]
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    body = {"model": "blind/fake", "messages": [{"role": "user", "content": content}]}
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{running.base_url}/chat/completions", json=body) as response:
            refused = (await response.json())["error"]
    assert (response.status, refused["code"], refused["param"]) == (400, "unsupported_feature", "input")


async def test_a_guide_that_no_backend_has_is_refused_by_its_name(running: Gateway) -> None:
    async with client(running) as socket:
        events = await created(socket, model="both", guided_choice=["yes", "no"])
    assert "'guided_choice'" in events[-1]["response"]["error"]["message"]


async def test_an_answer_is_cut_to_what_the_model_can_give(running: Gateway) -> None:
    async with client(running) as socket:
        [*_, end] = await created(socket, model="blind/fake", max_output_tokens=100)
    assert end["type"] == "response.incomplete"
    assert end["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert end["response"]["usage"]["output_tokens"] == 2
