"""Chromium for tests: one process per module, one clean profile per page, and a record of all that a page did.

    pytestmark = BROWSER

    async def test_something(page_at: PageAt) -> None:
        async with gateway(backends=[answers()]) as started:
            tab = await page_at(started)
            await tab.page.get_by_role("textbox").fill("hi")
            tab.assert_clean()

A browser outlives a test, and its connection belongs to one event loop: hence `loop_scope="module"` in BROWSER, for the
tests and for every asynchronous fixture that they use.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from proxy.app import Gateway

BROWSER = [pytest.mark.needs("chromium"), pytest.mark.asyncio(loop_scope="module")]
ARGUMENTS = [
    "--no-sandbox",  # in a container the tests are root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Whatever a page tries: nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"


@dataclass
class Tab:
    """A page, and what it did so far: errors on its console, and the URLs that it asked for, sockets included."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> list[str]:
        """Requests to anything but the gateway it was opened at. What needs no host (data:, blob:) is none."""
        ours = urlsplit(self.origin).netloc
        return [url for url in self.requests if urlsplit(url).netloc not in ("", ours)]

    @property
    def violations(self) -> list[str]:
        """What the content security policy refused."""
        return [error for error in self.errors if "Content Security Policy" in error]

    def assert_clean(self) -> None:
        """No error on the console, nothing refused by the policy, no request to another host."""
        assert not self.errors
        assert not self.foreign

    async def axe(self) -> list[dict[str, Any]]:
        """What axe-core holds against the page as it stands: each rule broken, and where."""
        await self.page.evaluate(axe_source())
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            {
                "rule": rule["id"],
                "help": rule["help"],
                "where": [f"{node['target']}: {node['failureSummary']}" for node in rule["nodes"]],
            }
            for rule in found["violations"]
        ]


PageAt: TypeAlias = Callable[..., Awaitable[Tab]]


@cache
def axe_source() -> str:
    return AXE.read_text(encoding="utf-8")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium without a window."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page_at(browser: Browser) -> AsyncIterator[PageAt]:
    """`await page_at(gateway, path="/", **options)`: a new profile with one page, loaded. `options` are playwright's
    for a context: viewport, color_scheme, storage_state and so on. Two pages of one profile: `tab.page.context`.
    """
    async with AsyncExitStack() as stack:

        async def opened(started: Gateway, path: str = "/", **options: Any) -> Tab:
            origin = started.base_url.removesuffix("/v1")
            context = await browser.new_context(base_url=origin, **options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(30_000)
            tab = Tab(await context.new_page(), origin)
            watch(tab)
            await tab.page.goto(path)
            return tab

        yield opened


def watch(tab: Tab) -> None:
    """Record from now on."""

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            tab.errors.append(f"{message.text} ({message.location.get('url', '')})")

    context = tab.page.context
    context.on("console", said)
    context.on("weberror", lambda error: tab.errors.append(str(error.error)))
    context.on("request", lambda request: tab.requests.append(request.url))
    tab.page.on("websocket", lambda socket: tab.requests.append(socket.url))
