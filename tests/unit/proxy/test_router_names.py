"""auto, auto:PROFILE and router-NAME-THRESHOLD lead to sets of targets, and a wrong one is told what there is."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from backends.base import Model
from backends.fake import FakeBackend
from proxy.errors import UnknownModel, UnknownRouter
from proxy.metered import Metered
from proxy.router_names import Ladder, Router, Targets, Use
from proxy.runtime import Alias, Route, RouterAsk, Runtime

BACKENDS = MappingProxyType({name: FakeBackend(name) for name in ("gpu", "local", "cloud", "groq")})
WEAK = Targets("weak", ("local/small",))
STRONG = Targets("strong", ("gpu/llama", "cloud/big"), "least_busy")
PAIR = Ladder((WEAK, STRONG), (0.7, 0.3))
CHEAP = Ladder((Targets("weak", ("free/auto",)), STRONG), (0.9, 0.1))
RUNTIME = Runtime(
    backends=BACKENDS,
    aliases=MappingProxyType({"fast": Alias(("local/small", "gpu/llama"), strategy="weighted", weights=(3, 1))}),
    models=MappingProxyType({"gpu": (Model("llama"), Model("router-7b")), "local": (Model("small"),)}),
    metered=MappingProxyType({"groq": MappingProxyType({"oss": Metered("groq", "groq", "oss", (), "stops")})}),
    router=Router(MappingProxyType({"auto": PAIR, "cheap": CHEAP}), ("streamlane", "mf")),
)


def led(route: Route) -> dict[str, list[str]]:
    return {each.name: [f"{one.backend.name}/{one.model}" for one in each.candidates] for each in route.sets}


def test_auto_leads_to_the_sets_of_the_ladder_the_weakest_first() -> None:
    route = RUNTIME.resolve("auto")
    assert led(route) == {"weak": ["local/small"], "strong": ["gpu/llama", "cloud/big"]}
    assert route.ask == RouterAsk("auto", (0.7, 0.3))
    assert route.sets[1].strategy == "least_busy"


def test_a_profile_has_sets_of_its_own_and_free_quota_may_be_one() -> None:
    route = RUNTIME.resolve("auto:cheap")
    assert led(route) == {"weak": ["groq/oss"], "strong": ["gpu/llama", "cloud/big"]}
    assert route.sets[0].profile == "auto"
    assert route.ask == RouterAsk("cheap", (0.9, 0.1))
    unpaid = replace(RUNTIME, metered=MappingProxyType({}))
    assert led(unpaid.resolve("auto:cheap"))["weak"] == [], "no account can be used: strong is left"


@pytest.mark.parametrize(
    ("name", "weights", "threshold"),
    [
        ("router-streamlane-0.4", "streamlane", 0.4),
        ("router-mf-0.11593", "mf", 0.11593),
        ("router-mf-1", "mf", 1.0),
        ("router-mf-.5", "mf", 0.5),
        ("router-mf-1e-05", "mf", 1e-05),
    ],
)
def test_a_threshold_goes_before_the_shares(name: str, weights: str, threshold: float) -> None:
    assert RUNTIME.resolve(name).ask == RouterAsk("auto", (0.7, 0.3), threshold, weights)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("router-bert-0.4", "'bert' is a router of RouteLLM's, whose thresholds do not carry over to another"),
        ("router-other-0.4", "no router here has that name"),
        ("router-streamlane", "no router here has that name"),
        ("router-streamlane-1.1", "the threshold is no number from 0 to 1"),
        ("router-streamlane-nan", "the threshold is no number from 0 to 1"),
        ("router-streamlane--0.1", "the threshold is no number from 0 to 1"),
        ("router-streamlane-", "the threshold is no number from 0 to 1"),
    ],
)
def test_a_wrong_router_is_told_which_there_are(name: str, why: str) -> None:
    with pytest.raises(UnknownRouter) as caught:
        RUNTIME.resolve(name)
    assert why in str(caught.value)
    assert "router-streamlane-THRESHOLD, router-mf-THRESHOLD, auto, auto:cheap" in str(caught.value)


def test_a_backends_own_model_may_be_called_like_a_router() -> None:
    assert led(RUNTIME.resolve("router-7b")) == {"router-7b": ["gpu/router-7b"]}


def test_without_a_router_auto_says_what_to_configure() -> None:
    alone = replace(RUNTIME, router=Router())
    for name in ("auto", "auto:cheap", "router-streamlane-0.4"):
        with pytest.raises(UnknownModel, match=r"\[router\].*strong and weak"):
            alone.resolve(name)
    with pytest.raises(UnknownModel, match="Did you mean 'auto:cheap'"):
        RUNTIME.resolve("auto:chaep")


def test_without_a_ladder_the_last_rule_answers_auto() -> None:
    runtime = replace(RUNTIME, router=Router(otherwise=Use("rest", ("local/small", "fast"))))
    assert led(runtime.resolve("auto")) == {"local/small": ["local/small"], "fast": ["local/small", "gpu/llama"]}
    assert runtime.resolve("auto").ask is None
    assert "auto" in {each.id for each in runtime.listed()}


def test_the_list_has_auto_and_its_profiles_and_their_targets() -> None:
    listed = {each.id: each.targets for each in RUNTIME.listed()}
    assert listed["auto"] == ("local/small", "gpu/llama", "cloud/big")
    assert listed["auto:cheap"] == ("groq/oss", "gpu/llama", "cloud/big")
    assert not [name for name in listed if name.startswith("router-s")]
    assert RUNTIME.described("auto").targets == listed["auto"]


def test_a_rules_entries_are_sets_in_order() -> None:
    route = RUNTIME.used(Use("mine", ("local/small", "strong", "fast", "free/oss", "free/gone")))
    assert led(route) == {
        "local/small": ["local/small"],
        "strong": ["gpu/llama", "cloud/big"],
        "fast": ["local/small", "gpu/llama"],
        "free/oss": ["groq/oss"],
    }
    assert [each.strategy for each in route.sets] == ["ordered", "least_busy", "weighted", "ordered"]
    assert [each.profile for each in route.sets] == [None, None, None, "auto"]
    assert route.ask is None


def test_with_a_strategy_a_rules_entries_are_one_set() -> None:
    use = Use("mine", ("local/small", "cloud/big"), "weighted", (1, 9), "conversation", 2_000_000)
    [only] = RUNTIME.used(use).sets
    assert (only.name, len(only.candidates), only.strategy, only.weights) == ("mine", 2, "weighted", (1, 9))
    assert (only.sticky, only.max_price) == ("conversation", 2_000_000)


def test_a_rule_may_hand_over_to_the_learned_router_with_a_ceiling() -> None:
    route = RUNTIME.used(Use("mine", ("auto:cheap",), max_price=5))
    assert route.ask == RouterAsk("cheap", (0.9, 0.1))
    assert {each.max_price for each in route.sets} == {5}


def test_a_rule_of_which_nothing_is_left_says_so() -> None:
    with pytest.raises(UnknownModel, match="free/gone"):
        RUNTIME.used(Use("mine", ("free/gone",)))


def test_an_alias_keeps_its_strategy() -> None:
    [only] = RUNTIME.resolve("fast").sets
    assert (only.strategy, only.weights) == ("weighted", (3, 1))


def test_of_some_candidates_each_keeps_its_weight() -> None:
    route = RUNTIME.resolve("fast")
    assert route.only(lambda _: True) == route
    [left] = route.only(lambda each: each.backend.name == "gpu").sets
    assert ([each.model for each in left.candidates], left.weights) == (["llama"], (1,))
