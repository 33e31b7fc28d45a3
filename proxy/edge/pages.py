"""The chat page and the JavaScript client: files of two folders, read when first asked for, under a strict policy."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from aiohttp import ETag, web

KINDS = MappingProxyType(  # a file of any other kind is not served
    {
        ".css": "text/css",
        ".html": "text/html",
        ".ico": "image/x-icon",
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".txt": "text/plain",
        ".webmanifest": "application/manifest+json",
    }
)
HEADERS = MappingProxyType(
    {
        # Nothing from elsewhere and nothing inline: what a model writes cannot become code, and cannot call home.
        # Trusted types: nor can any code of ours turn a string into HTML or a script.
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        # Kept, but asked about each time: after an upgrade nobody sees old modules among new ones.
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }
)
MISSING = "The files of the chat page are not installed. Install streamlane again. The API is under /v1.\n"
INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is sent. `gzipped` is None where compression saves nothing."""

    version: tuple[int, int]
    kind: str
    etag: str
    body: bytes
    gzipped: bytes | None


class Pages:
    """Answers `/` and `/static/…`. A file that changes is read again; a new one is found after a restart."""

    def __init__(self, clients: Path) -> None:
        """`clients` holds the folders web and js."""
        self._clients = clients
        self._paths: Mapping[str, Path] | None = None
        self._pages: dict[Path, Page] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self.index), web.get("/static/{name:.+}", self.static)]

    async def index(self, request: web.Request) -> web.Response:
        """The chat page, or one sentence where it is not installed."""
        page = self._page(INDEX)
        return answer(request, page) if page else web.Response(status=404, text=MISSING)

    async def static(self, request: web.Request) -> web.Response:
        """A file of the page, or the client. Raises HTTPNotFound."""
        name = request.match_info["name"]
        page = None if name == INDEX else self._page(name)
        if page is None:
            raise web.HTTPNotFound
        return answer(request, page)

    def _page(self, name: str) -> Page | None:
        # A name is looked up, never joined to a folder: what is not in the listing cannot be reached.
        if self._paths is None:
            self._paths = listing(self._clients)
        path = self._paths.get(name)
        return None if path is None else self._read(path)

    def _read(self, path: Path) -> Page | None:
        try:
            stat = path.stat()
            version = stat.st_mtime_ns, stat.st_size
            known = self._pages.get(path)
            if known is None or known.version != version:  # small files: a few milliseconds, once
                known = self._pages[path] = page_of(path, version)
        except OSError:  # removed since it was listed
            return None
        return known


def clients_dir() -> Path:
    """Where the clients are: in the package when it was built into a wheel, else at the root of the checkout."""
    package = Path(__file__).resolve().parents[1]
    built = package / "clients"
    return built if built.is_dir() else package.parent / "clients"


def listing(clients: Path) -> Mapping[str, Path]:
    """Every file that may be served, by its name under /static/."""
    web_dir, script = clients / "web", clients / "js" / "streamlane.js"
    found = {path.relative_to(web_dir).as_posix(): path for path in web_dir.rglob("*") if path.suffix in KINDS}
    return MappingProxyType({**found, script.name: script})


def page_of(path: Path, version: tuple[int, int]) -> Page:
    """Reads a file. Raises OSError."""
    body = path.read_bytes()
    return Page(
        version=version,
        kind=KINDS[path.suffix],
        etag=sha256(body).hexdigest()[:32],
        body=body,
        gzipped=compressed(body),
    )


def compressed(body: bytes) -> bytes | None:
    """`body` with gzip, where that is shorter."""
    gzipped = gzip.compress(body, mtime=0)
    return gzipped if len(gzipped) < len(body) else None


def answer(request: web.Request, page: Page) -> web.Response:
    """The file, compressed for whom it may be, or 304 for whom has it."""
    response = web.Response(headers=HEADERS)
    response.etag = ETag(page.etag, is_weak=True)  # RFC 9110, 8.8.1: one validator for both encodings has to be weak
    if any(etag.value in (page.etag, "*") for etag in request.if_none_match or ()):
        response.set_status(304)
        return response
    response.content_type = page.kind
    if page.kind.startswith("text/"):
        response.charset = "utf-8"
    if page.gzipped is not None and accepts_gzip(request.headers.get("Accept-Encoding", "")):
        response.headers["Content-Encoding"] = "gzip"
        response.body = page.gzipped
    else:
        response.body = page.body
    return response


def accepts_gzip(header: str) -> bool:
    """Whether `Accept-Encoding: header` names gzip, with a weight above 0 (RFC 9110, 12.5.3)."""
    for choice in header.lower().split(","):
        coding, _, weight = choice.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
