"""The table [transport]: backends by way of a proxy and an authority of one's own; what it says, and does not say."""

import ssl
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from proxy.config_error import ConfigError
from proxy.config_load import load
from proxy.config_show import as_text
from proxy.doctor.examine import asked
from proxy.ports import StartError
from tests.forward_proxy import Proxy
from tests.gateway import client, gateway, text_of
from tests.upstream import Upstream, answer

CERTIFICATES = Path(__file__).parents[1] / "certificates"
PASSWORD = "canary-password"


def secure() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "good.pem")
    return context


def configured(port: int, proxy: str, ca_file: str = f"{CERTIFICATES}/authority.pem") -> str:
    return f"""
[transport]
proxy = "{proxy}"
no_proxy = []
ca_file = "{ca_file}"
[[backends]]
name = "up"
kind = "openai_compatible"
base_url = "https://localhost:{port}/v1"
models = ["m"]
"""


async def test_a_backend_behind_a_proxy_with_an_authority_of_its_own() -> None:
    async with Upstream(tls=secure(), default=lambda _: answer("yes")) as upstream, Proxy(f"me:{PASSWORD}") as proxy:
        async with gateway(configured(upstream.port, proxy.url)) as started, client(started) as socket:
            await socket.create("up/m")
            assert text_of(await socket.until()) == "yes"
            async with aiohttp.ClientSession() as session, session.get(f"{started.ops_url}/metrics") as answered:
                metrics = await answered.text()
        assert set(proxy.seen) == {f"CONNECT localhost:{upstream.port} HTTP/1.1"}
    connected = f'streamlane_backend_connects_total{{origin="localhost:{upstream.port}",result="connected"}} 1.0'
    assert connected in metrics


async def test_what_is_wrong_with_the_proxy_is_said_without_its_password(tmp_path: Path) -> None:
    async with Proxy(f"me:{PASSWORD}") as proxy:
        text = configured(1, proxy.url.replace(PASSWORD, f"{PASSWORD}-guessed")).replace('models = ["m"]', "")
        with capture_logs() as lines:
            async with gateway(text) as started, client(started) as socket:
                await socket.create("up/m")
                failed = (await socket.until())[-1]["response"]["error"]
                async with aiohttp.ClientSession() as session, session.get(f"{started.ops_url}/health") as answered:
                    health = await answered.text()
        (tmp_path / "streamlane.toml").write_text(text)
        loaded = load(None, {"HOME": str(tmp_path)}, tmp_path)
        [finding, *_] = await asked(loaded.config, [], {})
    assert "the proxy refuses our name and password" in failed["message"]
    assert "the proxy refuses our name and password" in health
    assert "the proxy refuses our name and password" in str(finding)
    for text in (str(failed), health, str(lines), str(finding), as_text(loaded)):
        assert PASSWORD not in text
    assert "http://****@127.0.0.1" in as_text(loaded)


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("nothing", "no certificate in PEM is in it")])
async def test_an_authority_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, content: str | None, why: str
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    text = configured(1, "http://localhost:1", str(file))
    with pytest.raises(StartError, match=f"transport.ca_file: .*{why}"):
        async with gateway(text):
            pass
    (tmp_path / "streamlane.toml").write_text(text)
    [finding] = await asked(load(None, {"HOME": str(tmp_path)}, tmp_path).config, [], {})
    assert why in str(finding)


def test_a_proxy_that_is_none_is_told_without_its_words(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text(
        f'transport.proxy = "socks5://me:{PASSWORD}@localhost"\ntransport.no_proxy = ["ok.example", "x:80"]'
    )
    with pytest.raises(ConfigError) as refused:
        load(None, {"HOME": str(tmp_path)}, tmp_path)
    assert refused.value.problems == (
        (
            "streamlane.toml: transport.proxy: expected http://HOST:PORT, with NAME:PASSWORD@ before HOST where it "
            "asks for them."
        ),
        (
            "streamlane.toml: transport.no_proxy[1]: expected a host name, an address or a network, such as "
            '"example.com" or "10.0.0.0/8", without a port'
        ),
    )


def test_the_environments_proxy_is_not_read_by_itself(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "HTTPS_PROXY": "http://proxy.example:3128", "ALL_PROXY": "http://x:1"}
    assert load(None, environ, tmp_path).config.transport.proxy is None
    (tmp_path / "streamlane.toml").write_text('transport.proxy = "${HTTPS_PROXY}"')
    assert load(None, environ, tmp_path).config.transport.proxy == "http://proxy.example:3128"
