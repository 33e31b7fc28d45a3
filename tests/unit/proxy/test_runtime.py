"""A model's name leads where the design says, and a wrong one says what is nearest."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from backends.base import Model
from backends.capabilities import Capabilities
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


def test_a_backend_that_is_asked_by_name_only() -> None:
    clouds = {"openai": FakeBackend("openai"), "lists-none": FakeBackend("lists-none")}
    runtime = replace(RUNTIME, backends=MappingProxyType({**BACKENDS, **clouds}), by_name=frozenset(clouds))
    runtime = runtime.serving("openai", [Model("gpt-5"), Model("both"), Model("small")]).serving("lists-none", [])

    def led(name: str) -> list[tuple[str, str]]:
        return [(each.backend.name, each.model) for each in runtime.resolve(name).candidates]

    assert led("openai/gpt-5") == [("openai", "gpt-5")]
    assert led("lists-none/sonar") == [("lists-none", "sonar")]
    assert led("small") == [("local", "small")], "what is configured is not made ambiguous"
    with pytest.raises(AmbiguousModel, match=r"gpu/both, local/both'?\."):
        runtime.resolve("both")
    with pytest.raises(UnknownModel) as caught:
        runtime.resolve("gpt-5")
    assert "openai" not in str(caught.value)
    with pytest.raises(UnknownModel, match="Did you mean 'openai/gpt-5'"):
        runtime.resolve("openai/gpt-55")
    listed = [each.id for each in runtime.listed()]
    assert listed[-3:] == ["openai/gpt-5", "openai/both", "openai/small"]
    assert "small" in listed


class Remote(FakeBackend):
    """A backend at a provider's address."""

    url = "https://api.openai.com/v1"


def test_the_operator_goes_before_the_backend_and_that_before_the_table() -> None:
    cloud = Remote("cloud")
    empty = Runtime(
        MappingProxyType({"cloud": cloud}),
        MappingProxyType({"fast": Alias(("cloud/gpt-4o",))}),
        facts=MappingProxyType({"cloud/gpt-4o": Model("gpt-4o", 1000, Capabilities(tools=False))}),
    )
    listed = empty.serving("cloud", [Model("gpt-4o", 2000, Capabilities(tools=True, images=False), 300), Model("new")])
    for name in ("fast", "gpt-4o", "cloud/gpt-4o"):
        known = listed.resolve(name).candidates[0].known
        assert (known.context, known.max_output) == (1000, 300)
        assert known.capabilities == Capabilities(
            tools=False, images=False, audio=False, files=True, json_schema=True, reasoning=False
        )
    assert listed.described("gpt-4o").model == known
    assert listed.resolve("new").candidates[0].known == Model("new")
    unasked = empty.resolve("fast").candidates[0].known  # the backend has not answered yet
    assert (unasked.context, unasked.max_output, unasked.capabilities.images) == (1000, 16_384, True)


def test_every_listed_name_can_be_asked_for() -> None:
    listed = [each.id for each in RUNTIME.listed()]
    assert listed == ["fast", "meta/llama", "gpu/meta/llama", "gpu/both", "small", "local/both", "gpu/odd"]
    for name in listed:
        assert led(name)
