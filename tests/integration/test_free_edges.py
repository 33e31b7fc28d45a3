"""free/auto where rules meet: embeddings and money, what only a local model can do, a refusal and a wait, the error."""

import asyncio
import json
from typing import Any

import aiohttp

from proxy.catalog import shipped
from tests.integration.test_free import LOCAL, MODEL, ONE, account, per_day, providers, settled, world
from tests.providers.base import Fault
from tests.providers.groq import Groq
from tests.unit.proxy.wire.responses_requests import PIXEL


def costly(url: str, budget: float) -> str:
    """An account that costs money from the first request on."""
    openai = shipped()["openai"]
    plan = next(plan.id for plan in openai.plans if not plan.free)
    return f"""
[[accounts]]
name = "paid"
provider = "openai"
api_key = "sk-budget-0123456789abcdef"
base_url = "{url}"
plan = "{plan}"
accept = {json.dumps(sorted({notice.term for notice in openai.notices(plan)}))}
models = ["fake"]
prices = {{ "fake" = {{ input = 1.0, output = 10.0 }} }}
limits = [{{ metric = "usd", amount = {budget}, window = "month", reset = "fixed" }}]
"""


async def test_embeddings_keep_to_the_same_rules_as_everything_else() -> None:
    async with providers(Groq) as (paid,):
        async with world('[free]\nwhen_spent = ["wait", "local"]\n' + costly(paid.url, 1)) as here:
            answers = dict[str, tuple[int, Any]]()
            async with aiohttp.ClientSession() as session:
                for model in ("free/fake", "free/auto", "free/auto:cheap"):
                    body = {"model": model, "input": "Hi"}
                    async with session.post(f"{here.gateway.base_url}/embeddings", json=body) as got:
                        answers[model] = got.status, (await got.json())["error"]["code"]
            assert not paid.seen  # nobody allowed it to cost money
            assert not [kind for kind, _ in here.operations() if kind == "reserve"]
    # And vectors of whichever model is free now would not compare with those of a minute ago.
    unlike = (400, "invalid_parameter")
    assert answers == {"free/fake": (429, "free_quota_exhausted"), "free/auto": unlike, "free/auto:cheap": unlike}


async def test_the_error_lists_budgets_too_with_the_callers_own_share() -> None:
    async with providers(Groq) as (paid,):
        async with world('[free]\nwhen_spent = ["paid"]\n' + costly(paid.url, 0.0012)) as here:
            async with asyncio.timeout(20):
                while (answer := await here.ask())[0] == 200:
                    await settled(here)
            assert paid.seen
    status, body = answer
    [pool] = body["error"]["pools"]
    assert (status, pool["account"], pool["metric"], pool["why"]) == (429, "paid", "usd_micros", "spent")
    assert pool["opens_at"]
    assert not pool["free"]
    assert 0 < pool["used"] == pool["share"]["used"]


async def test_what_no_free_model_can_do_a_local_one_may() -> None:
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    seen = [{"role": "user", "content": content}]
    blind = f'[capabilities."me/{MODEL}"]\nimages = false\n'
    async with providers(Groq, Groq) as (groq, local):
        text = LOCAL.format(url=local.url) + account("me", groq, per_day(9), more=ONE) + blind
        async with world('[free]\nlocal = ["local/fake"]\n' + text) as here:
            assert (await here.ask(messages=seen))[0] == 200
            assert (len(groq.seen), len(local.seen)) == (0, 1)
            status, body = await here.ask(messages=seen, sl_route={"when_spent": []})
            assert (status, body["error"]["code"]) == (400, "unsupported_feature")


async def test_who_was_refused_for_a_moment_waits_in_line_instead_of_failing() -> None:
    async with providers(Groq) as (groq,):
        text = '[free]\nwhen_spent = ["wait"]\nwait = 20.0\n' + account("me", groq, per_day(50), more=ONE)
        async with world(text) as here:
            groq.faults.extend(Fault("rate_limited", retry_after=1) for _ in range(3))  # more than may be repeated
            answers = await asyncio.gather(*(here.ask() for _ in range(3)))
            assert [status for status, _ in answers] == [200, 200, 200], answers
            assert len(groq.seen) <= 9  # three attempts each, in all
