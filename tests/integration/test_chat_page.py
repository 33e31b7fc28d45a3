"""The chat page in Chromium, against a gateway: asking, stopping, branching, failing, and what is kept."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from backends.errors import ContextLengthExceeded, Overloaded, StreamBroken, Unreachable
from backends.events import Finished, ReasoningDelta, TextDelta, Usage
from backends.fake import FakeBackend
from backends.request import text_of
from tests.gateway import answers, gateway
from tests.integration.browser import BROWSER, PageAt, Tab
from tests.integration.chat_page import DONE, Chat, chat_at, expect, says
from tests.models import models_dir

KEY = "sk-a-key-for-the-page"
pytestmark = BROWSER


async def test_tokens_arrive_one_by_one(page_at: PageAt) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    script = [[TextDelta("One")], first, [TextDelta(" two")], second, [TextDelta(" three.")], [DONE]]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("One")
        await expect(chat.answer).to_have_attribute("aria-busy", "true")
        first.set()
        await expect(chat.answer.locator(".prose")).to_have_text("One two")
        second.set()
        await expect(chat.answer.locator(".prose")).to_have_text("One two three.")
        await chat.ended()
        await expect(chat.answer.locator(".speed")).to_have_text(re.compile(r"^first token [\d.]+ s · .*5 tokens$"))
        chat.tab.assert_clean()


@pytest.mark.parametrize("how", ["button", "Escape"])
async def test_stop_ends_the_generation_frees_the_slot_and_keeps_the_text(page_at: PageAt, how: str) -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Half an answer")], asyncio.Event()], slots=1)
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.locator(".prose")).to_have_text("Half an answer")
        if how == "button":
            await chat.button("Stop").click()
        else:
            await chat.page.keyboard.press("Escape")
        await chat.ended()
        await asyncio.wait_for(backend.left.wait(), 10)
        assert backend.open == 0
        await expect(chat.answer).to_contain_text("You stopped this answer.")
        await expect(chat.answer.locator(".prose")).to_have_text("Half an answer")
        backend.script = says("The rest.")  # the one slot is free
        await chat.button("Continue", chat.answer).click()
        await expect(chat.answer.locator(".prose")).to_have_text("The rest.")
        await expect(chat.button("Continue")).to_have_count(0)  # the first answer has gone on
        await expect(chat.page.locator(".speed").first).to_contain_text("about 1 token")
        roles = [message.role for message in backend.requests[-1].messages]
        assert roles == ["user", "assistant", "user"]
        chat.tab.assert_clean()


async def test_a_tab_that_was_closed_in_the_middle_of_an_answer_keeps_the_conversation(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("A **bold** answer."))
    async with gateway("session.detach_ttl = 0.5", [backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("Remember me")
        backend.script = [[TextDelta("Only half")], asyncio.Event()]
        await chat.ask("And this")
        await expect(chat.answer.locator(".prose")).to_have_text("Only half")
        await chat.kept("Only half")  # its first piece is stored at once
        context, address = chat.page.context, chat.page.url
        await chat.page.close()
        chat = Chat(Tab(await context.new_page(), chat.tab.origin))
        await chat.page.goto(address)
        await expect(chat.answer.locator(".prose")).to_have_text("Only half")
        await expect(chat.answer).to_contain_text("The answer broke off while this page, or its connection, was away.")
        await expect(chat.page.locator("article")).to_have_count(4)
        await expect(chat.page.locator("strong", has_text="bold")).to_be_visible()
        await expect(chat.page.get_by_role("link", name="Remember me")).to_have_attribute("aria-current", "page")
        await asyncio.wait_for(backend.left.wait(), 30)  # a while after the page was closed, the answer is stopped


async def test_regenerate_gives_a_second_version_and_both_stay(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("First."), models=["small", "large"])
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked()
        backend.script = says("Second.")
        await chat.button("Answer again", chat.answer).click()
        await expect(chat.answer.locator(".prose")).to_have_text("Second.")
        await chat.ended()
        backend.script = says("Third.")
        await chat.button("Answer again with another model", chat.answer).click()
        await chat.page.get_by_role("menuitem", name="large").click()
        await expect(chat.answer.locator(".prose")).to_have_text("Third.")
        await expect(chat.answer.get_by_role("heading", name="large")).to_be_visible()
        await expect(chat.answer.locator(".versions-count")).to_have_text("3/3")
        await chat.button("Previous version", chat.answer).click()
        await chat.button("Previous version", chat.answer).click()
        await expect(chat.answer.locator(".prose")).to_have_text("First.")
        await chat.page.reload()  # the choice is kept too
        await expect(chat.answer.locator(".versions-count")).to_have_text("1/3")
        await expect(chat.answer.locator(".prose")).to_have_text("First.")
        assert [request.model for request in backend.requests] == ["small", "small", "large"]
        chat.tab.assert_clean()


async def test_an_edit_is_a_branch_and_overwrites_nothing(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("To the first."))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("First question")
        await chat.asked("A follow-up")
        backend.script = says("To the second.")
        await chat.page.locator("article.user").first.get_by_role("button", name="Edit").click()
        editor = chat.page.get_by_role("textbox", name="Edit your message")
        await expect(editor).to_have_value("First question")
        await editor.fill("Second question")
        await editor.press("Enter")
        await expect(chat.answer.locator(".prose")).to_have_text("To the second.")
        await expect(chat.page.locator("article")).to_have_count(2)
        assert [text_of(message.parts) for message in backend.requests[-1].messages] == ["Second question"]
        await chat.button("Previous version", chat.question).click()
        await expect(chat.page.locator("article")).to_have_count(4)
        await expect(chat.page.locator("article.user").first).to_contain_text("First question")
        await chat.box.press("ArrowUp")  # the last question, from an empty box
        await expect(editor).to_have_value("A follow-up")
        await editor.press("Escape")
        await expect(editor).to_have_count(0)
        chat.tab.assert_clean()


async def test_an_error_says_what_to_do_and_retry_uses_the_same_place(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=[Unreachable("refused")])
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("Do not lose me")
        problem = chat.answer.locator(".problem")
        await expect(problem).to_contain_text("The model's server does not answer.")
        await expect(problem.locator("code")).to_have_text("backend_unreachable")
        await expect(chat.question).to_contain_text("Do not lose me")
        assert await chat.tab.axe() == []
        backend.script = says("Here I am.")
        await chat.button("Retry", chat.answer).click()
        await expect(chat.answer.locator(".prose")).to_have_text("Here I am.")
        await expect(chat.page.locator("article")).to_have_count(2)
        await expect(chat.answer.locator(".versions")).to_have_count(0)
        chat.tab.assert_clean()


async def test_a_retry_in_the_middle_stays_in_the_middle(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=[Unreachable("refused")])
    async with gateway("deadlines.drain = 0.1", [backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("First")
        backend.script = says("To both.")
        await chat.asked("Second")
        backend.script = [[TextDelta("At ")], asyncio.Event()]
        await chat.button("Retry").click()
        said = chat.page.locator("article :is(.said, .prose)")
        await expect(said).to_have_text(["First", "At", "Second", "To both."])
        await chat.kept("At ")  # though a failure is stored in its place
        await chat.page.reload()
        await expect(said).to_have_text(["First", "At", "Second", "To both."])
        chat.tab.assert_clean()


async def test_an_answer_that_breaks_off_keeps_its_text(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=[[TextDelta("So far, ")], StreamBroken()])
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked()
        await expect(chat.answer.locator(".prose")).to_have_text("So far,")
        await expect(chat.answer.locator(".problem code")).to_have_text("backend_stream_broken")
        backend.script = says("so good.")
        await chat.button("Continue", chat.answer).click()
        await expect(chat.answer.locator(".prose")).to_have_text("so good.")
        assert [text_of(message.parts) for message in backend.requests[-1].messages][1] == "So far, "


async def test_a_gateway_that_restarts_is_found_again_and_nothing_is_lost(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Half")], asyncio.Event()])
    async with gateway("deadlines.drain = 0.1", [backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask("My question")
        await expect(chat.answer.locator(".prose")).to_have_text("Half")
    await chat.ended()
    await expect(chat.page.locator("#connection")).to_contain_text("Reconnecting")
    await expect(chat.question).to_contain_text("My question")
    await chat.ask("Meanwhile")  # waits for the connection
    await expect(chat.answer.locator(".waiting")).to_have_text("Waiting for the connection…")
    async with gateway(f"server.port = {started.base_url.split(':')[-1].split('/')[0]}", [answers()]):
        await expect(chat.answer.locator(".prose")).to_have_text("Hello wörld")
        await chat.ready()


async def test_a_busy_model_offers_another_one(page_at: PageAt) -> None:
    busy, free = FakeBackend("busy", script=[Overloaded()], models=["a"]), FakeBackend("free", models=["b"])
    async with gateway(backends=[busy, free]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked()
        await chat.button("Other model", chat.answer).click()
        await chat.page.get_by_role("menuitem", name="b", exact=True).click()
        await expect(chat.answer.locator(".prose")).to_contain_text("Hello!")


async def test_settings_reach_the_model_and_a_cut_answer_can_go_on(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("Cut", end=Finished("length", Usage(3, 1))))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.button("Settings").click()
        await chat.page.get_by_label("System prompt").fill("Be brief.")
        await chat.page.get_by_label("Temperature").fill("0.5")
        await chat.page.get_by_label("Longest answer, in tokens").fill("1")
        await chat.button("Done").click()
        await chat.asked()
        await expect(chat.answer).to_contain_text("The answer reached its longest allowed length.")
        request = backend.requests[0]
        assert [message.role for message in request.messages] == ["system", "user"]
        assert (text_of(request.messages[0].parts), request.max_output_tokens, request.sampling.temperature) == (
            "Be brief.",
            1,
            0.5,
        )
        await chat.button("Continue", chat.answer).click()
        await expect(chat.page.locator("article")).to_have_count(4)
        await chat.page.reload()  # settings belong to the conversation
        await chat.button("Settings").click()
        await expect(chat.page.get_by_label("System prompt")).to_have_value("Be brief.")


async def test_a_conversation_that_is_too_long_offers_a_new_one(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=[ContextLengthExceeded(9000, 2048)])
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("Much too long")
        await chat.button("New chat", chat.answer).click()
        await expect(chat.page.locator("article")).to_have_count(0)
        await expect(chat.box).to_be_focused()


async def test_reasoning_is_folded_away(page_at: PageAt) -> None:
    script = [[ReasoningDelta("Let me see. ")], [ReasoningDelta("Yes.")], *says("It is so.")]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked()
        await expect(chat.answer.locator(".prose")).to_have_text("It is so.")
        thoughts = chat.answer.get_by_text("Let me see. Yes.")
        await expect(thoughts).to_be_hidden()
        await chat.answer.get_by_text("Thought for").click()
        await expect(thoughts).to_be_visible()


async def test_who_waits_is_told_its_place(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("local", script=[[TextDelta("Busy")], gate, [DONE]], slots=1)
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask("the first")
        await expect(chat.answer.locator(".prose")).to_have_text("Busy")
        await chat.page.keyboard.press("Control+k")
        await chat.ask("the second")
        await expect(chat.answer.locator(".waiting")).to_have_text("1 ahead of you at local")
        await expect(chat.page.locator(".chat-running")).to_have_count(2)  # two chats answer at the same time
        gate.set()
        await chat.ended()
        await expect(chat.answer.locator(".prose")).to_have_text("Busy")


async def test_sign_in_with_a_key_for_this_tab_or_this_device(page_at: PageAt) -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started:
        chat = Chat(await page_at(started))
        await expect(chat.page.get_by_role("dialog", name="Sign in")).to_be_visible()
        assert await chat.tab.axe() == []
        key = chat.page.get_by_label("Key", exact=True)
        await key.fill("sk-wrong")
        await chat.button("Sign in").click()
        await expect(chat.page.get_by_role("alert")).to_have_text(
            "This key was not accepted. Check that it is complete."
        )
        await key.fill(KEY)
        await key.press("Enter")
        await chat.ready()
        await chat.asked()
        await expect(chat.answer.locator(".prose")).to_have_text("Hello wörld")
        assert await chat.page.evaluate(
            "[sessionStorage, localStorage].map((kept) => kept.getItem('streamlane-key'))"
        ) == [
            KEY,
            None,
        ]
        await chat.button("Settings").click()
        await chat.button("Sign out").click()
        await expect(chat.page.get_by_role("dialog", name="Sign in")).to_be_visible()
        await chat.page.get_by_label("Remember on this device").check()
        await key.fill(KEY)
        await chat.button("Sign in").click()
        await chat.ready()
        other_tab = await chat.page.context.new_page()
        await other_tab.goto("/")
        await expect(other_tab.locator("#connection")).to_have_text("Connected")
        assert not any(KEY in url for url in chat.tab.requests)
        assert chat.tab.foreign == []


async def test_what_one_sees_without_a_model_and_without_a_gateway(page_at: PageAt) -> None:
    async with gateway() as started:
        chat = Chat(await page_at(started))
        await expect(chat.page.get_by_role("heading", name="No model is here yet")).to_be_visible()
        await expect(chat.page.get_by_text("streamlane models pull")).to_be_visible()
        await expect(chat.button("Send")).to_be_disabled()
        assert await chat.tab.axe() == []
        await chat.box.fill("A draft")
    await chat.button("Look again").click()
    await expect(chat.page.get_by_role("heading", name="The gateway does not answer")).to_be_visible()
    await expect(chat.page.locator("#connection")).to_contain_text("Reconnecting")
    await expect(chat.box).to_have_value("A draft")


async def test_chats_are_found_renamed_deleted_and_brought_back(page_at: PageAt, tmp_path: Path) -> None:
    backend = FakeBackend("fake", script=says("About the sea."))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("First topic")
        await chat.page.get_by_role("link", name="New chat").click()
        backend.script = says("About the hills.")
        await chat.asked("Second topic")
        titles = chat.page.locator(".chat-title")
        await expect(titles).to_have_text(["Second topic", "First topic"])
        search = chat.page.get_by_role("searchbox", name="Search chats")
        await search.fill("the SEA")
        await expect(titles).to_have_text(["First topic"])  # found in an answer
        await search.fill("")
        await chat.button("More on First topic").click()
        await chat.page.get_by_role("menuitem", name="Rename").click()
        await chat.page.get_by_role("textbox", name="New name").fill("Water")
        await chat.page.keyboard.press("Enter")
        await expect(titles).to_have_text(["Second topic", "Water"])
        await chat.button("More on Water").click()
        await chat.page.get_by_role("menuitem", name="Delete").click()
        await expect(titles).to_have_text(["Second topic"])
        await chat.button("Undo").click()
        await expect(titles).to_have_text(["Second topic", "Water"])
        await chat.button("Settings").click()
        async with chat.page.expect_download() as download:
            await chat.button("Export all").click()
        file = tmp_path / "chats.json"
        await (await download.value).save_as(file)
        assert {kept["title"] for kept in json.loads(file.read_text())["chats"]} == {"Second topic", "Water"}
        await chat.page.get_by_label("System prompt").fill("Of this chat")
        await chat.button("Delete all chats").click()
        await chat.button("Delete all").click()
        await expect(titles).to_have_count(0)
        await chat.button("Settings").click()
        await expect(chat.page.get_by_label("System prompt")).to_have_value("")
        async with chat.page.expect_file_chooser() as chooser:
            await chat.button("Import").click()
        await (await chooser.value).set_files(file)
        await chat.button("Done").click()
        await expect(titles).to_have_text(["Second topic", "Water"])
        await titles.last.click()
        await expect(chat.answer.locator(".prose")).to_have_text("About the sea.")
        chat.tab.assert_clean()


@pytest.mark.model
async def test_the_real_model_answers_on_the_page(page_at: PageAt) -> None:
    model = models_dir() / "smollm2.gguf"
    async with gateway(f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{model}"') as started:
        chat = await chat_at(page_at, started)
        await chat.button("Settings").click()
        await chat.page.get_by_label("Temperature").fill("0")
        await chat.button("Done").click()
        await chat.asked("What is the capital of France?")
        await expect(chat.answer.locator(".prose")).to_contain_text("Paris")
        await expect(chat.answer.locator(".speed")).to_have_text(re.compile(r"first token .* tok/s · \d+ tokens"))
        chat.tab.assert_clean()
