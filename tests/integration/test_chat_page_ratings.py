"""The thumbs of the chat page: below whose answers they are, what they tell the gateway, and that all reach them."""

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.history.labels import Kept
from proxy.history.reading import reading
from tests.gateway import Gateway, gateway
from tests.integration.browser import BROWSER, PageAt
from tests.integration.chat_page import PHONE, Chat, chat_at, expect
from tests.integration.test_feedback import ROUTER

pytestmark = BROWSER


@asynccontextmanager
async def routing() -> AsyncIterator[tuple[Gateway, Path]]:
    """A gateway that chooses for `auto`, and its data directory."""
    with tempfile.TemporaryDirectory() as folder:
        async with gateway(f'data_dir = "{folder}"\n{ROUTER}') as started:
            yield started, Path(folder)


def kept(folder: Path) -> Sequence[Kept]:
    """Newest first."""
    with reading(folder) as file:
        return list(file.newest())


async def rated(chat: Chat, name: str) -> None:
    async with chat.page.expect_response(lambda response: "/v1/feedback" in response.url):
        await chat.button(name, chat.answer).click()


async def test_an_answer_that_the_gateway_chose_can_be_rated_also_on_a_phone(page_at: PageAt) -> None:
    async with routing() as (started, folder):
        chat = await chat_at(page_at, started, **PHONE)
        await chat.page.get_by_label("Model", exact=True).select_option("auto")
        await chat.box.fill("Write some code.")
        await chat.button("Send").click()
        await chat.ended()
        await expect(chat.answer.get_by_role("heading", level=2)).to_have_text("auto · large")
        good, bad = (chat.button(name, chat.answer) for name in ("Good answer", "Bad answer"))
        await rated(chat, "Good answer")
        await expect(good).to_have_attribute("aria-pressed", "true")
        await expect(good).to_be_focused()
        assert [row.rating for row in kept(folder)] == [1]
        await chat.page.reload()
        await expect(good).to_have_attribute("aria-pressed", "true")
        await rated(chat, "Bad answer")
        await expect(bad).to_have_attribute("aria-pressed", "true")
        await expect(good).to_have_attribute("aria-pressed", "false")
        assert await chat.tab.axe() == []
        assert await chat.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await chat.button("Ask another").click()
        await chat.page.get_by_role("menuitem", name="small").click()
        await expect(chat.answer.get_by_role("heading", level=2)).to_have_text("small")
        await chat.ended()
        await rated(chat, "Good answer")
        assert [(row.answered, row.rating, row.again) for row in kept(folder)] == [
            ("small/small", 1, None),
            ("large/large", -1, "small/small"),
        ]
        await rated(chat, "Good answer")
        assert [row.rating for row in kept(folder)] == [None, -1]
        chat.tab.assert_clean()


async def test_who_chose_the_model_is_not_asked_and_what_is_forgotten_is_told(page_at: PageAt) -> None:
    async with routing() as (started, _):
        chat = await chat_at(page_at, started)
        await chat.page.get_by_label("Model", exact=True).select_option("small")
        await chat.asked()
        await expect(chat.button("Good answer")).to_have_count(0)
        await chat.page.get_by_label("Model", exact=True).select_option("auto")
        await chat.asked("And now?")
        await expect(chat.button("Good answer")).to_have_count(1)
        await chat.page.evaluate("fetch('/v1/responses', {method: 'DELETE'})")
        await rated(chat, "Good answer")
        await expect(chat.page.get_by_text("cannot be rated any more")).to_be_visible()
        await expect(chat.button("Good answer")).to_have_attribute("aria-pressed", "false")
