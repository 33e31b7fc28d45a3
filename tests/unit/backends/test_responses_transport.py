"""The Responses API's socket on its way: verified TLS, a forward proxy, no redirects, and a key that no log shows."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request as Handshake
from websockets.http11 import Response

from backends.errors import BackendError, Unreachable
from backends.events import Event, Finished, TextDelta, Usage
from backends.forward_proxy import forward_proxy
from backends.http import Transport
from backends.json import dumps, loads
from backends.openai import OpenAI, Options
from backends.request import Request, said
from tests.forward_proxy import Proxy
from tests.providers.responses_words import Composed

PEM = Path(__file__).parents[2] / "localhost.pem"
KEY = "sk-canary-0123456789"
ASK = Request("fake", (said("user", "Hello"),), 100)


async def answer(connection: ServerConnection) -> None:
    async for message in connection:
        body = loads(message)
        composed = Composed(body)
        finished = Finished("stop", Usage(1, 1))
        for event in [*composed.begin(), *composed.event(TextDelta("Hi")), *composed.finish(finished)]:
            await connection.send(dumps(event | {"stream_id": body["stream_id"]}).decode())


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    async with serve(answer, "localhost", 0, ssl=context) as server:
        yield server


def url(server: Server, scheme: str = "https") -> str:
    return f"{scheme}://localhost:{next(iter(server.sockets)).getsockname()[1]}/v1"


async def told(base_url: str, **of_transport: Any) -> list[Event]:
    transport = Transport(**of_transport)
    options = Options(name="b", base_url=base_url, api_key=KEY, upstream="responses")
    backend = OpenAI(options, transport)
    await backend.start()
    async with AsyncExitStack() as stack:
        stack.callback(transport.close)
        stack.push_async_callback(backend.close)
        batches = await stack.enter_async_context(backend.stream(ASK))
        return [event async for batch in batches for event in batch]


def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(PEM))


async def test_tls_is_verified(server: Server) -> None:
    assert await told(url(server), tls=trusted()) == [TextDelta("Hi"), Finished("stop", Usage(1, 1))]
    with pytest.raises(Unreachable, match="certificate"):  # as HTTP says it, after the socket failed too
        await told(url(server))


@pytest.mark.parametrize("login", [None, "name:p4ss"])
async def test_it_goes_by_the_proxy(server: Server, login: str | None) -> None:
    async with Proxy(login) as proxy:
        by_proxy = forward_proxy(proxy.url)
        assert (await told(url(server), tls=trusted(), proxy=by_proxy))[0] == TextDelta("Hi")
        assert [line.split()[0] for line in proxy.seen] == ["CONNECT"]
        assert bool(login) is ("proxy-authorization: basic" in proxy.heads[0].lower())
        assert KEY not in proxy.heads[0]


async def test_no_redirect_is_followed() -> None:
    asked: list[str] = []

    def redirect(connection: ServerConnection, request: Handshake) -> Response:
        asked.append(request.path)
        response = connection.respond(HTTPStatus.TEMPORARY_REDIRECT, "")
        response.headers["location"] = "/elsewhere"
        return response

    async with serve(answer, "localhost", 0, process_request=redirect) as server:
        with pytest.raises(BackendError):  # HTTP is asked next, and this is no HTTP server
            await told(url(server, "http"))
    assert "/elsewhere" not in asked
    assert asked


async def test_the_key_is_in_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await told(url(server), tls=trusted())
    ours = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert KEY not in "".join(record.getMessage() for record in ours)
