"""A model's name leads where the design says, and a wrong one says what is nearest."""

from types import MappingProxyType

import pytest

from backends.base import Model
from backends.fake import FakeBackend
from proxy.errors import AmbiguousModel, UnknownModel
from proxy.runtime import Alias, Runtime

BACKENDS = {name: FakeBackend(name) for name in ("gpu", "local", "silent")}
RUNTIME = Runtime(
    backends=MappingProxyType(BACKENDS),
    aliases=MappingProxyType({"fast": Alias(("local/small", "gpu/meta/llama")), "meta/llama": Alias(("local/small",))}),
    models=MappingProxyType(
        {
            "gpu": (Model("meta/llama"), Model("both")),
            "local": (Model("small"), Model("both"), Model("gpu/odd")),
        }
    ),
)


def led(name: str) -> list[tuple[str, str]]:
    return [(candidate.backend.name, candidate.model) for candidate in RUNTIME.resolve(name).candidates]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast", [("local", "small"), ("gpu", "meta/llama")]),  # an alias, its targets in order
        ("meta/llama", [("local", "small")]),  # an alias before an id
        ("gpu/meta/llama", [("gpu", "meta/llama")]),  # the first segment is the backend, ids hold slashes
        ("small", [("local", "small")]),
        ("local/both", [("local", "both")]),
        ("gpu/odd", [("local", "gpu/odd")]),  # an exact id before a backend's name
        ("silent/anything", [("silent", "anything")]),  # a backend that has not answered yet decides itself
    ],
)
def test_names_lead_in_the_documented_order(name: str, expected: list[tuple[str, str]]) -> None:
    assert led(name) == expected


def test_an_id_that_two_backends_serve_is_an_error_that_lists_them() -> None:
    with pytest.raises(AmbiguousModel, match="gpu/both, local/both"):
        RUNTIME.resolve("both")


@pytest.mark.parametrize(("name", "near"), [("smal", "small"), ("fats", "fast"), ("gpu/meta/lama", "gpu/meta/llama")])
def test_an_unknown_name_says_what_is_near(name: str, near: str) -> None:
    with pytest.raises(UnknownModel, match=f"Did you mean '{near}'"):
        RUNTIME.resolve(name)


@pytest.mark.parametrize("name", ["gpu/", "/", "gpu", "nobody/x"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(UnknownModel):
        RUNTIME.resolve(name)


def test_every_listed_name_can_be_asked_for() -> None:
    listed = [each.id for each in RUNTIME.listed()]
    assert listed == ["fast", "meta/llama", "gpu/meta/llama", "gpu/both", "small", "local/both", "gpu/odd"]
    for name in listed:
        assert led(name)
