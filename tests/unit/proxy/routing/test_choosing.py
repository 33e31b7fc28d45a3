"""The whole choice: which set first, who is passed over, who follows whom; and what no choice ever does."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import Model
from backends.capabilities import Capabilities
from backends.errors import BackendError, RateLimited, ServerFailed, Unreachable, UnsupportedFeature
from backends.unasked import CircuitOpen
from proxy.choice_words import Strategy
from proxy.conversations import Conversations
from proxy.errors import ProxyError
from proxy.routing.breaker import Rules
from proxy.routing.choosing import QUOTA, State, decide, laddered, rung
from proxy.routing.constraints import Asks
from proxy.routing.strategies import Busy
from proxy.routing.values import Decision, Scored
from proxy.routing.vitals import Vitals
from proxy.runtime import Candidate, Route, RouterAsk, TargetSet
from tests.unit.proxy.routing.targets import METERED, candidate, dice, facts, price

RULES = Rules(failures=3, first=4.0, slow_start=0.0)
ANY = Asks()


def state(**more: Any) -> State:
    return State(Vitals(RULES, lambda: 0.0), Conversations(1800.0), **{"dice": dice(0.5), **more})


def among(name: str, *targets: Candidate | str, **more: Any) -> TargetSet:
    return TargetSet(name, tuple(candidate(each) if isinstance(each, str) else each for each in targets), **more)


def order(made: Decision) -> list[tuple[str, list[str]]]:
    return [
        (each.name, [f"{pick.candidate.backend.name}/{pick.candidate.model}" for pick in each.picks])
        for each in made.sets
    ]


def broken(here: State, target: Candidate, error: BackendError | None = None, now: float = 0.0) -> None:
    for _ in range(3):
        here.vitals.begin(target, now).failed(error or ServerFailed(500), now)


def test_sets_in_order_each_target_once_and_a_reason_for_each() -> None:
    route = Route((among("fast", "a/m", "b/m"), among("all", "b/m", "c/m")))
    made = decide(route, facts(), ANY, state(), 0.0, rule="at night")
    assert order(made) == [("fast", ["a/m", "b/m"]), ("all", ["c/m"])]
    assert made.rule == "at night"
    assert all(pick.reason for each in made.sets for pick in each.picks)


@pytest.mark.parametrize(
    ("share", "first"),
    [(0.0, "weak"), (0.49, "weak"), (0.5, "middle"), (0.79, "middle"), (0.8, "strong"), (1, "strong")],
)
def test_the_learned_share_chooses_the_first_set_then_the_stronger_ones_then_the_weaker(
    share: float, first: str
) -> None:
    sets = (among("weak", "w/m"), among("middle", "m/m"), among("strong", "s/m"))
    ask = RouterAsk("auto", (0.5, 0.3, 0.2))
    expected = {
        "weak": ["weak", "middle", "strong"],
        "middle": ["middle", "strong", "weak"],
        "strong": ["strong", "middle", "weak"],
    }[first]
    assert [each.name for each in laddered(sets, ask, Scored(0.4, share))] == expected
    made = decide(Route(sets, ask=ask), facts(), ANY, state(), 0.0, scored=Scored(0.4, share))
    assert [each.name for each in made.sets] == expected
    assert (made.profile, made.threshold, made.scored) == ("auto", None, Scored(0.4, share))


def test_a_threshold_chooses_between_the_ends_and_nothing_to_score_is_in_the_middle() -> None:
    by_threshold = RouterAsk("auto", (0.5, 0.3, 0.2), 0.6)
    assert [rung(3, by_threshold, Scored(score, 0.0)) for score in (0.0, 0.59, 0.6, 1.0)] == [0, 0, 2, 2]
    assert rung(3, by_threshold, None) == 0
    assert rung(3, RouterAsk("auto", (0.5, 0.3, 0.2)), None) == 1
    assert rung(2, RouterAsk("auto", (0.7, 0.3)), None) == 0
    assert rung(1, RouterAsk("auto", ()), Scored(0.9, 0.9)) == 0


@pytest.mark.parametrize(
    ("shares", "share", "first"),
    [
        ((1.0, 0.0), 1.0, 0),
        ((0.5, 0.5, 0.0), 1.0, 1),
        ((0.0, 1.0), 0.0, 1),
        ((0.0, 0.5, 0.5), 0.0, 1),
        ((0.1, 0.2, 0.7), 1.0, 2),
    ],
)
def test_a_set_without_a_share_is_never_the_first(shares: tuple[float, ...], share: float, first: int) -> None:
    assert rung(len(shares), RouterAsk("auto", shares), Scored(0.9, share)) == first


def test_turns_are_of_those_who_are_asked_first() -> None:
    here = state()
    sets = (among("weak", "w/m"), among("strong", "a/m", "b/m", strategy="round_robin"))
    first = []
    for number in range(8):  # easy, hard, easy, hard, …
        share = float(number % 2)
        made = decide(
            Route(sets, ask=RouterAsk("auto", (0.5, 0.5))), facts(), ANY, here, 0.0, scored=Scored(0.5, share)
        )
        first.append(made.sets[0].picks[0].candidate.backend.name)
    assert first[1::2] == ["a", "b", "a", "b"]


def test_sets_of_one_name_take_turns_each_for_itself() -> None:
    here = state()
    routes = [Route((among("strong", *names, strategy="round_robin"),)) for names in (("a/m", "b/m"), ("c/m", "d/m"))]
    first = [decide(routes[number % 2], facts(), ANY, here, 0.0).sets[0].picks[0] for number in range(4)]
    assert [each.candidate.backend.name for each in first] == ["a", "c", "b", "d"]


def test_who_failed_leaves_before_the_strategy_and_comes_back() -> None:
    here, route = state(), Route((among("set", "a/m", "b/m"),))
    broken(here, candidate("a/m"))
    made = decide(route, facts(), ANY, here, 1.0)
    assert order(made) == [("set", ["b/m"])]
    assert [(each.why, each.reason, each.opens_in) for each in made.passed_over] == [
        ("open", "it failed again and again", 3.0)
    ]
    assert order(decide(route, facts(), ANY, here, 4.0)) == [("set", ["a/m", "b/m"])]  # one request is its probe
    here.vitals.begin(candidate("a/m"), 4.0)
    assert order(decide(route, facts(), ANY, here, 4.0)) == [("set", ["b/m"])]


def test_one_that_is_alone_is_refused_at_once_with_when() -> None:
    here, route = state(), Route((among("a/m", "a/m"),))
    broken(here, candidate("a/m"), Unreachable("refused"))
    with pytest.raises(CircuitOpen) as refused:
        decide(route, facts(), ANY, here, 1.0)
    assert (refused.value.retry_after, refused.value.asked, refused.value.backend) == (3.0, False, "a")


def test_of_several_that_pass_the_soonest_is_told() -> None:
    here = state()
    here.vitals.begin(candidate("a/m"), 0.0).failed(RateLimited(60.0), 0.0)
    broken(here, candidate("b/m"))
    route = Route((among("set", "a/m", "b/m"),))
    with pytest.raises(CircuitOpen):
        decide(route, facts(), ANY, here, 0.0)
    here.vitals.begin(candidate("c/m"), 0.0).failed(RateLimited(2.0), 0.0)
    with pytest.raises(RateLimited) as limited:
        decide(Route((among("set", "a/m", "b/m", "c/m"),)), facts(), ANY, here, 0.0)
    assert limited.value.retry_after == 2.0


def test_a_probe_that_failed_and_a_slow_mean_are_guesses() -> None:
    here, route = state(), Route((among("set", "a/m", "b/m"), among("more", "c/m")))
    here.vitals.probed("a", False, 0.0, "it cannot be reached")
    here.vitals.begin(candidate("b/m"), 0.0).first(9.0)
    asked = facts(deadline=2.0)
    made = decide(route, asked, ANY, here, 9.0)
    assert order(made) == [("more", ["c/m"])]
    assert [each.why for each in made.passed_over] == ["down", "deadline"]
    alone = decide(Route(route.sets[:1]), asked, ANY, here, 9.0)  # nobody else is left: they are tried
    assert order(alone) == [("set", ["a/m", "b/m"])]
    assert alone.passed_over == ()


def test_what_a_wait_takes_of_the_deadline() -> None:
    here = state(busy=lambda backend: Busy(wait=5.0 if backend.name == "a" else None))
    made = decide(Route((among("set", "a/m", "b/m"),)), facts(deadline=2.0), ANY, here, 0.0)
    assert order(made) == [("set", ["b/m"])]


def test_round_robin_goes_on_by_set() -> None:
    here, route = state(), Route((among("set", "a/m", "b/m", strategy="round_robin"),))
    found = [order(decide(route, facts(), ANY, here, 0.0))[0][1][0] for _ in range(3)]
    assert found == ["a/m", "b/m", "a/m"]


def test_a_conversation_goes_on_where_it_was_while_that_is_well() -> None:
    here, route = state(), Route((among("set", "a/m", "b/m", sticky="conversation"),))
    here.conversations.stick("c", ("b", "m"), 0.0)
    assert order(decide(route, facts(conversation="c"), ANY, here, 1.0))[0][1] == ["b/m", "a/m"]
    assert order(decide(route, facts(conversation="d"), ANY, here, 1.0))[0][1] == ["a/m", "b/m"]
    broken(here, candidate("b/m"), now=1.0)
    assert order(decide(route, facts(conversation="c"), ANY, here, 2.0))[0][1] == ["a/m"]
    assert order(decide(route, facts(conversation="c"), ANY, here, 1801.0))[0][1] == ["a/m", "b/m"]


def test_free_sets_are_spending_s_to_order() -> None:
    free = among("free/auto", candidate("f/m", metered=METERED), candidate("g/m", metered=METERED), profile="auto")
    made = decide(Route((free, among("paid", "p/m"))), facts(), ANY, state(), 0.0)
    assert order(made) == [("free/auto", ["f/m", "g/m"]), ("paid", ["p/m"])]
    assert (made.sets[0].profile, made.sets[0].picks[0].reason) == ("auto", QUOTA)


def test_a_caller_s_own_key_passes_our_limits() -> None:
    here, route = state(), Route((among("a/m", "a/m"),))
    here.vitals.begin(candidate("a/m"), 0.0).failed(RateLimited(60.0), 0.0)
    assert decide(route, facts(), Asks(keys={"a"}), here, 0.0).sets
    with pytest.raises(RateLimited):
        decide(route, facts(), ANY, here, 0.0)


def test_embeddings_have_abilities_and_health_alone() -> None:
    none = candidate("a/m", Model("m", capabilities=Capabilities(embeddings=False)))
    route = Route((among("set", none, "b/m"),))
    asks = Asks(frozenset({"embeddings"}))
    assert order(decide(route, None, asks, state(), 0.0)) == [("set", ["b/m"])]
    with pytest.raises(UnsupportedFeature):
        decide(Route((among("set", none),)), None, asks, state(), 0.0)


KNOWN = st.builds(
    Model,
    st.just("m"),
    st.sampled_from([None, 100, 5000]),
    st.sampled_from([Capabilities(), Capabilities(tools=False), Capabilities(tools=True)]),
)
TARGETS = st.builds(
    lambda name, model, known, paid: candidate(f"{name}/{model}", known, paid),
    st.sampled_from("abcd"),
    st.sampled_from("mn"),
    KNOWN,
    st.sampled_from([None, price(0, 0), price(1, 10)]),
)
SETS = st.lists(
    st.builds(
        lambda targets, strategy, sticky: (targets, strategy, sticky),
        st.lists(TARGETS, min_size=1, max_size=4),
        st.sampled_from(get_args(Strategy)),
        st.sampled_from(["none", "conversation", "hash"]),
    ),
    min_size=1,
    max_size=3,
)
HAPPENED = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from("mn"),
        st.sampled_from([ServerFailed(500), Unreachable("x"), RateLimited(30.0), None, "down"]),
    ),
    max_size=8,
)


@settings(max_examples=50)
@given(
    SETS,
    HAPPENED,
    st.tuples(
        st.sampled_from([None, 0, 5_000, 100_000]),
        st.sampled_from([100, 1000, 100_000]),
        st.booleans(),
        st.sampled_from(["any", "confidential"]),
    ),
    st.randoms(use_true_random=False),
)
def test_no_order_violates_a_constraint_and_no_target_is_there_twice(
    sets: list[Any], happened: list[Any], wanted: Any, luck: Any
) -> None:
    ceiling, tokens, tools, data = wanted
    here = state(dice=luck.random, own={"a", "b"})
    for name, model, what in happened:
        one = candidate(f"{name}/{model}")
        if what == "down":
            here.vitals.probed(name, False, 0.0)
        elif here.vitals.standing(one, 0.0).why in {"", "down"}:
            for _ in range(3):
                try:
                    visit = here.vitals.begin(one, 0.0)
                except BackendError:
                    break
                visit.done(0.0) if what is None else visit.failed(what, 0.0)
    route = Route(
        tuple(
            among(f"s{place}", *targets, strategy=strategy, sticky=sticky, weights=tuple(range(len(targets))))
            for place, (targets, strategy, sticky) in enumerate(sets)
        )
    )
    asked = facts(max_cost=ceiling, tokens=tokens, data=data, conversation="c")
    asks = Asks(frozenset({"tools"}) if tools else frozenset())
    whole = {(each.backend.name, each.model) for each in route.candidates}
    try:
        made = decide(route, asked, asks, here, 1.0)
    except (BackendError, ProxyError):
        return
    picked = [pick.candidate for each in made.sets for pick in each.picks]
    targets = [(each.backend.name, each.model) for each in picked]
    over = [(each.candidate.backend.name, each.candidate.model) for each in made.passed_over]
    assert len(set(targets)) == len(targets)
    assert sorted([*targets, *over]) == sorted(whole)  # each is asked or passed over
    for each in picked:
        assert not tools or each.known.capabilities.tools is not False
        assert each.known.context is None or tokens * 0.75 <= each.known.context
        assert ceiling is None or (each.price is not None and (each.price.input or 0) * tokens / 1e6 <= ceiling)
        assert data == "any" or each.backend.name in {"a", "b"}
        here.vitals.begin(each, 1.0).left(1.0)  # nobody of them is open, or cools
    downs = {each for each in picked if here.vitals.standing(each, 1.0).why == "down"}
    assert not downs or len(downs) == len(picked)
