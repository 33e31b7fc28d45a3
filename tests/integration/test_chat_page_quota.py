"""The meter of the chat page: what is left today, how it changes with an answer, and the list behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Locator, Page, Route

from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.quota_report import report, shown
from quota.ledger import Cooldown
from quota.windows import ENDLESS
from tests.gateway import ANSWER, answers, gateway
from tests.integration.browser import BROWSER, PageAt
from tests.integration.chat_page import DONE, PHONE, Chat, chat_at, expect
from tests.providers.groq import Groq
from tests.unit.proxy.quota_rows import NOW, of, pool, several

pytestmark = BROWSER

MODEL = "openai/gpt-oss-120b"
ACCOUNT = """
[[accounts]]
name = "mine"
provider = "groq"
api_key = "gsk_0123456789abcdef0123"
base_url = "{url}"
models = ["{model}"]
limits = [
  {limit},
  {{ metric = "tokens", amount = 900000, window = "minute" }},
  {{ metric = "tokens", amount = 900000, window = "day" }},
]
"""
FOUR = '{ metric = "requests", amount = 4, window = "day", reset = "fixed" }'


@asynccontextmanager
async def account(script: Sequence[Any] = ANSWER, limit: str = FOUR, before: str = "") -> AsyncIterator[Any]:
    """A gateway with one account, which has 4 requests a day."""
    async with Groq(FakeBackend("behind", script=list(script))) as groq:
        async with gateway(before + ACCOUNT.format(url=groq.url, model=MODEL, limit=limit)) as started:
            yield started


def meter(page: Page) -> Locator:
    return page.get_by_role("button", name="Show each account")


async def told(page: Page, *pools: Any, cooldowns: Sequence[Cooldown] = ()) -> None:
    """From now on the page is told of these pools."""
    rests = {each.scope: each for each in cooldowns}
    data = [shown(row) for row in report(of(*pools), NOW, "anonymous", cooldowns=rests)]

    async def answer(route: Route) -> None:
        await route.fulfill(json={"object": "list", "data": data})

    await page.route("**/v1/quota?*", answer)


async def page_told(
    page_at: PageAt, started: Any, *pools: Any, cooldowns: Sequence[Cooldown] = (), **options: Any
) -> Chat:
    """The page of a gateway that has these pools, at the time that the tests say it is."""
    chat = Chat(await page_at(started, **options))
    await chat.page.clock.set_fixed_time(NOW / 1_000_000)
    await told(chat.page, *pools, cooldowns=cooldowns)
    await chat.page.reload()
    await chat.ready()
    return chat


async def test_without_an_account_there_is_no_meter(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await chat_at(page_at, started)
        async with chat.page.expect_response("**/v1/quota?*"):
            await chat.asked()
        await expect(meter(chat.page)).to_have_count(0)
        chat.tab.assert_clean()


async def test_each_answer_takes_from_what_is_left(page_at: PageAt) -> None:
    async with account() as started:
        chat = await chat_at(page_at, started)
        await expect(meter(chat.page)).to_have_text("100% left today")
        await chat.page.get_by_label("Model", exact=True).select_option(f"mine/{MODEL}")
        for left in (75, 50):
            await chat.asked()
            await expect(chat.answer).to_contain_text("Hello wörld")
            await expect(meter(chat.page)).to_have_text(f"{left}% left today")
        await meter(chat.page).click()
        sheet = chat.page.get_by_role("dialog", name="What is left")
        await expect(sheet).to_contain_text(MODEL)
        await expect(sheet).to_contain_text("4 requests per day")
        await expect(sheet).to_contain_text("2 left, all again in")
        chat.tab.assert_clean()


async def test_the_list_opens_and_closes_by_keys_and_says_what_there_is(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await page_told(page_at, started, *several())
        await meter(chat.page).focus()
        await chat.page.keyboard.press("Enter")
        sheet = chat.page.get_by_role("dialog", name="What is left")
        await expect(sheet).to_be_visible()
        assert await sheet.get_by_role("heading", level=3).all_inner_texts() == [
            "cohere",
            "gemini-me\ngemini",
            "groq-me\ngroq",
            "openai",
            "openrouter",
            "zai",
        ]
        await expect(sheet).to_contain_text("3 left, all again in 17 h")
        await expect(sheet).to_contain_text("Its provider may train on what you write.")
        await expect(sheet).to_contain_text("nothing left, all again in 9 h")
        assert await chat.tab.axe() == []
        await chat.page.keyboard.press("Escape")
        await expect(sheet).to_be_hidden()
        await expect(meter(chat.page)).to_be_focused()
        chat.tab.assert_clean()


async def test_when_all_is_spent_it_says_when_there_is_more(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        spent = pool(used=1000, opens_at=NOW + 3 * 3_600_000_000, resets_at=NOW + 3 * 3_600_000_000)
        chat = await page_told(page_at, started, spent)
        await expect(meter(chat.page)).to_contain_text("Nothing left, more in 3 h")


async def test_who_is_not_asked_now_says_why(page_at: PageAt) -> None:
    refused = Cooldown("account:gemini-me", ENDLESS, "it refused the key")
    missing = Cooldown("model:groq-me/old", ENDLESS, "it does not serve this model")
    pools = (*several(), pool(model="old"), pool("gemini-me", model="pro"))
    async with gateway(backends=[answers()]) as started:
        chat = await page_told(page_at, started, *pools, cooldowns=(refused, missing))
        await meter(chat.page).click()
        sheet = chat.page.get_by_role("dialog", name="What is left")
        key = "Its key was refused: correct it and restart, or change the key file."
        await expect(sheet.get_by_text(key)).to_have_count(1)
        await expect(sheet.locator("h3:has-text('gemini-me') + p")).to_have_text(key)
        await expect(sheet.locator("h4:has-text('old') + p")).to_contain_text("Its provider does not serve this model")
        assert await chat.tab.axe() == []
        chat.tab.assert_clean()


async def test_it_changes_while_the_answer_is_written(page_at: PageAt) -> None:
    """By news on the socket: the page itself asks only when the answer has ended."""
    gate = asyncio.Event()
    async with account([[TextDelta("So far")], gate, [DONE]]) as started:
        chat = await chat_at(page_at, started)
        await expect(meter(chat.page)).to_have_text("100% left today")
        await chat.page.get_by_label("Model", exact=True).select_option(f"mine/{MODEL}")
        await chat.ask()
        await expect(chat.answer).to_contain_text("So far")
        await expect(meter(chat.page)).to_have_text("75% left today")
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        gate.set()
        await chat.ended()
        await expect(meter(chat.page)).to_have_text("75% left today")


async def test_who_waits_for_quota_is_told_so(page_at: PageAt) -> None:
    waits = "[free]\nwait = 120.0\n"
    limit = '{ metric = "requests", amount = 1, window = "minute" }'
    async with account(before=waits, limit=limit) as started:
        chat = await chat_at(page_at, started)
        await chat.page.get_by_label("Model", exact=True).select_option("free/auto")
        await chat.asked()
        await chat.ask("again")
        await expect(chat.answer).to_contain_text("Waiting for free quota, more in")
        await chat.button("Stop").click()
        await chat.ended()


async def test_a_gateway_that_cannot_say_leaves_the_page_as_it_is(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await page_told(page_at, started, pool(used=100))
        await expect(meter(chat.page)).to_have_text("90% left today")
        await chat.page.unroute("**/v1/quota?*")
        await chat.page.route("**/v1/quota?*", lambda route: route.fulfill(status=503, body="{}"))
        await chat.asked()
        await expect(meter(chat.page)).to_have_text("90% left today")
        await expect(chat.page.locator("#connection")).to_have_text("Connected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone(page_at: PageAt, scheme: str) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await page_told(page_at, started, *several(), color_scheme=scheme, **PHONE)
        box = await meter(chat.page).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
        assert await chat.page.evaluate("document.documentElement.scrollWidth") == 360
        await meter(chat.page).tap()
        sheet = chat.page.get_by_role("dialog", name="What is left")
        await expect(sheet).to_be_visible()
        assert await sheet.evaluate("(sheet) => sheet.scrollWidth <= sheet.clientWidth")
        assert json.dumps(await chat.tab.axe()) == "[]"
        await chat.button("Close", sheet).tap()
        await expect(sheet).to_be_hidden()
        chat.tab.assert_clean()
