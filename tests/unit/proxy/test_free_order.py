"""In which order metered models are asked: the score, conversations that stay, and trying out."""

import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.outcome import Outcome
from proxy.scoring import ALIKE, EXPLORED
from proxy.selection import Policy, Wish
from quota.pool import DAY, HOUR, MINUTE, Fixed
from tests.unit.proxy.free_world import HARD, HELLO, NOON, World, names, policies, wishes, worlds


@given(st.integers(1, 1000), st.integers(1, 100), st.floats(0.01, 0.4))
def test_quota_that_will_be_lost_goes_before_the_same_quota_that_lasts(cap: int, part: int, soon: float) -> None:
    left = max(1, cap * part // 100)
    world = World()
    world.dice = lambda: 0.03  # nothing is explored, and the best of those that are alike is drawn
    world.daily("lasts", cap, left, window=Fixed("day", anchor=11 * HOUR))
    world.daily("ends", cap, left, window=Fixed("day", anchor=12 * HOUR + int(soon * DAY)))
    assert names(world.select()) == ["ends", "lasts"]


def test_what_would_be_lost_in_minutes_is_told() -> None:
    world = World()
    world.daily("lasts", 100, 90, window=Fixed("day", anchor=11 * HOUR))
    world.daily("ends", 100, 90, window=Fixed("day", anchor=12 * HOUR + 5 * MINUTE))
    first, second = world.select().chosen
    assert first.candidate.backend.name == "ends"
    assert first.reason == "90% of its quota is left, and lost in 5 min if nobody uses it."
    assert second.reason == "It can give more: 90% of its quota is left."


def test_a_scarce_strong_model_is_for_hard_requests() -> None:
    world = World()
    world.daily("strong", 20, 12, quality=0.9)
    world.daily("weak", 10_000, 6000, quality=0.5)
    assert names(world.select(HELLO)) == ["weak", "strong"]
    assert names(world.select(HARD)) == ["strong", "weak"]
    assert names(world.select(HELLO, Wish("ann", profile="best"))) == ["strong", "weak"]
    assert names(world.select(HARD, Wish("ann", profile="cheap"))) == ["weak", "strong"]


def test_fast_prefers_who_has_been_fast_and_reliability_counts() -> None:
    world = World()
    for name in ("slow", "quick"):
        world.daily(name, 1000, 600)
    for name, seconds in (("slow", 8.0), ("quick", 0.2)):
        seen = Outcome("r", "ann", "m", "completed", None, name, "m", (), seconds, 9.0, None, None)
        for _ in range(20):
            world.memory.observe(seen)
    found = world.select(wish=Wish("ann", profile="fast"))
    assert names(found) == ["quick", "slow"]
    assert found.chosen[0].reason == "It begins to answer after 0.2 s, and 60% of its quota is left."
    for _ in range(40):
        world.memory.observe(
            Outcome("r", "ann", "m", "failed", "backend_failed", "quick", "m", (), None, 1.0, None, None)
        )
    assert world.memory.seen["quick", "m"].reliability < 0.5
    assert names(world.select(wish=Wish("ann", profile="cheap"))) == ["slow", "quick"]


@given(worlds, wishes, policies)
def test_a_conversation_stays_where_it_is_as_long_as_that_is_open(world: World, wish: Wish, policy: Policy) -> None:
    wish = replace(wish, paid=False, conversation="talk")
    found = world.select(HELLO, wish, policy)
    if ("a0", "m") in [(each.candidate.backend.name, each.candidate.model) for each in found.chosen]:
        assert names(found)[0] == "a0"
        assert found.chosen[0].reason.startswith("It answers this conversation already")


def test_when_its_account_is_spent_a_conversation_prefers_the_same_model_elsewhere() -> None:
    world = World()
    world.daily("spent", 20, 0)
    world.daily("other", 1000, 600, model="n", quality=0.55)
    world.daily("same", 1000, 600, quality=0.5)
    world.dice = lambda: 0.1
    assert names(world.select())[0] == "other"
    world.memory.stick("talk", "spent", "m", NOON)
    assert names(world.select(wish=Wish("ann", conversation="talk"))) == ["same", "other"]


def test_those_that_are_as_good_share_the_requests_and_worse_ones_get_none() -> None:
    world = World()
    for name in ("a", "b", "c"):
        world.daily(name, 1000, 600)
    world.daily("worse", 1000, 100)
    dice = random.Random(7)
    world.dice = dice.random
    firsts = [names(world.select())[0] for _ in range(600)]
    assert all(firsts.count(name) > 120 for name in "abc")
    assert firsts.count("worse") < 600 * EXPLORED * 2
    scores = [each.score for each in world.select().chosen]
    assert scores[3] < scores[0] * (1 - ALIKE)


def test_few_requests_go_to_whoever_may_be_better_than_it_is_known_to_be() -> None:
    world = World()
    world.daily("known", 1000, 900)
    world.daily("new", 1000, 300)
    for _ in range(200):
        world.memory.observe(Outcome("r", "a", "m", "completed", None, "known", "m", (), 0.5, 1.0, None, None))
    dice = random.Random(1)
    world.dice = dice.random
    found = [world.select() for _ in range(3000)]
    tried = [each for each in found if names(each)[0] == "new"]
    assert 0 < len(tried) <= 3000 * EXPLORED * 1.5
    assert all(each.chosen[0].because == "explored" for each in tried)


def test_a_model_whose_limits_nobody_knows_does_not_go_before_those_whose_are_known() -> None:
    world = World()
    world.dice = lambda: 0.03
    world.daily("known", 1000, 900)
    world.add("unknown")
    assert names(world.select()) == ["known", "unknown"]
