"""The headers in which callers send keys of their own."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from backends.request import Secret
from proxy.edge.caller_keys import CallerKeys
from proxy.errors import BadParameter


def read(*headers: tuple[str, str]) -> dict[str, Secret]:
    return dict(CallerKeys(["gpu", "Open.AI"]).read(CIMultiDictProxy(CIMultiDict(headers))))


def test_each_is_for_the_backend_in_its_name_whatever_its_case() -> None:
    found = read(("x-streamlane-key-GPU", "a"), ("X-STREAMLANE-KEY-open.ai", "b"), ("X-Other", "c"))
    assert found == {"gpu": Secret("a"), "Open.AI": Secret("b")}
    assert "'a'" not in repr(found)
    assert read(("X-Streamlane-Ext", "1")) == {}


def test_a_header_that_names_no_backend_is_named_but_not_what_may_be_a_key() -> None:
    with pytest.raises(BadParameter, match="The header X-Streamlane-Key-nix names no backend") as caught:
        read(("X-Streamlane-Key-nix", "sk-canary"))
    assert "canary" not in str(caught.value)
    with pytest.raises(BadParameter, match="The header X-Streamlane-Key-NAME names no backend"):
        read(("X-Streamlane-Key-sk-0123456789abcdef", "x"))


def test_sent_twice_it_is_refused() -> None:
    with pytest.raises(BadParameter, match="X-Streamlane-Key-gpu was sent twice"):
        read(("X-Streamlane-Key-gpu", "a"), ("x-streamlane-key-gpu", "b"))
