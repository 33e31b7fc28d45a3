"""The outgoing transport by way of a forward proxy, and what it trusts: real TLS servers. On both event loops."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.errors import DeadlineExceeded, Overloaded, Unreachable
from backends.forward_proxy import forward_proxy
from backends.http import Transport
from backends.http_connect import trusting
from tests.forward_proxy import Proxy
from tests.upstream import HOLD, Upstream, plain, until

CERTIFICATES = Path(__file__).parents[2] / "certificates"
AUTHORITY = CERTIFICATES / "authority.pem"


def served(name: str) -> ssl.SSLContext:
    """What a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{name}.pem")
    return context


@asynccontextmanager
async def through(proxy: Proxy, *no_proxy: str, seconds: float = 10.0) -> AsyncIterator[Transport]:
    transport = Transport(connect_deadline=seconds, tls=trusting(AUTHORITY), proxy=forward_proxy(proxy.url, no_proxy))
    yield transport
    transport.close()


async def fetch(transport: Transport, url: str) -> bytes:
    async with transport.request("POST", url, {"authorization": "Bearer k"}, b"{}") as response:
        return await response.read()


# By way of it.


async def test_https_goes_through_a_tunnel_that_sees_nothing_of_it() -> None:
    async with Upstream(tls=served("good"), default=lambda _: plain(200, b"yes")) as upstream, Proxy() as proxy:
        async with through(proxy) as transport:
            for _ in range(3):
                assert await fetch(transport, f"https://localhost:{upstream.port}/a?b=c") == b"yes"
            assert proxy.seen == [f"CONNECT localhost:{upstream.port} HTTP/1.1"]
            assert "Bearer k" not in proxy.heads[0]
            assert [(seen.path, seen.headers["authorization"]) for seen in upstream.requests] == [
                ("/a?b=c", "Bearer k")
            ] * 3
            state = transport.states()[f"localhost:{upstream.port}"]
            assert (state.open, state.idle, state.connects, state.failures, state.reused) == (1, 1, 1, 0, 2)


async def test_http_is_asked_of_the_proxy_with_the_whole_url() -> None:
    async with Upstream(default=lambda _: plain(200, b"yes")) as upstream, Proxy() as proxy:
        async with through(proxy) as transport:
            for _ in range(2):
                assert await fetch(transport, f"http://localhost:{upstream.port}/a") == b"yes"
        assert proxy.seen == [f"POST http://localhost:{upstream.port}/a HTTP/1.1"]
        [seen, _] = upstream.requests
        assert (seen.path, seen.headers["host"]) == ("/a", f"localhost:{upstream.port}")


async def test_it_is_told_its_password_and_the_server_is_not() -> None:
    async with Upstream(tls=served("good"), default=lambda _: plain(200, b"yes")) as upstream:
        async with Proxy("me:secret") as proxy, through(proxy) as transport:
            assert await fetch(transport, f"https://localhost:{upstream.port}/") == b"yes"
            assert "proxy-authorization: Basic " in proxy.heads[0]
        assert "proxy-authorization" not in upstream.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_wrong_password_is_said_without_it(scheme: str) -> None:
    tls = served("good") if scheme == "https" else None
    async with Upstream(tls=tls) as upstream, Proxy("me:secret") as proxy:
        proxy.url = proxy.url.replace("secret", "guess")
        async with through(proxy) as transport:
            with pytest.raises(Unreachable, match="the proxy refuses our name and password") as refused:
                await fetch(transport, f"{scheme}://localhost:{upstream.port}/")
        assert "guess" not in str(refused.value)
        assert upstream.requests == []


async def test_hosts_that_are_asked_past_it() -> None:
    async with Upstream(default=lambda _: plain(200, b"yes")) as upstream, Proxy() as proxy:
        async with through(proxy, "localhost", "127.0.0.0/8") as transport:
            for host in ("localhost", "127.0.0.1"):
                assert await fetch(transport, f"http://{host}:{upstream.port}/") == b"yes"
        assert proxy.seen == []


REFUSALS = {
    b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n": "the proxy forbids it",
    b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n": "the proxy cannot reach it",
    b"HTTP/1.1 418 No\r\ncontent-length: 0\r\n\r\n": "the proxy answers HTTP 418",
    b"SSH-2.0-OpenSSH_9.2\r\n": "the proxy does not speak HTTP",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 5000: "the proxy does not speak HTTP",
    b"": "the proxy closed the connection",
}


@pytest.mark.parametrize(("answer", "why"), REFUSALS.items(), ids=REFUSALS.values())
async def test_what_a_proxy_refuses(answer: bytes, why: str) -> None:
    async with Proxy(answer=answer) as proxy, through(proxy) as transport:
        with pytest.raises(Unreachable) as refused:
            await fetch(transport, "https://example.com/")
        assert refused.value.why == why
        state = transport.states()["example.com:443"]
        assert (state.open, state.connects, state.failures) == (0, 0, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_gone(scheme: str) -> None:
    async with Proxy() as proxy:
        pass
    async with through(proxy) as transport:
        with pytest.raises(Unreachable) as refused:
            await fetch(transport, f"{scheme}://example.com/")
        assert refused.value.why == "the proxy: connection refused"


async def test_a_tunnel_that_is_not_made_in_time() -> None:
    async with Upstream([HOLD]) as silent, Proxy() as proxy:
        proxy.url = silent.origin
        async with through(proxy, seconds=0.05) as transport:
            with pytest.raises(DeadlineExceeded, match=r"connect deadline of 0\.05 s"):
                await fetch(transport, "https://example.com/")
            await until(lambda: silent.idle() == 0)


async def test_what_is_behind_a_tunnel_is_verified_like_the_rest() -> None:
    async with Upstream(tls=served("other_name")) as upstream, Proxy() as proxy, through(proxy) as transport:
        with pytest.raises(Unreachable, match="TLS: its certificate is for another host name"):
            await fetch(transport, f"https://localhost:{upstream.port}/")
        assert upstream.requests == []
    async with Upstream(eager=b"HTTP/1.1 400 Bad Request\r\n\r\n") as upstream, Proxy() as proxy:
        async with through(proxy) as transport:
            with pytest.raises(Unreachable, match=r"TLS: no handshake; does it speak https\?"):
                await fetch(transport, f"https://localhost:{upstream.port}/")


# What is trusted.


async def test_an_authority_of_ones_own_is_trusted_beside_the_systems() -> None:
    context = trusting(AUTHORITY)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert {str(each["serialNumber"]) for each in ssl.create_default_context().get_ca_certs()} <= {
        str(each["serialNumber"]) for each in context.get_ca_certs()
    }
    transport = Transport(tls=context)
    async with Upstream(tls=served("good"), default=lambda _: plain(200, b"yes")) as upstream:
        for host in ("localhost", "127.0.0.1"):
            assert await fetch(transport, f"https://{host}:{upstream.port}/") == b"yes"
    transport.close()


FAULTS = {
    "expired": "TLS: its certificate has expired",
    "unborn": "TLS: its certificate is not valid yet",
    "other_name": "TLS: its certificate is for another host name",
}


@pytest.mark.parametrize(("name", "why"), FAULTS.items(), ids=FAULTS)
async def test_a_certificate_that_is_not_good(name: str, why: str) -> None:
    transport = Transport(tls=trusting(AUTHORITY))
    async with Upstream(tls=served(name)) as upstream:
        with pytest.raises(Unreachable) as refused:
            await fetch(transport, f"https://localhost:{upstream.port}/")
        assert upstream.requests == []
    assert refused.value.why == why
    transport.close()


async def test_without_its_authority_it_is_not_trusted(transport: Transport) -> None:
    async with Upstream(tls=served("good")) as upstream:
        with pytest.raises(Unreachable, match="TLS: its certificate is signed by an unknown authority"):
            await fetch(transport, f"https://localhost:{upstream.port}/")
        assert upstream.requests == []


def test_a_file_of_authorities_must_hold_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        trusting(tmp_path / "missing.pem")
    for text in ("", "no certificate", "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"):
        (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(ValueError, match="no certificate"):
            trusting(tmp_path / "ca.pem")


# The pools.


async def test_each_origin_has_a_pool_of_its_own() -> None:
    transport = Transport(max_connections=1)
    async with Upstream([HOLD]) as one, Upstream() as other:
        held = asyncio.create_task(fetch(transport, one.url))
        await one.seen(0)
        await fetch(transport, other.url)
        assert {name: state.connects for name, state in transport.states().items()} == {
            f"127.0.0.1:{one.port}": 1,
            f"127.0.0.1:{other.port}": 1,
        }
        held.cancel()
        await asyncio.wait([held])
    transport.close()


async def test_who_finds_no_room_has_not_failed_to_connect() -> None:
    transport = Transport(max_connections=1)
    async with Upstream([HOLD]) as upstream:
        task = asyncio.create_task(fetch(transport, upstream.url))
        await upstream.seen(0)
        with pytest.raises(Overloaded):
            await fetch(transport, upstream.url)
        state = transport.states()[f"127.0.0.1:{upstream.port}"]
        assert (state.open, state.connects, state.failures) == (1, 1, 0)
        task.cancel()
        await asyncio.wait([task])
    transport.close()
