"""The page and the client as they are served: headers, kinds, caching, compression, and nothing beyond two folders."""

import gzip
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from proxy.edge.pages import MISSING, Pages
from tests.gateway import ROOT, answers, gateway
from tests.integration.browser import BROWSER, PageAt

VENDOR = ROOT / "clients" / "web" / "vendor"
KEY = "sk-a-key-for-the-pages"
FILES = {
    "web/index.html": "<!doctype html><title>Chat</title>",
    "web/app.css": "main { color: red }\n" * 100,
    "web/icon.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "web/app.webmanifest": "{}",
    "web/deep/tree.mjs": "export const one = 1\n",
    "web/notes.md": "Not for browsers.",
    "js/streamlane.js": "export const connect = () => 1\n",
    "js/package.json": "{}",
    "outside.txt": "Not for anybody.",
}


@pytest.fixture
def clients(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


class Browser:
    """Asks, and takes the answer as it came over the wire."""

    def __init__(self, session: aiohttp.ClientSession, origin: URL) -> None:
        self._session = session
        self._origin = origin

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        url = URL(f"{self._origin}{path}", encoded=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, url, headers=named) as response:
            return response.status, response.headers, await response.read()


@asynccontextmanager
async def served(clients: Path) -> AsyncIterator[Browser]:
    app = web.Application()
    app.add_routes(Pages(clients).routes())
    async with TestServer(app) as server, aiohttp.ClientSession(auto_decompress=False) as session:
        yield Browser(session, server.make_url("/").origin())


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [
        ("/", "web/index.html", "text/html; charset=utf-8"),
        ("/static/app.css", "web/app.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "web/icon.svg", "image/svg+xml"),
        ("/static/app.webmanifest", "web/app.webmanifest", "application/manifest+json"),
        ("/static/deep/tree.mjs", "web/deep/tree.mjs", "text/javascript; charset=utf-8"),
        ("/static/streamlane.js", "js/streamlane.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_a_file_is_served_as_what_it_is(clients: Path, path: str, file: str, kind: str) -> None:
    async with served(clients) as browser:
        status, headers, body = await browser.get(path, Accept_Encoding="identity")
        assert (status, headers["Content-Type"], body.decode()) == (200, kind, FILES[file])
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "camera=()" in headers["Permissions-Policy"]
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= {*policy}
        assert "unsafe" not in headers["Content-Security-Policy"]

        status, of_head, body = await browser.get(path, "HEAD", Accept_Encoding="identity")
        assert (status, body) == (200, b"")
        assert of_head["Content-Length"] == headers["Content-Length"]


async def test_what_is_compressed_is_the_same_file(clients: Path) -> None:
    async with served(clients) as browser:
        for accepted in ("gzip", "br, gzip;q=0.5", "deflate, GZIP"):
            _, headers, body = await browser.get("/static/app.css", Accept_Encoding=accepted)
            assert headers["Content-Encoding"] == "gzip"
            assert headers["Vary"] == "Accept-Encoding"
            assert gzip.decompress(body).decode() == FILES["web/app.css"]
        for accepted in ("identity", "br", "gzip;q=0", "gzip; q=0.0, br"):
            _, headers, body = await browser.get("/static/app.css", Accept_Encoding=accepted)
            assert "Content-Encoding" not in headers
            assert body.decode() == FILES["web/app.css"]
        # What would only grow is left as it is.
        assert "Content-Encoding" not in (await browser.get("/static/app.webmanifest", Accept_Encoding="gzip"))[1]


async def test_a_browser_keeps_a_file_until_it_changes(clients: Path) -> None:
    async with served(clients) as browser:
        _, headers, _ = await browser.get("/static/app.css")
        assert headers["Cache-Control"] == "no-cache"
        kept = headers["ETag"]
        for given in (kept, f'"another", {kept}', "*"):
            status, headers, body = await browser.get("/static/app.css", If_None_Match=given)
            assert (status, headers["ETag"], body) == (304, kept, b"")
            assert "Content-Security-Policy" in headers
        (clients / "web" / "app.css").write_text("main { color: blue }")
        status, headers, body = await browser.get("/static/app.css", If_None_Match=kept, Accept_Encoding="identity")
        assert (status, body) == (200, b"main { color: blue }")
        assert headers["ETag"] != kept


@pytest.mark.parametrize(
    "path",
    [
        "/static/index.html",  # it is at /
        "/static/notes.md",
        "/static/package.json",
        "/static/deep",
        "/static/deep/",
        "/static/",
        "/static",
        "/static/../outside.txt",
        "/static/..%2foutside.txt",
        "/static/%2e%2e/outside.txt",
        "/static/..%5coutside.txt",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static//etc/passwd",
        "/static/app.css%00",
        "/static/" + "a" * 4000,
        "/index.html",
    ],
)
async def test_nothing_else_can_be_reached(clients: Path, path: str) -> None:
    async with served(clients) as browser:
        status, _, body = await browser.get(path)
        assert status == 404
        assert b"Not for" not in body
        assert b"root:" not in body


async def test_a_page_that_is_not_there_says_so(clients: Path) -> None:
    async with served(clients) as browser:
        assert (await browser.get("/"))[0] == 200
        (clients / "web" / "index.html").unlink()
        status, headers, body = await browser.get("/")
        assert (status, headers["Content-Type"], body.decode()) == (404, "text/plain; charset=utf-8", MISSING)
    async with served(clients / "nowhere") as browser:
        assert (await browser.get("/"))[2].decode() == MISSING
        assert (await browser.get("/static/streamlane.js"))[0] == 404


async def test_the_page_is_open_and_what_it_asks_for_is_not() -> None:
    async with gateway(f'server.api_keys = ["{KEY}"]', [answers()]) as started, aiohttp.ClientSession() as session:
        browser = Browser(session, URL(started.base_url).origin())
        for path in ("/", "/static/streamlane.js", "/static/vendor/smd.js"):
            assert (await browser.get(path))[0] == 200
        for path in ("/v1/models", "/v1/responses", "/static/../v1/models", "/static/..%2fv1/models"):
            status, _, body = await browser.get(path)
            assert status == (404 if "static" in path else 401)
            assert b"fake" not in body


def test_vendored_files_are_those_that_were_reviewed() -> None:
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in lines)
    found = {path.relative_to(VENDOR).as_posix(): path for path in VENDOR.rglob("*") if path.is_file()}
    del found["SHA256SUMS"]
    assert {name: sha256(path.read_bytes()).hexdigest() for name, path in found.items()} == sums, (
        "Vendored files are never edited: run scripts/vendor."
    )
    assert len([name for name in sums if name.startswith("licences/")]) == 3


def test_libraries_that_the_page_starts_with_stay_small() -> None:
    """The budget: 60 KiB compressed. Languages of the highlighter are fetched one by one, when they are needed."""
    started = [path for path in VENDOR.rglob("*js") if "languages" not in path.parts]
    assert sum(len(gzip.compress(path.read_bytes())) for path in started) < 60 * 1024


class TestInChromium:
    """Under the policy, in a real browser."""

    pytestmark = BROWSER

    async def test_vendored_modules_work_under_the_policy(self, page_at: PageAt) -> None:
        async with gateway(backends=[answers()]) as started:
            tab = await page_at(started, "/static/vendor/licences/idb-keyval.txt")
            got = await tab.page.evaluate(
                """async () => {
                    const load = name => import(`/static/vendor/${name}`)
                    const { parser, parser_write, parser_end, default_renderer } = await load('smd.js')
                    const root = document.createElement('div')
                    const writing = parser(default_renderer(root))
                    for (const part of ['# Hel', 'lo\\n\\nA **b', 'old** word.']) parser_write(writing, part)
                    parser_end(writing)
                    const { set, get } = await load('idb-keyval.js')
                    await set('name', { kept: true })
                    const hljs = (await load('highlight/core.min.js')).default
                    hljs.registerLanguage('python', (await load('highlight/languages/python.min.js')).default)
                    return {
                        smd: root.innerHTML,
                        idb: await get('name'),
                        hljs: hljs.highlight('def f(): pass', { language: 'python' }).value,
                    }
                }"""
            )
            assert got["smd"] == "<h1>Hello</h1><p>A <strong>bold</strong> word.</p>"
            assert got["idb"] == {"kept": True}
            assert '<span class="hljs-keyword">def</span>' in got["hljs"]
            assert not tab.violations
            assert not tab.foreign

    async def test_the_policy_refuses_what_a_page_should_not_do(self, page_at: PageAt) -> None:
        async with gateway(backends=[answers()]) as started:
            tab = await page_at(started, "/static/vendor/licences/idb-keyval.txt")
            done = await tab.page.evaluate(
                """async () => {
                    const script = document.createElement('script')
                    const isRefused = (act) => { try { act() } catch (error) { return error instanceof TypeError } }
                    const text = isRefused(() => (script.textContent = 'window.ran = true'))
                    const html = isRefused(() => (document.body.innerHTML = '<b>x</b>'))
                    script.append('window.ran = true')
                    document.body.append(script)
                    const imported = await import('http://localhost:9/a.mjs').then(() => true, () => false)
                    const loaded = await fetch('http://localhost:9/').then(() => true, () => false)
                    const image = new Image()
                    image.src = 'http://localhost:9/pixel.png'
                    await image.decode().catch(() => 0)
                    return { ran: window.ran ?? false, text, html, imported, loaded }
                }"""
            )
            assert done == {"ran": False, "text": True, "html": True, "imported": False, "loaded": False}
            refused = re.findall(r"directive:? .([a-z-]+)", "\n".join(tab.violations))
            assert {*refused} == {"script-src", "connect-src", "img-src"}
