"""The chat page when the network or the page itself goes away in the middle of an answer: it goes on where it was."""

import asyncio
import json

import pytest
from playwright.async_api import expect

from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.gateway import gateway
from tests.integration.browser import BROWSER, PageAt, Tab, watch
from tests.integration.chat_page import DONE, Chat, chat_at
from tests.integration.cuts import Wire

pytestmark = BROWSER

NUMBERS = " ".join(str(number) for number in range(400))


def halves(gate: asyncio.Event) -> FakeBackend:
    return FakeBackend("fake", script=[[TextDelta("First half, ")], gate, [TextDelta("second half.")], [DONE]])


async def test_cut_again_and_again_the_answer_is_whole(page_at: PageAt) -> None:
    backend = FakeBackend("fake", text=NUMBERS, tokens_per_second=100)
    async with gateway(backends=[backend]) as started, Wire(started.base_url) as wire:
        chat = Chat(await page_at(wire))
        await chat.ready()
        await chat.ask()
        for word in range(50, 350, 50):
            await expect(chat.answer.locator(".prose")).to_contain_text(f" {word} ")
            wire.cut()
        await chat.ended()
        await expect(chat.answer.locator(".prose")).to_have_text(NUMBERS)
        assert len(backend.requests) == 1


async def test_offline_in_the_middle_of_an_answer(page_at: PageAt) -> None:
    gate = asyncio.Event()
    async with gateway(backends=[halves(gate)]) as started, Wire(started.base_url) as wire:
        chat = Chat(await page_at(wire))
        await chat.ready()
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        await chat.page.context.set_offline(True)
        wire.down()
        await expect(chat.page.locator("#connection")).to_have_text("You are offline")
        gate.set()
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        wire.up()
        await chat.page.context.set_offline(False)
        await expect(chat.answer.locator(".prose")).to_have_text("First half, second half.")
        await chat.ended()
        await chat.ready()


async def test_a_reload_goes_on_in_the_same_message(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = halves(gate)
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        for _ in range(2):
            await expect(chat.answer.locator(".prose")).to_have_text("First half,")
            await chat.page.reload()
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        gate.set()
        await expect(chat.answer.locator(".prose")).to_have_text("First half, second half.")
        await chat.ended()
        await expect(chat.page.locator("article")).to_have_count(2)
        await expect(chat.answer).to_contain_text("5 tokens")
        await chat.kept("First half, second half.")
        assert len(backend.requests) == 1
        assert await chat.page.evaluate("sessionStorage.getItem('streamlane-session')") is None
        await chat.page.reload()
        await expect(chat.answer.locator(".prose")).to_have_text("First half, second half.")
        chat.tab.assert_clean()


async def test_a_reload_while_it_waits_for_the_first_word_asks_once(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[gate, [TextDelta("At last.")], [DONE]])
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        await chat.page.reload()
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        gate.set()
        await expect(chat.answer.locator(".prose")).to_have_text("At last.")
        assert len(backend.requests) == 1


async def test_stop_after_a_reload_stops_the_generation(page_at: PageAt) -> None:
    backend = halves(asyncio.Event())
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        await chat.page.reload()
        await chat.ready()
        await chat.page.keyboard.press("Escape")
        await chat.ended()
        await expect(chat.answer).to_contain_text("You stopped this answer.")
        await asyncio.wait_for(backend.left.wait(), 30)


NAME = "streamlane-session"
HIDE = """Object.defineProperty(document, "hidden", { value: true, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));"""


@pytest.mark.parametrize("ended", [True, False])
async def test_a_hidden_page_that_is_thrown_away_leaves_no_word_twice(page_at: PageAt, ended: bool) -> None:
    """It went on writing, and storing, after it left its session to the next page. It ends without another word."""
    middle, end = asyncio.Event(), asyncio.Event()
    script = [[TextDelta("First, ")], middle, [TextDelta("second, ")], end, [TextDelta("third.")], [DONE]]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("First,")
        await chat.page.evaluate(HIDE)
        left = await chat.page.evaluate(f"sessionStorage.getItem('{NAME}')")
        middle.set()
        if ended:
            end.set()
            await chat.kept("First, second, third.")
        else:
            await expect(chat.answer.locator(".prose")).to_have_text("First, second,")
        await chat.page.evaluate("dispatchEvent(new Event('pagehide'))")  # stores what is there
        await chat.kept("First, second, third." if ended else "First, second, ")
        if ended:
            assert await chat.page.evaluate(f"sessionStorage.getItem('{NAME}')") is None
        await chat.page.add_init_script(
            f"if (!window.again) sessionStorage.setItem('{NAME}', {json.dumps(left)}); window.again = true;"
        )
        await chat.page.reload()
        if not ended:
            await expect(chat.answer).to_have_attribute("aria-busy", "true")
        end.set()
        await chat.ended()
        await expect(chat.answer.locator(".prose")).to_have_text("First, second, third.")
        await expect(chat.answer).to_contain_text("5 tokens")
        chat.tab.assert_clean()


async def test_a_page_that_is_reloaded_before_it_has_begun_leaves_what_it_found(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = halves(gate)
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        # The next page waits for its database, and is reloaded meanwhile.
        await chat.page.add_init_script(
            """if (!sessionStorage.getItem("slow")) {
                sessionStorage.setItem("slow", "1");
                IDBFactory.prototype.open = () => ({});
            }"""
        )
        await chat.page.reload()
        await chat.page.reload()
        gate.set()
        await expect(chat.answer.locator(".prose")).to_have_text("First half, second half.")
        await chat.ended()
        assert len(backend.requests) == 1


async def test_a_name_that_another_tab_gave_stays(page_at: PageAt) -> None:
    async with gateway(backends=[FakeBackend("fake", text="Yes.")]) as started:
        one = await chat_at(page_at, started)
        await one.asked("The question")
        await one.kept("Yes.")
        two = Chat(Tab(await one.page.context.new_page(), one.tab.origin))
        watch(two.tab)
        await two.page.goto(one.page.url)
        await two.ready()
        await two.page.get_by_role("button", name="More on The question").click()
        await two.page.get_by_role("menuitem", name="Rename").click()
        await two.page.get_by_role("textbox", name="New name").fill("A name")
        await two.page.keyboard.press("Enter")
        await expect(one.page.locator("#title")).to_have_text("A name")
        await one.asked("And on")
        await expect(one.page.locator("#chats .chat-title")).to_have_text(["A name"])
        await expect(two.page.locator("#title")).to_have_text("A name")


async def test_two_tabs_have_sessions_of_their_own(page_at: PageAt) -> None:
    gate = asyncio.Event()
    async with gateway(backends=[halves(gate)]) as started:
        one = await chat_at(page_at, started)
        two = Chat(Tab(await one.page.context.new_page(), one.tab.origin))
        watch(two.tab)
        await two.page.goto("/")
        await two.ready()
        for chat in (one, two):
            await chat.ask()
        for chat in (one, two):
            await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        await two.page.reload()
        gate.set()
        for chat in (one, two):
            await expect(chat.answer.locator(".prose")).to_have_text("First half, second half.")
        await one.ready()


async def test_who_comes_back_too_late_finds_the_half_answer_and_may_ask_again(page_at: PageAt) -> None:
    backend = halves(asyncio.Event())
    async with gateway("[session]\ndetach_ttl = 0.2\nresume_ttl = 0.2", [backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        address = chat.page.url
        await chat.page.goto("about:blank")
        await asyncio.wait_for(backend.left.wait(), 30)  # nobody came back, so it was stopped
        await chat.page.goto(address)
        await chat.ended()
        await expect(chat.answer.locator(".prose")).to_have_text("First half,")
        await expect(chat.answer).to_contain_text("The answer broke off")
        await expect(chat.button("Answer again", chat.answer)).to_be_visible()
