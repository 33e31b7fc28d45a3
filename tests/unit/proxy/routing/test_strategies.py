"""In which order the candidates of a set are asked, by each strategy, and why."""

from collections import Counter
from math import inf
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Load, Model
from proxy.choice_words import Strategy
from proxy.routing.strategies import EXPLORED, USUAL_OUTPUT, Able, Busy, order
from proxy.routing.vitals import Standing
from proxy.runtime import TargetSet
from tests.unit.proxy.routing.targets import candidate, dice, facts, price

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def able(name: str, busy: Busy | None = None, weight: float = 1.0, standing: Any = None, **more: Any) -> Able:
    return Able(candidate(name, **more), standing or Standing(), busy or Busy(), weight)


def names(strategy: Strategy, rows: list[Able], **more: Any) -> list[str]:
    """The backends, in the order in which they are asked."""
    more = {"dice": dice(0.5), "facts": facts(), "sticky": "none", **more}
    among = TargetSet("set", tuple(each.candidate for each in rows), strategy, sticky=more.pop("sticky"))
    return [each.candidate.backend.name for each in order(among, rows, more.pop("facts"), **more)]


def reasons(strategy: Strategy, rows: list[Able], **more: Any) -> list[str]:
    among = TargetSet("set", tuple(each.candidate for each in rows), strategy)
    return [each.reason for each in order(among, rows, facts(), **{"dice": dice(0.5), **more})]


def test_ordered_is_the_operator_s_order() -> None:
    rows = [able("b"), able("a"), able("c")]
    assert names("ordered", rows) == ["b", "a", "c"]
    assert reasons("ordered", rows)[0] == "no. 1 of the operator's order"
    assert reasons("ordered", rows[:1]) == [""]


def test_a_place_in_the_operator_s_order_counts_those_that_are_passed_over() -> None:
    rows = [able("a"), able("b"), able("c")]
    among = TargetSet("set", tuple(each.candidate for each in rows))
    told = [each.reason for each in order(among, rows[1:], facts(), dice=dice(0.5))]
    assert told == ["no. 2 of the operator's order", "no. 3 of the operator's order"]


def test_round_robin_takes_turns() -> None:
    rows = [able("a"), able("b"), able("c")]
    assert [names("round_robin", rows, turn=turn) for turn in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip
    assert reasons("round_robin", rows) == ["its turn", "next in turn", "next in turn"]


def test_weighted_draws_as_often_as_the_weights_say_also_among_what_is_left() -> None:
    rows = [able("a", weight=6.0), able("b", weight=3.0), able("c", weight=1.0), able("never", weight=0.0)]
    luck = Random(1)
    drawn = [names("weighted", rows, dice=luck.random) for _ in range(4000)]
    first = Counter(each[0] for each in drawn)
    assert [first[name] / 4000 for name in "abc"] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    second = Counter(each[1] for each in drawn if each[0] == "a")
    assert second["b"] / second.total() == pytest.approx(0.75, abs=0.04)
    assert {each[3] for each in drawn} == {"never"}
    assert reasons("weighted", rows)[0].startswith("drawn, as ")


def test_who_recovers_gets_a_growing_part() -> None:
    weak = Standing(weight=0.25)
    luck = Random(2)
    rows = [able("back", standing=weak), able("well")]
    for strategy, full in (("ordered", 1.0), ("weighted", 0.5)):
        first = Counter(names(strategy, rows, dice=luck.random)[0] for _ in range(4000))  # type: ignore[arg-type]  # a Strategy
        expected = 0.25 if strategy == "ordered" else 0.25 * full / (0.25 * full + full)
        assert first["back"] / 4000 == pytest.approx(expected, abs=0.03)
    assert reasons("ordered", rows, dice=dice(0.9)) == ["no. 2 of the operator's order", "it has just recovered"]


def test_least_busy_compares_what_is_full_of_what_there_is() -> None:
    rows = [
        able("small", Busy(running=1, places=2)),
        able("large", Busy(running=20, places=64)),
        able("endless", Busy(running=9, places=inf)),
    ]
    assert names("least_busy", rows) == ["large", "endless", "small"]
    assert reasons("least_busy", rows) == ["the least busy of 3, 33% full", "62% full", "100% full"]


def test_least_busy_hears_what_servers_say_of_their_other_clients_and_their_memory() -> None:
    mine = Busy(running=2, places=16)
    others = Busy(running=2, places=16, load=Load(running=9, waiting=4))
    full = Busy(running=2, places=16, load=Load(running=2, waiting=0, cache_usage=0.97))
    waiting = Busy(running=2, waiting=9, places=16)
    rows = [able("full", full), able("others", others), able("waiting", waiting), able("mine", mine)]
    assert names("least_busy", rows) == ["mine", "waiting", "others", "full"]


def test_the_equally_busy_are_drawn() -> None:
    rows, luck = [able("a"), able("b")], Random(3)
    first = Counter(names("least_busy", rows, dice=luck.random)[0] for _ in range(1000))
    assert min(first.values()) > 400


@given(st.lists(st.integers(0, 20), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_two_choices_never_picks_the_busier_of_its_two(running: list[int], luck: Random) -> None:
    rows = [able(f"b{place}", Busy(running=each, places=20)) for place, each in enumerate(running)]
    found = names("two_choices", rows, dice=luck.random)
    busy = {each.candidate.backend.name: each.busy.share for each in rows}
    assert busy[found[0]] <= busy[found[1]]


def test_lowest_cost_is_by_the_longest_answer_and_the_unknown_come_last() -> None:
    rows = [
        able("unknown"),
        able("dear", price=price(1, 10)),
        able("cheap input", price=price(0.1, 20)),
        able("short", price=price(1, 30), known=Model("m", max_output=100)),
    ]
    assert names("lowest_cost", rows) == ["short", "dear", "cheap input", "unknown"]
    said = reasons("lowest_cost", rows)
    assert (said[0], said[3]) == ("of 4 by price, $0.004 at the longest", "its price is not known")
    assert names("lowest_cost", rows, facts=None)[0] == "cheap input"  # embeddings: what is read


def test_lowest_latency_is_by_the_whole_of_a_usual_answer() -> None:
    def speed(first: float, per_token: float) -> Standing:
        return Standing(first_token=first, per_token=per_token)

    rows = [able("prompt", standing=speed(0.1, 0.05)), able("steady", standing=speed(1.0, 0.01)), able("new")]
    assert USUAL_OUTPUT == 300
    assert names("lowest_latency", rows) == ["steady", "prompt", "new"]
    assert names("lowest_latency", rows, facts=facts(output_tokens=5))[0] == "prompt"
    assert reasons("lowest_latency", rows)[0] == "the quickest of 3: 4.00 s to a usual answer"
    luck = Random(4)
    explored = sum(names("lowest_latency", rows, dice=luck.random)[0] == "new" for _ in range(4000))
    assert explored / 4000 == pytest.approx(EXPLORED, abs=0.015)


def test_those_that_are_about_as_quick_share() -> None:
    rows = [able("a", standing=Standing(first_token=1.0)), able("b", standing=Standing(first_token=1.05))]
    luck = Random(5)
    first = Counter(names("lowest_latency", rows, dice=luck.random)[0] for _ in range(1000))
    assert min(first.values()) > 400


def test_a_conversation_stays_with_who_answered_it() -> None:
    rows = [able("a"), able("b"), able("c")]
    assert names("ordered", rows, sticky="conversation", stuck=("c", "m")) == ["c", "a", "b"]
    assert names("ordered", rows, sticky="conversation", stuck=("gone", "m")) == ["a", "b", "c"]
    assert names("ordered", rows, sticky="conversation") == ["a", "b", "c"]
    weak = [able("a"), able("b", standing=Standing(weight=0.1))]  # it holds the conversation's cache
    assert names("ordered", weak, sticky="conversation", stuck=("b", "m"), dice=dice(0.9)) == ["b", "a"]


def test_without_a_conversation_a_hash_has_nothing_to_hash() -> None:
    assert names("ordered", [able("b"), able("a")], sticky="hash") == ["b", "a"]


@given(st.integers(1, 7), st.integers(0, 7), st.randoms(use_true_random=False))
def test_one_more_target_moves_only_its_share(count: int, added: int, luck: Random) -> None:
    rows = [able(f"b{place}") for place in range(count)]
    more = [*rows]
    more.insert(min(added, count), able("new"))
    before, after = {}, {}
    conversations = [f"c{luck.getrandbits(64)}" for _ in range(60)]
    for each in conversations:
        before[each] = names("ordered", rows, sticky="hash", facts=facts(conversation=each))
        after[each] = names("ordered", more, sticky="hash", facts=facts(conversation=each))
    moved = [each for each in conversations if before[each][0] != after[each][0]]
    assert all(after[each][0] == "new" for each in moved)
    assert all([name for name in after[each] if name != "new"] == before[each] for each in conversations)


def test_a_hash_spreads_by_the_weights() -> None:
    rows = [able("a", weight=3.0), able("b", weight=1.0), able("off", weight=0.0)]
    first = Counter(
        names("ordered", rows, sticky="hash", facts=facts(conversation=f"c{each}"))[0] for each in range(2000)
    )
    assert first["a"] / 2000 == pytest.approx(0.75, abs=0.04)
    assert first["off"] == 0


SPEEDS = st.none() | st.floats(0.01, 10.0)


@given(
    st.sampled_from(STRATEGIES),
    st.sampled_from(["none", "conversation", "hash"]),
    st.lists(st.tuples(st.integers(0, 9), SPEEDS, st.floats(0.0, 5.0), st.floats(0.05, 1.0)), min_size=1, max_size=6),
    st.integers(0, 100),
    st.randoms(use_true_random=False),
)
def test_every_order_has_each_of_them_once(
    strategy: Strategy, sticky: str, found: list[Any], turn: int, luck: Random
) -> None:
    rows = [
        able(f"b{place}", Busy(running=running), weight, Standing(first_token=first, weight=recovered))
        for place, (running, first, weight, recovered) in enumerate(found)
    ]
    asked = facts(conversation="c")
    ordered = names(strategy, rows, sticky=sticky, facts=asked, turn=turn, dice=luck.random, stuck=("b1", "m"))
    assert sorted(ordered) == [each.candidate.backend.name for each in rows]
