"""What the chat page stores: nothing at the gateway; and where the browser does not, from the start or later."""

from aiohttp import ClientSession

from tests.gateway import answers, gateway
from tests.integration.browser import BROWSER, PageAt
from tests.integration.chat_page import Chat, chat_at, expect

pytestmark = BROWSER

NOTICE = "This browser does not store new chats: they are gone when you close the page. Settings can export them."
# As browsers do it where a person forbids a site to keep data: reading the globals themselves throws.
BLOCKED = """for (const name of ["localStorage", "sessionStorage", "indexedDB", "BroadcastChannel"])
    Object.defineProperty(window, name, { get() { throw new DOMException("Access is denied.", "SecurityError"); } });"""
FULL = """() => {
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = () => { throw new DOMException("The disk is full.", "QuotaExceededError"); };
    window.emptied = () => { IDBObjectStore.prototype.put = put; };
}"""


async def test_where_nothing_may_be_stored_the_page_works_until_it_is_closed(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = Chat(await page_at(started, "/#a-chat-of-another-day"))
        await chat.page.add_init_script(BLOCKED)
        await chat.page.reload()
        await expect(chat.page.locator("#toast")).to_have_text(NOTICE)
        await chat.ready()
        await chat.asked("First topic")
        await expect(chat.answer.locator(".prose")).to_have_text("Hello wörld")
        await chat.page.get_by_role("link", name="New chat").click()
        await chat.asked("Second topic")
        await expect(chat.page.locator(".chat-title")).to_have_text(["Second topic", "First topic"])
        await chat.page.get_by_role("link", name="First topic").click()
        await expect(chat.question).to_contain_text("First topic")
        await expect(chat.page.locator("#not-kept")).to_have_text(NOTICE)
        await expect(chat.page.locator("#not-kept")).to_be_visible()
        chat.tab.assert_clean()


async def test_a_full_disk_is_told_once_and_loses_no_chat_of_this_page(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("Stored before")
        await chat.kept("Hello wörld")
        await chat.page.evaluate(FULL)
        await chat.page.get_by_role("link", name="New chat").click()
        await chat.ask("Not stored")
        await expect(chat.page.locator("#toast")).to_have_text(NOTICE)
        await chat.ended()
        titles = chat.page.locator(".chat-title")
        await expect(titles).to_have_text(["Not stored", "Stored before"])
        await titles.last.click()
        await expect(chat.question).to_contain_text("Stored before")
        await titles.first.click()
        await expect(chat.question).to_contain_text("Not stored")
        await chat.page.evaluate("emptied()")  # there is room again
        await chat.asked("And on")
        await expect(chat.page.locator("#not-kept")).to_be_hidden()
        await chat.page.reload()
        await expect(chat.page.locator("article.user .said")).to_have_text(["Not stored", "And on"])
        chat.tab.assert_clean()


async def test_the_gateway_stores_nothing_of_a_chat(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked()
        async with ClientSession() as http, http.delete(f"{started.base_url}/responses") as got:
            assert (await got.json())["deleted"] == 0  # of what was stored
