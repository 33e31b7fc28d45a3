"""What a browser needs to come in: tickets, a key as a subprotocol, and answers that its page may read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

from backends.fake import FakeBackend
from proxy.edge.guard import OPEN
from tests.gateway import Gateway, answers, client, connected, gateway, process, text_of

KEY = "sk-sl-aaaaaaaaaaaaaaaa"
BEARER = {"Authorization": f"Bearer {KEY}"}
PAGE = "https://chat.example"
GUARDED = f'server.api_keys = ["{KEY}"]\nserver.allowed_origins = ["{PAGE}"]\n'
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(GUARDED, [answers()]) as started:
        yield started


async def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers) as got:
        text = await got.text()
        return got.status, json.loads(text) if text else None, got.headers


async def ticket_of(base_url: str, **headers: str) -> str:
    status, body, got = await ask(f"{base_url}/ws-tickets", "POST", **headers)
    assert (status, body["object"], body["expires_in"], got["Cache-Control"]) == (200, "ws_ticket", 30, "no-store")
    return str(body["ticket"])


async def refusal(connecting: Any) -> tuple[int, str, str]:
    """The status, code and sentence with which an upgrade was refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with connecting:
            pass
    response = refused.value.response
    error = json.loads(response.body)["error"]
    return response.status_code, error["code"], error["message"]


def with_ticket(base_url: str, ticket: str, **options: Any) -> Any:
    return connected(base_url, query=f"?ticket={ticket}", **options)


async def test_a_ticket_opens_one_socket(running: Gateway) -> None:
    ticket = await ticket_of(running.base_url, **BEARER)
    async with with_ticket(running.base_url, ticket) as socket:
        await socket.create()
        assert text_of(await socket.until()) == "Hello wörld"
    again = await refusal(with_ticket(running.base_url, ticket))
    assert again[:2] == (401, "invalid_ticket")
    assert "POST /v1/ws-tickets" in again[2]


@pytest.mark.parametrize("ticket", ["", "x", "%ff%00", "a" * 5000])
async def test_what_is_no_ticket_opens_nothing_even_beside_a_good_key(running: Gateway, ticket: str) -> None:
    connecting = with_ticket(running.base_url, ticket, additional_headers=BEARER)
    assert (await refusal(connecting))[:2] == (401, "invalid_ticket")


async def test_a_ticket_counts_before_the_header_that_a_browser_sends_to_a_proxy(running: Gateway) -> None:
    ticket = await ticket_of(running.base_url, **BEARER)
    async with with_ticket(running.base_url, ticket, additional_headers={"Authorization": "Basic YTpi"}) as socket:
        await socket.create()
        assert text_of(await socket.until()) == "Hello wörld"


async def test_a_ticket_needs_the_key_and_opens_the_socket_only(running: Gateway) -> None:
    for headers in ({}, {"Authorization": "Bearer sk-sl-wrong"}):
        status, body, _ = await ask(f"{running.base_url}/ws-tickets", "POST", **headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    ticket = await ticket_of(running.base_url, **BEARER)
    assert (await ask(f"{running.base_url}/models?ticket={ticket}"))[0] == 401


async def test_where_no_key_is_needed_a_ticket_works_all_the_same() -> None:
    async with gateway(backends=[answers()]) as started:
        async with with_ticket(started.base_url, await ticket_of(started.base_url)) as socket:
            await socket.create()
            assert text_of(await socket.until()) == "Hello wörld"


async def test_a_ticket_of_a_page_elsewhere_is_not_enough(running: Gateway) -> None:
    ticket = await ticket_of(running.base_url, **BEARER)
    assert (await refusal(with_ticket(running.base_url, ticket, origin="https://evil.example")))[0] == 403
    async with with_ticket(running.base_url, ticket, origin=PAGE) as socket:
        assert socket.connection.response.status_code == 101


async def test_the_key_as_a_subprotocol_never_comes_back(running: Gateway) -> None:
    secret = f"openai-insecure-api-key.{KEY}"
    for offered, chosen in (
        ([secret, "streamlane.v1"], "streamlane.v1"),
        (["realtime", secret, "openai-insecure-other.x", "streamlane.v1"], "realtime"),
    ):
        async with client(running, subprotocols=offered) as socket:
            assert socket.connection.subprotocol == chosen
            assert KEY not in str(socket.connection.response.headers)
            await socket.create()
            assert text_of(await socket.until()) == "Hello wörld"
    wrong = client(running, subprotocols=[secret + "x", "realtime"])
    assert (await refusal(wrong))[:2] == (401, "invalid_api_key")
    alone = await refusal(client(running, subprotocols=[secret]))
    assert alone[:2] == (400, "invalid_parameter")
    assert "second subprotocol" in alone[2]
    assert KEY not in alone[2]


async def test_a_subprotocol_is_selected_also_without_a_key() -> None:
    """A browser drops a socket for which it offered some and none was selected."""
    async with gateway(backends=[answers()]) as started:
        async with client(started, subprotocols=["openai-beta.responses-v1"]) as socket:
            assert socket.connection.subprotocol == "openai-beta.responses-v1"


async def test_neither_tickets_nor_keys_reach_the_log() -> None:
    secret = f"openai-insecure-api-key.{KEY}"
    text = f'log.level = "debug"\n{GUARDED}[[backends]]\nname = "fake"\nkind = "fake"'
    async with process(text) as started:
        ticket = await ticket_of(started.base_url, **BEARER)
        async with with_ticket(started.base_url, ticket) as socket:
            await socket.create()
            await socket.until()
        for options in ({"subprotocols": [secret]}, {"subprotocols": [f"{secret}x", "a"]}, {"origin": "http://x"}):
            await refusal(with_ticket(started.base_url, ticket, **options))
            await refusal(connected(started.base_url, **{"subprotocols": [f"{secret}x"], **options}))
        started.process.terminate()
        await started.process.wait()
        log = started.stderr
    assert '"request"' in log
    assert ticket not in log
    assert KEY not in log


async def test_a_page_of_an_allowed_origin_may_ask_and_read() -> None:
    async with gateway(GUARDED, [FakeBackend("fake")]) as started:
        asked = {**PREFLIGHT, "Access-Control-Request-Headers": "authorization,x-stainless-os"}
        status, body, headers = await ask(f"{started.base_url}/ws-tickets", "OPTIONS", **asked)
        assert (status, body) == (204, None)
        assert headers["Access-Control-Allow-Origin"] == PAGE
        assert headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
        assert headers["Access-Control-Allow-Methods"] == "GET, POST, DELETE"
        for path, sent, status in (
            ("/models", {"Origin": PAGE, **BEARER}, 200),
            ("/models", {"Origin": PAGE}, 401),
            ("/nothing", {"Origin": PAGE, **BEARER}, 404),
        ):
            got, _, headers = await ask(started.base_url + path, **sent)
            assert (got, headers["Access-Control-Allow-Origin"]) == (status, PAGE)
            assert "Origin" in headers.getall("Vary")
            exposed = headers["Access-Control-Expose-Headers"]
            assert exposed == "Retry-After, X-Request-Id, X-Should-Retry, X-Streamlane-Route"
            assert "Access-Control-Allow-Credentials" not in headers


async def test_other_pages_may_neither_ask_nor_read() -> None:
    async with gateway(GUARDED, [FakeBackend("fake")]) as started:
        evil = {**PREFLIGHT, "Origin": "https://evil.example"}
        status, body, headers = await ask(f"{started.base_url}/models", "OPTIONS", **evil)
        assert (status, body["error"]["code"]) == (403, "origin_not_allowed")
        assert "Access-Control-Allow-Origin" not in headers
        ours = started.base_url.removesuffix("/v1")
        _, _, headers = await ask(f"{started.base_url}/models", Origin=ours, **BEARER)
        assert "Access-Control-Allow-Origin" not in headers
        assert "Origin" in headers.getall("Vary")


async def test_a_browser_that_keeps_our_client_from_a_page_leaves_a_line_for_the_operator() -> None:
    async with process('[[backends]]\nname = "f"\nkind = "fake"') as started:
        root = started.base_url.removesuffix("/v1")
        async with aiohttp.ClientSession() as session:
            for method, headers in (
                ("GET", {}),  # import … from "…/static/streamlane.js"
                ("OPTIONS", {"Access-Control-Request-Method": "POST"}),
            ):
                sent = {"Origin": "http://localhost:3000", **headers}
                async with session.request(method, f"{root}/static/streamlane.js", headers=sent) as got:
                    assert "Access-Control-Allow-Origin" not in got.headers
            async with session.get(f"{root}/static/streamlane.js", headers={"Origin": root}):
                pass  # our own page
            async with session.get(f"{root}/health/live", headers={"Host": "any.example"}):
                pass  # a probe
        lines = [json.loads(line) for line in started.stderr.splitlines()]
    refused = [line for line in lines if line["event"] == "refused"]
    assert [(line["code"], line["Origin"]) for line in refused] == [("origin_not_allowed", "http://localhost:3000")] * 2


async def test_a_preflights_odd_bytes_break_nothing(running: Gateway) -> None:
    host, port = running.base_url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"OPTIONS /v1/models HTTP/1.1\r\nHost: {host}", *(f"{name}: {value}" for name, value in PREFLIGHT.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\nAccess-Control-Request-Headers: \xff\xfe\r\n\r\n")
    assert b" 204 " in await reader.readline()
    writer.close()


async def test_these_routes_and_no_others_are_open_without_a_key() -> None:
    """Each open route tells nothing that a stranger may not know. A new one is a decision: it is listed here too."""
    reference = {"/docs", "/openapi.json", "/events.json"}
    assert {"/", "/static/{name}", "/health/live", "/health/ready", *reference} == OPEN
    async with gateway(GUARDED, [FakeBackend("fake")]) as started:
        root = started.base_url.removesuffix("/v1")
        for path in ("/", "/static/no-such-file", "/health/live", "/health/ready", *reference):
            async with aiohttp.ClientSession() as session, session.get(root + path) as got:
                assert got.status != 401, path
        for path in (
            "/v1",
            "/static",
            "/health",
            "/static/../v1/models",
            "//v1/models",
            "/v1/models/",
            "/v1/responses",
        ):
            assert (await ask(root + path))[0] == 401, path
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert (await ask(f"{root}/v1/models", method))[0] == 401, method
            assert (await ask(f"{root}/v1/ws-tickets", method))[0] == 401, method
