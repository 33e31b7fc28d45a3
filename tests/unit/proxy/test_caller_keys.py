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


def test_sent_twice_it_is_refused() -> None:
    with pytest.raises(BadParameter, match="X-Streamlane-Key-gpu was sent twice"):
        read(("X-Streamlane-Key-gpu", "a"), ("x-streamlane-key-gpu", "b"))
