"""The chat page on a phone: touched, and narrow."""

from tests.gateway import answers, gateway
from tests.integration.browser import BROWSER, PageAt
from tests.integration.chat_page import PHONE, Chat, expect

pytestmark = BROWSER


async def test_on_a_phone_enter_starts_a_line_and_the_list_is_a_drawer(page_at: PageAt) -> None:
    async with gateway(backends=[answers()]) as started:
        chat = Chat(await page_at(started, **PHONE))
        await expect(chat.page.get_by_text("answers here")).to_be_visible()
        await chat.box.fill("One line")
        await chat.box.press("Enter")
        await expect(chat.box).to_have_value("One line\n")
        await chat.button("Send").tap()
        await chat.ended()
        assert await chat.page.evaluate("document.documentElement.scrollWidth") == 360
        await expect(chat.page.get_by_role("link", name="New chat")).to_be_hidden()
        await chat.button("Chats").tap()
        await expect(chat.page.get_by_role("link", name="New chat")).to_be_visible()
        assert await chat.tab.axe() == []
        await chat.page.get_by_role("link", name="New chat").tap()
        await expect(chat.page.get_by_role("link", name="New chat")).to_be_hidden()
        await expect(chat.page.locator("article")).to_have_count(0)
        await expect(chat.page.get_by_role("status").filter(has_text="Connected")).to_have_attribute(
            "title", "Connected"
        )
        await chat.button("Chats").tap()
        await chat.page.keyboard.press("Escape")
        await expect(chat.page.get_by_role("link", name="New chat")).to_be_hidden()
        await chat.box.fill("The page can be used again")
        chat.tab.assert_clean()
