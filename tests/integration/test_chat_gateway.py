"""`streamlane chat` and its gateway: where it is, its key, and what it keeps."""

from aiohttp import ClientSession

from tests.gateway import answers, gateway
from tests.integration.test_chat import Ended, run

KEY = "sk-sl-0123456789abcdefghijklmnop"


async def test_an_address_without_its_path_is_understood() -> None:
    async with gateway(backends=[answers()]) as started:
        ended = await run("http://127.0.0.1:9", "--base-url", started.base_url.removesuffix("v1"), "hi")
        assert ended == Ended(0, "Hello wörld\n", "")
        assert await run(started.base_url.removesuffix("/v1"), "hi") == ended


async def test_the_gateway_stores_nothing_of_a_chat() -> None:
    async with gateway(backends=[answers()]) as started:
        assert (await run(started.base_url, "hi")).out == "Hello wörld\n"
        async with ClientSession() as http, http.delete(f"{started.base_url}/responses") as got:
            assert (await got.json())["deleted"] == 0  # of what was stored


async def test_a_gateway_without_models_says_so() -> None:
    async with gateway() as started:
        ended = await run(started.base_url, "hi")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"The gateway at {started.base_url} has no model yet. Its log says which backends answer.\n"


async def test_a_key_is_used_and_never_shown() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        url = started.base_url
        assert await run(url, "hi", STREAMLANE_API_KEY=KEY) == Ended(0, "Hello wörld\n", "")
        assert await run(url, "--api-key", KEY, "hi") == Ended(0, "Hello wörld\n", "")
        wanted = "The gateway wants an API key that it knows. Set $STREAMLANE_API_KEY, or give --api-key.\n"
        assert await run(url, "hi") == Ended(1, "", wanted)
        assert await run(url, "hi", STREAMLANE_API_KEY="sk-sl-wrong") == Ended(1, "", wanted)
        helped = await run(url, "--help", STREAMLANE_API_KEY=KEY)
        assert KEY not in helped.out
