"""Lets pages of the allowed origins read our answers: the CORS protocol of the Fetch standard."""

from aiohttp import web

from proxy.edge.guard import Guard

SECONDS = 600  # that a browser may remember a preflight's answer
EXPOSED = "Retry-After, X-Request-Id, X-Should-Retry, X-Streamlane-Route"


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks if its page may send the real request. It sends no key with that."""
    return request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers


def preflight(request: web.Request) -> web.Response:
    """The answer to a page that may come in: any header, because SDKs send many of their own."""
    headers = {
        "Access-Control-Allow-Methods": "GET, POST, DELETE",
        "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
        "Access-Control-Max-Age": f"{SECONDS}",
    }
    return web.Response(status=204, headers={name: value for name, value in headers.items() if value})


def share(app: web.Application, guard: Guard) -> None:
    """Let each answer of `app` say which page may read it. Errors too: a page that cannot read them knows no reason."""

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if guard.origins:
            response.headers.add("Vary", "Origin")  # a cache must not give one origin's answer to another
        if (origin := request.headers.get("Origin")) and origin.lower() in guard.origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED

    app.on_response_prepare.append(prepare)
