"""What clients of free/… are told: who answers, which pools are in the way, what is too large; a mended key."""

import asyncio
from pathlib import Path

import aiohttp

from tests.gateway import connected
from tests.integration.test_free import GROQ_KEY, MODEL, ONE, PROMPT, REQUESTS, WIDE, account, per_day, providers, world
from tests.providers.base import Fault
from tests.providers.groq import Groq


async def test_a_socket_hears_every_pool_in_the_way_before_its_response_fails() -> None:
    async with providers(Groq) as (groq,):
        async with world("[free]\nwhen_spent = []\n" + account("me", groq, per_day(1), more=ONE)) as here:
            assert (await here.ask())[0] == 200
            async with connected(here.gateway.base_url, "?sl_ext=1") as client:
                await client.create("free/auto", PROMPT, max_output_tokens=50)
                *_, told, failed = await client.until()
            assert failed["response"]["error"]["code"] == "free_quota_exhausted"
            assert told["type"] == "streamlane:quota"
            assert [(pool["id"], pool["why"]) for pool in told["pools"]] == [(REQUESTS, "spent")]
            assert told["pools"][0]["opens_at"]


async def test_who_answers_is_told_over_http_too() -> None:
    async with providers(Groq) as (groq,):
        async with world(account("me", groq, per_day(9), more=ONE)) as here, aiohttp.ClientSession() as session:
            for path, body in (
                ("chat/completions", {"messages": [{"role": "user", "content": PROMPT}]}),
                ("chat/completions", {"messages": [{"role": "user", "content": PROMPT}], "stream": True}),
                ("responses", {"input": PROMPT}),
                ("messages", {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 50}),
            ):
                url = f"{here.gateway.base_url}/{path}"
                async with session.post(url, json={"model": "free/auto", **body}) as got:
                    assert got.headers["X-Streamlane-Route"] == f"me/{MODEL}"
                    await got.read()


async def test_a_key_that_was_mended_in_its_file_is_used_again(tmp_path: Path) -> None:
    key = tmp_path / "key.txt"
    key.write_text("gsk_wrong_0123456789abcdef")
    async with providers(Groq) as (groq,):
        text = account("me", groq, per_day(9), more=ONE).replace(f'api_key = "{GROQ_KEY}"', f'api_key_file = "{key}"')
        groq.faults.append(Fault("bad_key"))
        async with world("[free]\nwhen_spent = []\n" + text) as here:
            assert (await here.ask())[0] != 200
            async with asyncio.timeout(20):  # what is noted is written behind
                while (said := await here.ask())[0] != 429:
                    await asyncio.sleep(0.01)
            assert said[1]["error"]["code"] == "free_quota_exhausted"
            assert "refused the key" in said[1]["error"]["message"]
            assert len(groq.seen) == 1
            key.write_text(GROQ_KEY)
            async with asyncio.timeout(20):  # the file is looked at now and then
                while (await here.ask())[0] != 200:
                    await asyncio.sleep(0.05)


async def test_what_is_too_large_for_a_budget_is_told_in_its_own_words() -> None:
    async with providers(Groq) as (groq,):
        limits = f'{{metric = "tokens", amount = 300, window = "month"}}, {WIDE}'
        async with world(account("me", groq, limits, more=ONE)) as here:
            status, body = await here.ask(f"me/{MODEL}", max_completion_tokens=5000)
            assert (status, body["error"]["code"]) == (400, "request_too_large_for_quota")
            assert "300 tokens per 31 days" in body["error"]["message"]
            assert not groq.seen
