"""free/auto through a whole gateway: accounts at stand-ins of real providers, their quotas in a ledger on the disk."""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI, RateLimitError

from backends.events import Finished, TextDelta, Usage
from backends.fake import FakeBackend
from proxy.app import Gateway
from tests.gateway import ANSWER, connected, gateway, process
from tests.providers.base import Fault, Provider
from tests.providers.cohere import Cohere
from tests.providers.groq import Groq
from tests.providers.mistral import Mistral

MODEL = "openai/gpt-oss-120b"
GROQ_KEY = "gsk_canary_0123456789abcdef"
PROMPT = "What does the canary of prompts sing?"
LONG: list[Any] = [*([TextDelta("word ")] for _ in range(2000)), [Finished("stop", Usage(3, 2000))]]


def account(name: str, provider: Provider, limits: str, kind: str = "groq", more: str = "") -> str:
    """A [[accounts]] at a stand-in, with no limits of the catalog left that a few requests could meet."""
    return f"""
[[accounts]]
name = "{name}"
provider = "{kind}"
api_key = "{GROQ_KEY if kind == "groq" else provider.key}"
base_url = "{provider.url}"
limits = [{limits}]
{more}
"""


def per_day(requests: int) -> str:
    return f'{{metric = "requests", amount = {requests}, window = "day"}}, {WIDE}'


WIDE = '{metric = "tokens", amount = 900000, window = "minute"}, {metric = "tokens", amount = 900000, window = "day"}'
REQUESTS = f"me/requests/day/{MODEL}"
ONE = f'models = ["{MODEL}"]'
LOCAL = """
[[backends]]
kind = "openai_compatible"
name = "local"
base_url = "{url}"
models = ["fake"]
"""


@dataclass
class World:
    """A gateway with accounts, and the folder that holds its ledger."""

    gateway: Gateway
    folder: Path

    async def ask(self, model: str = "free/auto", **fields: Any) -> tuple[int, Any]:
        """One chat completion: status and body."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_completion_tokens": 50,
            **fields,
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.gateway.base_url}/chat/completions", json=body) as got,
        ):
            return got.status, await got.json()

    async def quota(self) -> dict[str, Any]:
        """GET /v1/quota, by pool."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.gateway.base_url}/quota") as got:
            return {row["id"]: row for row in (await got.json())["data"]}

    def operations(self) -> list[tuple[str, str]]:
        """Kind and changes of all that is on the disk now, as another process sees it."""
        with sqlite3.connect(f"file:{self.folder}/quota.db?mode=ro", uri=True) as database:
            return database.execute("SELECT kind, changes FROM operation ORDER BY seq").fetchall()


@asynccontextmanager
async def world(text: str, folder: Path | None = None) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as made:
        data = folder or Path(made)
        async with gateway(f'data_dir = "{data}"\n{text}') as started:
            yield World(started, data)


@asynccontextmanager
async def providers(*kinds: type[Provider], script: Sequence[Any] = ANSWER) -> AsyncIterator[list[Any]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(kind(FakeBackend("behind", script=list(script)))) for kind in kinds]


async def test_every_account_is_spent_to_its_last_request_and_not_beyond() -> None:
    async with providers(Groq, Groq) as (one, two):
        text = account("one", one, per_day(3), more=ONE) + account(
            "two", two, per_day(5), more=f"{ONE}\nowned_separately = true\n"
        ).replace(GROQ_KEY, "gsk_another_0123456789abcdef")
        async with world('[free]\nwhen_spent = ["wait"]\nwait = 1.0\n' + text) as here:
            answers = [await here.ask() for _ in range(8)]
            assert [status for status, _ in answers] == [200] * 8
            status, body = await here.ask()
            assert status == 429
            assert body["error"]["code"] == "free_quota_exhausted"
            assert {pool["id"] for pool in body["error"]["pools"]} == {
                f"one/requests/day/{MODEL}",
                f"two/requests/day/{MODEL}",
            }
            assert all(pool["opens_at"] for pool in body["error"]["pools"])
            assert (len(one.seen), len(two.seen)) == (3, 5)
            quota = await here.quota()
            assert quota[f"one/requests/day/{MODEL}"]["used"] == 3
            assert quota[f"two/requests/day/{MODEL}"]["used"] == 5


async def test_requests_at_once_never_overspend() -> None:
    async with providers(Groq) as (groq,):
        async with world("[free]\nwhen_spent = []\n" + account("me", groq, per_day(7), more=ONE)) as here:
            answers = await asyncio.gather(*(here.ask() for _ in range(40)))
            assert sorted(status for status, _ in answers) == [200] * 7 + [429] * 33
            assert len(groq.seen) == 7


async def test_the_reservation_is_on_the_disk_before_the_first_byte() -> None:
    seen: list[list[str]] = []

    class Looking(Groq):
        async def answer(self, *args: Any) -> Any:
            seen.append([kind for kind, _ in here.operations()])
            return await super().answer(*args)

    async with providers(Looking) as (groq,):
        async with world(account("me", groq, per_day(7), more=ONE)) as here:
            await here.ask()
            await here.ask(f"me/{MODEL}")  # by name, too
    assert seen[0].count("reserve") == 1
    assert seen[1].count("reserve") == 2


async def test_requests_elsewhere_reserve_nothing() -> None:
    async with providers(Groq, Groq) as (groq, local):
        async with world(LOCAL.format(url=local.url) + account("me", groq, per_day(7), more=ONE)) as here:
            before = here.operations()
            assert (await here.ask("fake"))[0] == 200
            assert here.operations() == before


async def test_when_all_is_spent_it_waits_in_line_and_says_so() -> None:
    async with providers(Groq) as (groq,):
        limits = f'{{metric = "requests", amount = 1, window = "1s"}}, {WIDE}'
        async with world("[free]\nwait = 20.0\n" + account("me", groq, limits, more=ONE)) as here:
            assert (await here.ask())[0] == 200
            async with connected(here.gateway.base_url, "?sl_ext=1") as client:
                await client.create("free/auto", PROMPT, max_output_tokens=50)
                events = await client.until()
            assert events[-1]["type"] == "response.completed"
            [waited, *_] = [event for event in events if event["type"] == "streamlane:queue"]
            assert waited["position"] == 1
            [routed, *_] = [event for event in events if event["type"] == "streamlane:route"]
            assert routed["backend"] == "me"
            assert routed["reason"]
            [quota, *_] = [event for event in events if event["type"] == "streamlane:quota"]
            assert {pool["account"] for pool in quota["pools"]} == {"me"}
            assert len(groq.seen) == 2


@pytest.mark.parametrize(
    ("wish", "answered_by"),
    [
        ({}, "local"),
        ({"sl_route": {"when_spent": ["local"]}}, "local"),
        ({"sl_route": {"when_spent": []}}, None),
        ({"sl_route": {"when_spent": ["paid"]}}, None),  # the operator has not allowed it
    ],
)
async def test_when_all_is_spent_the_caller_chooses_among_what_the_operator_allows(
    wish: dict[str, Any], answered_by: str | None
) -> None:
    async with providers(Groq, Groq) as (groq, local):
        free = '[free]\nwhen_spent = ["wait", "local"]\nwait = 0.5\nlocal = ["local/fake"]\n'
        async with world(free + LOCAL.format(url=local.url) + account("me", groq, per_day(1), more=ONE)) as here:
            assert (await here.ask())[0] == 200
            status, body = await here.ask(**wish)
            assert status == (200 if answered_by else 429), body
            assert len(local.seen) == (answered_by is not None)


async def test_money_is_spent_last_and_only_to_its_budget() -> None:
    async with providers(Groq, Groq) as (groq, paid):
        budget = """
[[accounts]]
name = "paid"
provider = "openai"
api_key = "sk-budget-0123456789abcdef"
base_url = "{url}"
plan = "prepaid"
accept = {accept}
allow_billing = true
models = ["fake"]
prices = {{ "fake" = {{ input = 1.0, output = 10.0 }} }}
limits = [{{ metric = "usd", amount = 0.001, window = "month", reset = "fixed" }}]
"""
        from proxy.catalog import shipped

        openai = shipped()["openai"]
        plan = next(plan.id for plan in openai.plans if not plan.free)
        accept = json.dumps(sorted({notice.term for notice in openai.notices(plan)}))
        text = budget.format(url=paid.url, accept=accept).replace('"prepaid"', f'"{plan}"')
        async with world('[free]\nwhen_spent = ["paid"]\n' + account("me", groq, per_day(2), more=ONE) + text) as here:
            answers = []
            for _ in range(40):
                answers.append((await here.ask())[0])
                if answers[-1] != 200:
                    break
            assert answers[-1] == 429
            assert len(groq.seen) == 2
            assert paid.seen  # it was used, after what is free
            await settled(here)
            [pool] = [row for row in (await here.quota()).values() if row["account"] == "paid"]
            assert 0 < pool["used"] <= pool["cap"] == 1_000


async def test_what_is_confidential_stays_on_our_own_machines() -> None:
    async with providers(Groq, Groq) as (groq, local):
        free = '[free]\nlocal = ["local/fake"]\n'
        async with world(free + LOCAL.format(url=local.url) + account("me", groq, per_day(9), more=ONE)) as here:
            assert (await here.ask(sl_route={"data": "confidential"}))[0] == 200
            assert (len(groq.seen), len(local.seen)) == (0, 1)


async def test_a_daily_refusal_closes_the_pool_also_after_a_restart(tmp_path: Path) -> None:
    async with providers(Groq, Groq) as (groq, local):
        free = '[free]\nwait = 0.5\nlocal = ["local/fake"]\n'
        text = free + LOCAL.format(url=local.url) + account("me", groq, per_day(100), more=ONE)
        groq.always = Fault("spent")  # its owner spends it elsewhere too
        async with world(text, tmp_path) as here:
            assert (await here.ask())[0] == 200
            assert len(local.seen) == 1
        async with world(text, tmp_path) as here:
            assert (await here.ask())[0] == 200
            closed = [row for row in (await here.quota()).values() if row["state"] == "closed"]
        assert [(row["metric"], row["per"]) for row in closed] == [("tokens", "day")]
        assert len(groq.seen) == 1  # it is not asked again
        assert len(local.seen) == 2


async def test_a_provider_that_fails_is_followed_by_the_next_one_each_with_its_own_reservation() -> None:
    async with providers(Groq, Mistral) as (groq, mistral):
        groq.always = Fault("server_error")
        terms = 'accept = ["trains", "unclear"]\nmodels = ["mistral-small-2603"]\n'
        limits = f'{{metric = "requests", amount = 1000, window = "second"}}, {WIDE}'
        text = account("a-groq", groq, per_day(9), more=ONE) + account("m", mistral, limits, "mistral", terms)
        async with world("[free]\nwhen_spent = []\n" + text) as here:
            for _ in range(6):
                assert (await here.ask())[0] == 200
            kinds = [kind for kind, _ in here.operations()]
        assert mistral.seen
        assert kinds.count("reserve") == len(mistral.seen) + len(groq.seen)


async def test_what_never_reached_the_provider_costs_nothing() -> None:
    async with providers(Groq) as (groq,):
        text = account("me", groq, per_day(5), more=ONE)
    async with world("[free]\nwhen_spent = []\n" + text) as here:  # nobody listens there any more
        status, _ = await here.ask(f"me/{MODEL}")
        assert status == 502
        await settled(here)
        assert all(row["used"] == row["reserved"] == 0 for row in (await here.quota()).values())


async def test_an_answer_that_is_left_is_charged_for_what_came() -> None:
    async with providers(Groq, script=LONG) as (groq,):
        groq.always = Fault("stall", at=10, seconds=60)
        async with world(account("me", groq, per_day(5), more=ONE)) as here:
            async with connected(here.gateway.base_url) as client:
                await client.create("free/auto", PROMPT, max_output_tokens=5000)
                came = ""
                while len(came) < 50:  # then it stalls
                    came += (await client.until("response.output_text.delta"))[-1]["delta"]
            await settled(here)
            quota = await here.quota()
            assert quota[f"me/requests/day/{MODEL}"]["used"] == 1
            assert 50 <= quota[f"me/tokens/day/{MODEL}"]["used"] < 5000


async def test_a_ledger_that_cannot_be_opened_stops_accounts_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "quota.db").write_bytes(b"this is no database, and was never one" * 100)
    async with providers(Groq, Groq) as (groq, local):
        async with world(LOCAL.format(url=local.url) + account("me", groq, per_day(5), more=ONE), tmp_path) as here:
            assert (await here.ask("fake"))[0] == 200
            status, body = await here.ask()
            assert (status, body["error"]["code"]) == (503, "ledger_failed")
            assert not groq.seen


async def test_the_official_sdk_streams_from_free_auto_and_understands_the_end() -> None:
    async with providers(Groq) as (groq,):
        async with world("[free]\nwhen_spent = []\n" + account("me", groq, per_day(1), more=ONE)) as here:
            async with AsyncOpenAI(base_url=here.gateway.base_url, api_key="none", max_retries=0) as client:
                messages: Any = [{"role": "user", "content": PROMPT}]
                stream = await client.chat.completions.create(
                    model="free/gpt-oss-120b", messages=messages, stream=True, max_tokens=50
                )
                text = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
                assert "".join(text) == "Hello wörld"
                with pytest.raises(RateLimitError) as refused:
                    await client.responses.create(model="free/auto", input=PROMPT, max_output_tokens=50)
            assert refused.value.code == "free_quota_exhausted"
            assert int(refused.value.response.headers["retry-after"]) > 0


async def test_no_prompt_and_no_key_is_in_the_ledger(tmp_path: Path) -> None:
    async with providers(Groq, Cohere) as (groq, cohere):
        terms = 'accept = ["evaluation_only", "trains", "unclear", "logged"]\n'
        text = account("me", groq, per_day(2), more=ONE) + account("co", cohere, "", "cohere", terms)
        async with world("[free]\nwhen_spent = []\n" + text, tmp_path) as here:
            for _ in range(6):
                await here.ask(user=PROMPT)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("quota.db*"))
    assert b"gpt-oss-120b" in kept
    for secret in (GROQ_KEY, cohere.key, "canary", PROMPT):
        assert secret.encode() not in kept


async def test_an_unknown_free_model_names_the_nearest() -> None:
    async with providers(Groq) as (groq,):
        async with world(account("me", groq, per_day(2), more=ONE)) as here:
            status, body = await here.ask("free/gpt-oss-12b")
            assert status == 404
            assert "free/gpt-oss-120b" in body["error"]["message"]


async def settled(here: World) -> None:
    """Wait until nothing is reserved."""
    async with asyncio.timeout(10):
        while any(row["reserved"] for row in (await here.quota()).values()):
            await asyncio.sleep(0.01)


async def test_what_a_killed_gateway_had_reserved_is_charged_and_counted(tmp_path: Path) -> None:
    async with providers(Groq) as (groq,):
        text = account("me", groq, per_day(5), more=ONE)
        groq.always = Fault("stall", at=1, seconds=60)
        async with process(text, STREAMLANE_DATA_DIR=str(tmp_path)) as killed, connected(killed.base_url) as client:
            await client.create("free/auto", PROMPT, max_output_tokens=50)
            await client.until("response.output_text.delta")
            killed.process.kill()
            await killed.process.wait()
        async with (
            world(text, tmp_path) as here,
            aiohttp.ClientSession() as session,
            session.get(f"{here.gateway.ops_url}/metrics") as got,
        ):
            assert "streamlane_quota_lapsed_total 1.0" in await got.text()
            quota = await here.quota()
            assert (quota[REQUESTS]["used"], quota[REQUESTS]["reserved"]) == (1, 0)
            assert quota[f"me/tokens/day/{MODEL}"]["used"] > 50  # all that was reserved: nobody knows more
