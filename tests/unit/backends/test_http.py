"""The outgoing transport at work, against a server that says exactly what it is told to. On both event loops."""

import asyncio
import socket
from contextlib import suppress

import pytest

from backends import http_connection
from backends.errors import Overloaded, StreamBroken
from backends.http import Transport
from backends.http_connect import Connector, Origin
from backends.http_connection import Connection, keep_alive
from backends.http_pool import Pool
from tests.upstream import CLOSE, HOLD, LAST, Script, Seen, Step, Trickle, Upstream, chunk, plain, until

NOTICED = 0.25  # seconds in which a server must know that its client left
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def fetch(transport: Transport, upstream: Upstream) -> bytes:
    async with transport.request("POST", f"{upstream.url}/x", {}, b"{}") as response:
        return await response.read()


# What is sent and what comes back.


async def test_a_request_arrives_as_it_was_made(transport: Transport) -> None:
    async with Upstream(plain(201, b"yes", "X-Name: a value")) as upstream:
        headers = {"content-type": "application/json", "authorization": "Bearer k"}
        async with transport.request("POST", f"{upstream.url}/a/b?c=d", headers, b'{"e":1}') as response:
            assert response.status == 201
            assert response.headers["x-name"] == "a value"
            assert await response.read() == b"yes"
        [seen] = upstream.requests
        assert (seen.method, seen.path, seen.json()) == ("POST", "/v1/a/b?c=d", {"e": 1})
        assert seen.headers == {
            **headers,
            "host": f"127.0.0.1:{upstream.port}",
            "user-agent": "streamlane",
            "accept-encoding": "identity",
            "content-length": "7",
        }


BODIES = {
    "content-length": [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"],
    "chunked": [CHUNKED + chunk(b"hel") + chunk(b"lo") + LAST],
    "chunked, with trailers": [CHUNKED + chunk(b"hello") + b"0\r\nx-sum: 1\r\n\r\n"],
    "until the end": [b"HTTP/1.1 200 OK\r\n\r\nhello", CLOSE],
    "HTTP/1.0": [b"HTTP/1.0 200 OK\r\n\r\nhello", CLOSE],
    "after interim answers": [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: a\r\n\r\n",
        *plain(200, b"hello"),
    ],
    "in several writes": [CHUNKED, chunk(b"he"), chunk(b"llo")[:3], chunk(b"llo")[3:], LAST],
}


def trickled(script: list[Step]) -> list[Step]:
    return [Trickle(step) if isinstance(step, bytes) else step for step in script]


@pytest.mark.parametrize("script", BODIES.values(), ids=BODIES)
async def test_a_body_comes_whole_however_it_is_framed_and_split(transport: Transport, script: list[Step]) -> None:
    async with Upstream(script, trickled(script)) as upstream:
        assert await fetch(transport, upstream) == b"hello"
        assert await fetch(transport, upstream) == b"hello"


async def test_trailers_change_no_headers(transport: Transport) -> None:
    async with Upstream([CHUNKED + chunk(b"a") + b"0\r\nx-sum: 1\r\ntransfer-encoding: none\r\n\r\n"]) as upstream:
        async with transport.request("GET", upstream.url, {}) as response:
            assert await response.read() == b"a"
            assert response.headers == {"transfer-encoding": "chunked"}


async def test_an_answer_without_a_body(transport: Transport) -> None:
    async with Upstream([b"HTTP/1.1 204 No Content\r\n\r\n"]) as upstream:
        assert await fetch(transport, upstream) == b""


async def test_the_body_comes_as_it_arrives(transport: Transport) -> None:
    more = asyncio.Event()
    async with (
        Upstream([CHUNKED + chunk(b"a") + chunk(b"b"), more, chunk(b"c") + LAST]) as upstream,
        transport.request("GET", upstream.url, {}) as response,
    ):
        assert await anext(response) == b"ab"
        more.set()
        assert [data async for data in response] == [b"c"]


async def test_a_slow_reader_slows_its_server_and_loses_nothing(transport: Transport) -> None:
    block = chunk(bytes(2**16))
    async with (
        Upstream([CHUNKED, *[block] * 1024, LAST]) as upstream,
        transport.request("GET", upstream.url, {}) as response,
    ):
        seen = await upstream.seen(0)
        for _ in range(4000):
            await asyncio.sleep(0)
        assert not seen.done.is_set()
        assert sum([len(data) async for data in response]) == 2**26


# Which connection carries it.


async def test_a_connection_is_used_again(transport: Transport) -> None:
    async with Upstream() as upstream:
        for _ in range(3):
            await fetch(transport, upstream)
        assert upstream.connections == 1


async def test_requests_at_once_have_connections_of_their_own(transport: Transport) -> None:
    go = asyncio.Event()
    async with Upstream(default=lambda _: [go, *plain(200, b"x")]) as upstream:
        tasks = [asyncio.create_task(fetch(transport, upstream)) for _ in range(3)]
        await upstream.seen(2)
        go.set()
        assert await asyncio.gather(*tasks) == [b"x"] * 3
        assert upstream.connections == 3


ENDINGS: dict[str, list[Step]] = {
    "it says close": plain(200, b"x", "connection: close"),
    "it will close within a second": plain(200, b"x", "Keep-Alive: max=5, timeout=1"),
    "it closed": [*plain(200, b"x"), CLOSE],
    "it spoke unasked": [*plain(200, b"x"), b"HTTP/1.1 200 OK\r\n\r\n"],
    "it sent a second answer": [plain(200, b"x")[0] * 2],  # type: ignore[operator]  # plain is one piece of bytes
    "it sent rubbish behind the answer": [CHUNKED + chunk(b"x") + LAST + b"\0\0"],
}


@pytest.mark.parametrize("script", ENDINGS.values(), ids=ENDINGS)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(transport: Transport, script: Script) -> None:
    async with Upstream(script) as upstream:
        assert await fetch(transport, upstream) == b"x"
        await until(lambda: upstream.idle() == 0)
        assert await fetch(transport, upstream)
        assert upstream.connections == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({}, 4), ({"keep-alive": "timeout=5, max=100"}, 4), ({"keep-alive": "max=1,timeout=1"}, 0),
     ({"keep-alive": "timeout=x"}, 4), ({"keep-alive": "Timeout = 11"}, 10), ({"keep-alive": "timeout=999999"}, 60)],
)  # fmt: skip
def test_how_long_a_connection_may_idle(header: dict[str, str], seconds: float) -> None:
    assert keep_alive(header) == seconds


async def test_an_idle_connection_is_closed_in_time(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "KEEP_ALIVE", 0.01)
    async with Upstream() as upstream:
        await fetch(transport, upstream)
        await until(lambda: upstream.idle() == 0)


async def test_only_so_many_connections_idle() -> None:
    go = asyncio.Event()
    transport = Transport(max_idle=1)
    async with Upstream(default=lambda _: [go, *plain(200, b"x")]) as upstream:
        tasks = [asyncio.create_task(fetch(transport, upstream)) for _ in range(3)]
        await upstream.seen(2)
        go.set()
        await asyncio.gather(*tasks)
        await until(lambda: upstream.idle() == 1)
    transport.close()


async def test_beyond_the_limit_of_connections_it_is_overloaded() -> None:
    transport = Transport(max_connections=1)
    async with Upstream([HOLD]) as upstream:
        held = asyncio.create_task(fetch(transport, upstream))
        await upstream.seen(0)
        with pytest.raises(Overloaded):
            await fetch(transport, upstream)
        held.cancel()
        with suppress(asyncio.CancelledError):
            await held
        await until(lambda: upstream.idle() == 0)
        assert await fetch(transport, upstream)
    transport.close()


class Pairs(Connector):
    """Connections without a server: what it would hold are the other ends."""

    def __init__(self) -> None:
        super().__init__(1.0, None, None)
        self.others: list[socket.socket] = []

    async def connect(self, origin: Origin, connection: Connection) -> None:
        ours, other = socket.socketpair()
        self.others.append(other)
        await asyncio.get_running_loop().create_connection(lambda: connection, sock=ours)


async def test_kept_connections_that_the_server_closed_take_no_room() -> None:
    pool = Pool(Origin(False, "x", 1), pairs := Pairs(), max_open=2, max_idle=8)
    for connection in [await pool.checkout(), await pool.checkout()]:
        connection.release(60.0)
    for other in pairs.others:
        other.close()  # the loop has no time to hear of it
    fresh = [await pool.checkout(), await pool.checkout()]
    with pytest.raises(Overloaded):
        await pool.checkout()
    assert all(each.usable() for each in fresh)
    pool.close()
    for other in pairs.others:
        other.close()
    await asyncio.sleep(0)


# Leaving.


async def left(upstream: Upstream, at: float) -> Seen:
    seen = await upstream.seen(0)
    async with asyncio.timeout(5):
        await seen.gone.wait()
    assert seen.gone_at - at < NOTICED
    return seen


async def test_leaving_in_the_middle_aborts_at_once(transport: Transport) -> None:
    async with Upstream([CHUNKED + chunk(b"a"), HOLD]) as upstream:
        async with transport.request("GET", upstream.url, {}) as response:
            assert await anext(response) == b"a"
        await left(upstream, asyncio.get_running_loop().time())
        assert await fetch(transport, upstream)


@pytest.mark.parametrize("script", [[HOLD], [CHUNKED, HOLD]], ids=["before the head", "before the body"])
async def test_a_cancelled_reader_aborts_at_once(transport: Transport, script: list[Step]) -> None:
    async with Upstream(script) as upstream:
        task = asyncio.create_task(fetch(transport, upstream))
        await upstream.seen(0)
        task.cancel()
        await left(upstream, asyncio.get_running_loop().time())
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_stuck_reader_can_leave_too(transport: Transport) -> None:
    async with Upstream([CHUNKED, *[chunk(bytes(2**16))] * 1024]) as upstream:
        async with transport.request("GET", upstream.url, {}):
            for _ in range(10_000):
                await asyncio.sleep(0)
            assert not upstream.requests[0].done.is_set(), "so it is stuck"
        await left(upstream, asyncio.get_running_loop().time())


async def test_what_is_forgone_is_awaited_in_the_background_and_the_connection_kept(transport: Transport) -> None:
    rest = asyncio.Event()
    async with Upstream([CHUNKED + chunk(b"all"), rest, chunk(b"more") + LAST]) as upstream:
        async with transport.request("GET", upstream.url, {}) as response:
            assert await anext(response) == b"all"
            response.forgo()
        rest.set()
        seen = await upstream.seen(0)
        await seen.done.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert await fetch(transport, upstream)
        assert upstream.connections == 1


async def test_what_is_forgone_is_not_awaited_for_long(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "LINGER", 0.01)
    async with Upstream([CHUNKED + chunk(b"all"), HOLD]) as upstream:
        async with transport.request("GET", upstream.url, {}) as response:
            assert await anext(response) == b"all"
            response.forgo()
        await left(upstream, asyncio.get_running_loop().time())


@pytest.mark.parametrize("script", [[HOLD], [CHUNKED, HOLD], [b"HTTP/1.1 200 OK\r\n\r\n", HOLD]])
async def test_closing_the_transport_breaks_what_is_open(transport: Transport, script: list[Step]) -> None:
    async with Upstream(script) as upstream:
        task = asyncio.create_task(fetch(transport, upstream))
        await upstream.seen(0)
        transport.close()
        with pytest.raises(StreamBroken):
            await task


async def test_an_exchange_can_be_aborted_before_it_is_connected(transport: Transport) -> None:
    async with Upstream() as upstream:
        exchange = transport.request("GET", upstream.url, {})
        exchange.abort()
        with pytest.raises(StreamBroken):
            await exchange.__aenter__()
        assert upstream.requests == []
