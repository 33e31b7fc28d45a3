"""The JavaScript client in Chromium: in the gateway's own page, and in a page of another origin with a key."""

import asyncio
import re

from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.gateway import DONE, ROOT, answers, gateway
from tests.integration.browser import BROWSER, PageAt, Tab

pytestmark = BROWSER

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
MODULE = "/static/streamlane.js"  # a path of the gateway under the page's own policy, without the chat page
ASK = """async ({ options, text }) => {
  const { connect } = await import(options.module);
  window.client = connect(options);
  window.states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  window.answer = client.create({ model: "fake", input: text });
  window.deltas = [];
  window.read = (async () => {
    for await (const event of answer) if (event.type === "response.output_text.delta") deltas.push(event.delta);
  })();
}"""
FOREIGN = """async (url) => {
  const socket = new WebSocket(url);
  return new Promise((resolve) => (socket.onopen = socket.onclose = ({ type }) => resolve([type, socket.protocol])));
}"""


async def until(tab: Tab, holds: str) -> None:
    """Wait for an expression of the page. Playwright's own way needs eval(), which the policy forbids."""
    await tab.page.evaluate(f"(async () => {{ while (!({holds})) await new Promise((go) => setTimeout(go, 10)); }})()")


async def test_tokens_arrive_one_by_one_and_cancel_stops_them(page_at: PageAt) -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("Hel")], gate, [TextDelta("lo")], asyncio.Event(), DONE], slots=1)
    async with gateway(backends=[backend]) as started:
        tab = await page_at(started, path=MODULE)
        await tab.page.evaluate(ASK, {"options": {"module": MODULE}, "text": "hi"})
        await until(tab, "deltas.length === 1")
        gate.set()
        await until(tab, "deltas.join('') === 'Hello'")
        status = await tab.page.evaluate("answer.cancel(), read.then(() => answer.done).then(({ status }) => status)")
        assert status == "cancelled"
        assert backend.open == 0
        assert await tab.page.evaluate("client.state") == "open"
        assert await tab.page.evaluate("client.close(), states.map(({ state }) => state)") == [
            "connecting",
            "open",
            "closed",
        ]
        assert (tab.violations, tab.foreign) == ([], [])


async def test_a_page_elsewhere_comes_in_with_a_key_when_its_origin_is_allowed(page_at: PageAt) -> None:
    """Preflight, ticket and socket: all from a page of another origin."""
    async with gateway(backends=[answers()]) as elsewhere:
        page = elsewhere.base_url.removesuffix("/v1")
        text = f'server.api_keys = ["{KEY}"]\nserver.allowed_origins = ["{page}"]'
        async with gateway(text, [answers()]) as started:
            options = {
                "module": started.base_url.removesuffix("/v1") + MODULE,
                "baseURL": started.base_url,
                "apiKey": KEY,
            }
            tab = await page_at(elsewhere, path="/health/live")
            await tab.page.evaluate(ASK, {"options": options, "text": "hi"})
            await until(tab, "deltas.join('') === 'Hello wörld'")
            assert [model["id"] for model in await tab.page.evaluate("client.models()")] == ["fake"]
            socket = started.base_url.replace("http", "ws") + "/responses"
            assert await tab.page.evaluate(FOREIGN, socket) == ["close", ""]
            keyed = f'(url) => ({FOREIGN})(url, ["realtime"])'.replace(
                "new WebSocket(url)", f'new WebSocket(url, ["openai-insecure-api-key.{KEY}", "streamlane.v1"])'
            )
            assert await tab.page.evaluate(keyed, socket) == ["open", "streamlane.v1"]

            wrong = {**options, "apiKey": "sk-sl-wrong"}
            await tab.page.evaluate(ASK, {"options": wrong, "text": "hi"})
            await until(tab, "client.state === 'closed'")
            assert await tab.page.evaluate("states.at(-1).error.code") == "invalid_api_key"
        async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as closed:
            module = {"module": f"{page}{MODULE}", "baseURL": closed.base_url, "apiKey": KEY}
            await tab.page.evaluate(ASK, {"options": module, "text": "hi"})
            await until(tab, "client.state === 'waiting'")
            assert await tab.page.evaluate("states.at(-1).error.code") == "connection_failed"


async def test_the_readmes_example_answers_in_a_page_elsewhere(page_at: PageAt) -> None:
    """As it stands there, but for the address and the model."""
    example = re.findall(r"```js\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert "streamlane.js" in example
    async with gateway(backends=[answers()]) as elsewhere:
        origin = elsewhere.base_url.removesuffix("/v1")
        async with gateway(f'server.allowed_origins = ["{origin}"]', [answers()]) as started:
            tab = await page_at(elsewhere, path="/health/live")
            here = started.base_url.removesuffix("/v1")
            script = example.replace("http://127.0.0.1:8765", here).replace("smollm2", "fake")
            await tab.page.add_script_tag(content=script, type="module")
            await until(tab, "document.body.innerText.includes('Hello wörld')")
