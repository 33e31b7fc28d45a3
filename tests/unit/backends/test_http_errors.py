"""How the outgoing transport names what goes wrong: cut, nonsense, nobody there, TLS. On both event loops."""

import asyncio
import gc
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from backends.errors import BackendError, DeadlineExceeded, ProtocolViolation, StreamBroken, Unreachable
from backends.http import Transport
from backends.http_connection import BODY_LIMIT, HEAD_LIMIT, Exchange
from tests.upstream import CLOSE, HOLD, RESET, Step, Upstream, chunk, plain, until

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PEM = Path(__file__).parents[2] / "localhost.pem"  # a self-signed certificate for localhost, and its key


async def fetch(transport: Transport, upstream: Upstream) -> bytes:
    async with transport.request("POST", f"{upstream.url}/x", {}, b"{}") as response:
        return await response.read()


async def reads(response: Exchange, error: type[BackendError]) -> bytes:
    """What can be read before `error`."""
    found = b""
    with pytest.raises(error):  # noqa: PT012
        async for data in response:
            found += data
    return found


CUTS: dict[str, list[Step]] = {
    "content-length": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", CLOSE],
    "chunked": [CHUNKED + chunk(b"hello"), CLOSE],
    "in a chunk": [CHUNKED + chunk(b"hello!")[:-3], CLOSE],
    "a reset": [CHUNKED + chunk(b"hello"), RESET],
    "a reset without framing": [b"HTTP/1.1 200 OK\r\n\r\nhello", RESET],
}


@pytest.mark.parametrize("script", CUTS.values(), ids=CUTS)
async def test_a_body_cut_short_is_a_broken_stream(transport: Transport, script: list[Step]) -> None:
    taken = asyncio.Event()
    async with (
        Upstream([script[0], taken, script[1]]) as upstream,
        transport.request("GET", upstream.url, {}) as response,
    ):
        begun = await anext(response)
        taken.set()
        assert begun + await reads(response, StreamBroken) in (b"hello", b"hello!"[:5])


async def test_what_came_before_the_cut_is_read_first(transport: Transport) -> None:
    async with (
        Upstream([CHUNKED + chunk(b"hello"), CLOSE]) as upstream,
        transport.request("GET", upstream.url, {}) as response,
    ):
        await until(lambda: upstream.idle() == 0)
        assert await reads(response, StreamBroken) == b"hello"


@pytest.mark.parametrize("script", [[CLOSE], [RESET], [b"HTTP/1.1 200 OK\r\nx:", CLOSE]])
async def test_no_answer_at_all_is_a_broken_stream(transport: Transport, script: list[Step]) -> None:
    async with Upstream(script) as upstream:
        with pytest.raises(StreamBroken):
            await fetch(transport, upstream)


NONSENSE: dict[str, tuple[bytes, str]] = {
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
    "an upgrade": (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "not HTTP"),
    "two lengths": (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "not HTTP"),
    "a bad chunk": (CHUNKED + b"xyz\r\n", "not HTTP"),
    "a redirect": (b"HTTP/1.1 307 X\r\nlocation: http://elsewhere/\r\ncontent-length: 1\r\n\r\n", "redirect.*base_url"),
    "compression": (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nx", "compressed"),
    "a long head": (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * HEAD_LIMIT, "head longer"),
    "a long header": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2 * HEAD_LIMIT, "head longer"),
    "endless interim answers": (b"HTTP/1.1 100 Continue\r\n\r\n" * HEAD_LIMIT, "head longer"),
    "endless trailers": (CHUNKED + b"0\r\n" + b"x: y\r\n" * HEAD_LIMIT, "head longer"),
    "a long body": (CHUNKED + chunk(bytes(BODY_LIMIT + 1)), "longer than 1048576 bytes"),
}


@pytest.mark.parametrize(("nonsense", "what"), NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_is_a_violation_and_ends_the_connection(
    transport: Transport, nonsense: bytes, what: str
) -> None:
    async with Upstream([nonsense, HOLD]) as upstream:
        with pytest.raises(ProtocolViolation, match=what):
            await fetch(transport, upstream)
        await until(lambda: upstream.idle() == 0)


async def test_nobody_there(transport: Transport) -> None:
    async with Upstream() as upstream:
        pass
    with pytest.raises(Unreachable, match="connection refused"):
        await fetch(transport, upstream)
    upstream.url = f"http://localhost:{upstream.port}"  # both addresses of a name
    with pytest.raises(Unreachable, match="connection refused"):
        await fetch(transport, upstream)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70])
async def test_a_name_that_is_unknown(transport: Transport, host: str) -> None:
    with pytest.raises(Unreachable, match="name not found"):
        await transport.request("GET", f"http://{host}/", {}).__aenter__()


@pytest.mark.parametrize(
    ("url", "headers"),
    [("ftp://x/", {}), ("http:///x", {}), ("http://x/", {"a": "b\r\nc: d"}), ("http://x/", {"a\n": "b"})],
)
async def test_what_cannot_be_sent(transport: Transport, url: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected|line break"):
        transport.request("GET", url, headers)


# TLS.


@pytest.fixture
def context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


async def test_tls(context: ssl.SSLContext) -> None:
    transport = Transport(tls=ssl.create_default_context(cafile=str(PEM)))
    async with Upstream(default=lambda _: plain(200, b"secret"), tls=context) as upstream:
        for _ in range(2):
            async with transport.request("GET", f"https://localhost:{upstream.port}/", {}) as response:
                assert await response.read() == b"secret"
        assert upstream.connections == 1
        with pytest.raises(Unreachable, match="TLS: its certificate is for another"):
            await transport.request("GET", f"https://127.0.0.1:{upstream.port}/", {}).__aenter__()
        transport.close()
        await until(lambda: upstream.idle() == 0)


async def test_an_unknown_authority_is_not_trusted(context: ssl.SSLContext, transport: Transport) -> None:
    async with Upstream(tls=context) as upstream:
        with pytest.raises(Unreachable, match="TLS: its certificate is signed by itself"):
            await transport.request("GET", f"https://localhost:{upstream.port}/", {}).__aenter__()
        assert upstream.requests == []


async def test_a_server_that_speaks_no_tls(transport: Transport) -> None:
    async with Upstream(eager=b"HTTP/1.1 400 Bad Request\r\n\r\n") as upstream:
        with pytest.raises(Unreachable, match="TLS: no handshake"):
            await transport.request("GET", f"https://127.0.0.1:{upstream.port}/", {}).__aenter__()


async def test_a_connection_that_is_not_made_in_time() -> None:
    transport = Transport(connect_deadline=0.05)
    async with Upstream() as upstream:  # it waits for a request; the client waits for its handshake
        with pytest.raises(DeadlineExceeded, match=r"connect deadline of 0.05 s"):
            await transport.request("GET", f"https://127.0.0.1:{upstream.port}/", {}).__aenter__()
        await until(lambda: upstream.idle() == 0)
    transport.close()


async def test_a_look_up_that_is_cut_short_leaves_nothing_to_report(transport: Transport) -> None:
    loop, reported = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: reported.append(context["message"]))

    async def asked() -> None:
        async with transport.request("GET", "http://nowhere.invalid/", {}, b""):
            pass

    for _ in range(5):
        asking = asyncio.create_task(asked())
        await asyncio.sleep(0)  # it has begun: the name is looked up in a thread
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        with suppress(socket.gaierror):  # by when the one before has most likely failed too
            await loop.getaddrinfo("nowhere.invalid", 80)
    await asyncio.sleep(0)
    del asking
    gc.collect()
    assert reported == []
