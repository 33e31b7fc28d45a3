"""The reference as it is served: every route is in it, it opens without a key, and the page reads well everywhere."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import proxy.app
from proxy.edge.http import application
from proxy.reference.operations import OPERATIONS
from tests.gateway import Gateway, answers, gateway
from tests.integration.browser import BROWSER, PageAt

DOCUMENTS = {"/docs": "text/html", "/openapi.json": "application/json", "/events.json": "application/json"}


@asynccontextmanager
async def serving(text: str = "") -> AsyncIterator[tuple[Gateway, str]]:
    async with gateway(text, [answers()]) as started:
        yield started, started.base_url.removesuffix("/v1")


async def test_every_route_is_in_the_document_and_every_operation_is_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[web.Application] = []

    def noted(*arguments: Any) -> web.Application:
        made.append(application(*arguments))
        return made[-1]

    monkeypatch.setattr(proxy.app, "application", noted)
    async with serving() as (_, root), aiohttp.ClientSession() as session:
        [app] = made
        routes = {
            (route.method.lower(), route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None and route.method != "HEAD" and route.resource.canonical.startswith("/v1")
        }
        async with session.get(f"{root}/openapi.json") as got:
            document = await got.json()
    assert routes == {each.key for each in OPERATIONS}
    assert routes == {(method, path) for path, each in document["paths"].items() for method in each}


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_it_opens_without_a_key_and_is_kept(path: str) -> None:
    text = '[server]\napi_keys = ["sk-sl-a-key-that-nobody-has"]'
    async with serving(text) as (_, root), aiohttp.ClientSession() as session:
        async with session.get(root + path) as got:
            assert (got.status, got.content_type) == (200, DOCUMENTS[path])
            assert got.headers["Content-Encoding"] == "gzip"
            assert "default-src 'none'" in got.headers["Content-Security-Policy"]
            assert await got.read()
        async with session.get(root + path, headers={"If-None-Match": got.headers["ETag"]}) as again:
            assert (again.status, await again.read()) == (304, b"")


@BROWSER[0]
@BROWSER[1]
@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
async def test_the_page_is_for_everybody(page_at: PageAt, scheme: str, width: int) -> None:
    async with serving() as (started, _):
        tab = await page_at(started, "/docs", color_scheme=scheme, viewport={"width": width, "height": 800})
        assert await tab.page.get_by_role("heading", name="API of this gateway").is_visible()
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert json.dumps(await tab.axe()) == "[]"
        await tab.page.keyboard.press("Tab")
        await tab.page.keyboard.press("Enter")
        assert await tab.page.evaluate("document.activeElement.id") == "main"
        tab.assert_clean()


@BROWSER[0]
@BROWSER[1]
async def test_its_examples_can_be_copied_as_they_are(page_at: PageAt) -> None:
    async with serving() as (started, root):
        async with aiohttp.ClientSession() as session, session.get(f"{root}/v1/models") as got:
            model = (await got.json())["data"][0]["id"]
        tab = await page_at(started, "/docs", viewport={"width": 390, "height": 800})
        await tab.page.get_by_text(f'"model": "{model}"').wait_for()
        code = "".join(await tab.page.locator("#begin pre").all_inner_texts())
        assert code.count(root) == 2
        assert "localhost" not in code
        assert "MODEL" not in code
