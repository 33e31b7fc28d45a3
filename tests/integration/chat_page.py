"""What a person does on the chat page, in a few words, for the tests that do it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Locator, Page, expect

from backends.events import Event, Finished, TextDelta, Usage
from tests.gateway import Gateway
from tests.integration.browser import PageAt, Tab

PATIENCE = 30_000  # ms; a busy machine is no failure
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DONE = Finished("stop", Usage(input_tokens=7, output_tokens=5))

expect.set_options(timeout=PATIENCE)


def says(*texts: str, end: Event = DONE) -> list[Any]:
    """A script: each text as a batch of its own, then the end."""
    return [*([TextDelta(text)] for text in texts), [end]]


@dataclass
class Chat:
    """The page, by the names that a person or a screen reader finds its parts under."""

    tab: Tab

    @property
    def page(self) -> Page:
        return self.tab.page

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def answer(self) -> Locator:
        """The last answer."""
        return self.page.locator("article.assistant").last

    @property
    def question(self) -> Locator:
        return self.page.locator("article.user").last

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    async def ready(self) -> None:
        await expect(self.page.locator("#connection")).to_have_text("Connected")

    async def ask(self, text: str = "hi") -> None:
        await self.box.fill(text)
        await self.box.press("Enter")

    async def ended(self) -> None:
        """The last answer has an end."""
        await expect(self.answer).to_have_attribute("aria-busy", "false")

    async def asked(self, text: str = "hi") -> None:
        await self.ask(text)
        await expect(self.question).to_contain_text(text)
        await self.ended()

    async def stored(self) -> dict[str, Any]:
        """The conversation that is open, as it is kept in the browser."""
        chat: dict[str, Any] = await self.page.evaluate(
            """async () => {
                const database = await new Promise((resolve) => {
                    const request = indexedDB.open("streamlane");
                    request.onsuccess = () => resolve(request.result);
                });
                const key = "chat/" + location.hash.slice(1);
                return new Promise((resolve) => {
                    const request = database.transaction("chats").objectStore("chats").get(key);
                    request.onsuccess = () => resolve(request.result);
                });
            }"""
        )
        return chat

    async def kept(self, text: str) -> None:
        """Wait until a message of this text is stored. IndexedDB tells nobody, so it is asked again and again."""
        async with asyncio.timeout(PATIENCE / 1000):
            while not any(node["text"] == text for node in ((await self.stored()) or {"nodes": {}})["nodes"].values()):
                await asyncio.sleep(0.02)


async def chat_at(page_at: PageAt, started: Gateway, **options: Any) -> Chat:
    """The page of this gateway, connected."""
    chat = Chat(await page_at(started, **options))
    await chat.ready()
    return chat
