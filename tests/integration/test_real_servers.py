"""Servers that others wrote behind the gateway: llama.cpp's own, and llama-cpp-python's own."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from proxy.app import Gateway
from tests.gateway import client, gateway, text_of
from tests.real_servers import KEY, Server, real_server

ENDLESS = "la " * 30  # the small model sings on until it is stopped
TOKENS = 1500  # take 40 s of a fast core, and more of a slow one
SOON = 10  # seconds of a core; to notice the cancel and to answer the next question took 0.5

pytestmark = [pytest.mark.model]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("llama.cpp", id="llama.cpp"),
        pytest.param("llama-cpp-python", id="llama-cpp-python", marks=pytest.mark.needs("llama-cpp-python")),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with real_server(request.param) as started:  # one request at a time: the next begins when the one before it is over
        yield started


def behind_a_gateway(server: Server) -> AbstractAsyncContextManager[Gateway]:
    backend = f'name = "real"\nkind = "openai_compatible"\nbase_url = "{server.base_url}"\napi_key = "{KEY}"'
    return gateway(f"[[backends]]\n{backend}")


async def test_it_is_found_and_knows_the_capital_of_france(server: Server) -> None:
    async with behind_a_gateway(server) as started, client(started) as socket:
        await socket.create("smollm2", "What is the capital of France?", temperature=0, max_output_tokens=24)
        events = await socket.until()
    assert events[-1]["type"] == "response.completed"
    assert "Paris" in text_of(events)
    assert len([event for event in events if event["type"] == "response.output_text.delta"]) > 1


async def test_a_cancel_frees_its_only_slot(server: Server) -> None:
    async with behind_a_gateway(server) as started, client(started) as socket:
        await socket.create("smollm2", ENDLESS, temperature=0, max_output_tokens=TOKENS)
        await socket.until("response.output_text.delta")
        await socket.send({"type": "response.cancel"})
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"
        worked = server.seconds_of_work()
        await socket.create("smollm2", "What is the capital of France?", temperature=0, max_output_tokens=24)
        assert "Paris" in text_of(await socket.until())
    assert server.seconds_of_work() - worked < SOON


async def test_a_wrong_key_is_the_operators_matter(server: Server) -> None:
    wrong = f'name = "real"\nkind = "openai_compatible"\nbase_url = "{server.base_url}"\nmodels = ["smollm2"]'
    async with gateway(f"[[backends]]\n{wrong}") as started, client(started) as socket:
        await socket.create("smollm2", "Hello!")
        [*_, end] = await socket.until()
    assert end["type"] == "response.failed"
    assert "refused this gateway's key (HTTP 401)" in end["response"]["error"]["message"]
