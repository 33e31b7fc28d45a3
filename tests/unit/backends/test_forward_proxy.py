"""What is understood as a forward proxy, and which hosts it is not asked for."""

import pytest

from backends.forward_proxy import covers, forward_proxy, valid_entry


def test_a_proxy_with_a_name_and_a_password() -> None:
    proxy = forward_proxy("http://me:a%40b@proxy.example:3128/", ["localhost"])
    assert (proxy.host, proxy.port, proxy.authorization) == ("proxy.example", 3128, "Basic bWU6YUBi")  # me:a@b
    assert "bWU6" not in repr(proxy)
    assert forward_proxy("http://[::1]").port == 80
    assert forward_proxy("http://proxy").authorization is None


@pytest.mark.parametrize(
    "url",
    ["", "proxy:3128", "https://me:secret@proxy", "socks5://proxy", "http://", "http://proxy/secret", "http://p?secret",
     "http://p:secret", "http://[secret"],
)  # fmt: skip
def test_what_is_no_proxy_is_told_without_its_words(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://HOST:PORT") as refused:
        forward_proxy(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "host", "covered"),
    [
        ("localhost", "localhost", True),
        ("LocalHost", "localhost.", True),
        ("example.com", "api.example.com", True),
        (".example.com", "example.com", True),
        ("example.com", "notexample.com", False),
        ("127.0.0.0/8", "127.1.2.3", True),
        ("127.0.0.0/8", "128.1.2.3", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("10.0.0.0/8", "example.com", False),
        ("com", "10.0.0.1", False),
    ],
)
def test_which_hosts_an_entry_covers(entry: str, host: str, covered: bool) -> None:
    assert valid_entry(entry)
    assert covers(entry, host) is covered
    assert forward_proxy("http://proxy", [entry]).serves(host) is not covered


@pytest.mark.parametrize("entry", ["", ".", "http://x", "x:80", "*.example.com", "10.0.0.0/99", "a b"])
def test_entries_that_could_never_match(entry: str) -> None:
    assert not valid_entry(entry)
