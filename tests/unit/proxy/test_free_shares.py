"""What the choice among metered models keeps for more urgent work and for others."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from proxy.fairness import Standing, Work
from proxy.metered import Draw
from proxy.selection import Policy, Wish
from quota.pool import DAY, HOUR, MINUTE, SECOND, Rolling
from tests.unit.proxy.free_world import HELLO, NOON, WORKS, World, active, head, reasons, refused


@given(st.integers(20, 1000), st.integers(0, 1000))
def test_floors_stop_less_urgent_work_first(cap: int, used: int) -> None:
    world = World()
    world.daily("me", cap, max(0, cap - used), window=Rolling(DAY))
    asked = [bool(world.select(wish=Wish("ann", work=work)).chosen) for work in WORKS]
    left = cap - used
    assert asked == [left >= 1, left - 1 >= 0.15 * cap, left - 1 >= 0.40 * cap]


def test_at_the_end_of_a_window_nothing_is_kept_back() -> None:
    world = World()
    world.daily("me", 100, 20)
    batch = Wish("ann", work="batch")
    found = world.select(wish=batch)
    assert not found.chosen
    assert reasons(found)["me"].startswith("What is left of its requests per day is kept for more urgent work; it")
    assert found.opens_at is not None
    assert not world.select(wish=batch, now=found.opens_at - MINUTE).chosen
    late = NOON + 12 * HOUR - 30 * MINUTE
    assert world.select(wish=batch, now=late).chosen


def test_batch_takes_only_what_would_not_be_needed_at_a_steady_pace() -> None:
    world = World()
    batch = Wish("ann", work="batch")
    world.daily("me", 100, 49)
    assert not world.select(wish=batch).chosen  # half of the day is left, and less than half of the quota
    assert world.select(wish=Wish("ann", work="agent")).chosen
    world.headroom["me/day"] = replace(world.headroom["me/day"], left=51, used=49)
    assert world.select(wish=batch).chosen


def test_slots_of_a_minute_are_kept_for_whoever_waits() -> None:
    world = World()
    for left, works in ((3, ["interactive", "agent", "batch"]), (2, ["interactive", "agent"]), (1, ["interactive"])):
        world.candidates.clear()
        world.daily("me", 10, left, window=Rolling(MINUTE))
        asked = [each for each in WORKS if world.select(wish=Wish("ann", work=each)).chosen]
        assert asked == works


@given(
    st.lists(st.tuples(st.sampled_from(["ann", "bob", "cid"]), st.integers(1, 900)), max_size=40),
    st.integers(10, 10_000),
)
def test_who_is_below_their_share_is_never_refused_because_others_borrowed(
    asked: list[tuple[str, int]], cap: int
) -> None:
    world = World()
    world.add("me", (Draw("day", "output_tokens"), head(cap, cap)))
    active(world, "ann", "bob", "cid")
    for who, tokens in asked:
        state = world.headroom["day"]
        found = world.select(replace(HELLO, max_output_tokens=tokens), Wish(who))
        if state.shares.get(who, 0) + tokens <= cap // 3:
            assert found.chosen
        if found.chosen:
            shares: Mapping[str, int] = {**state.shares, who: state.shares.get(who, 0) + tokens}
            world.headroom["day"] = replace(state, left=state.left - tokens, used=state.used + tokens, shares=shares)
        assert world.headroom["day"].left >= 0


def test_who_has_used_their_share_is_told_so_and_the_operator_may_except_them() -> None:
    world = World()
    world.daily("me", 20, 10)
    world.headroom["me/day"] = replace(world.headroom["me/day"], shares={"ann": 10})
    active(world, "bob")
    assert refused(world).startswith("Your share of its requests per day is used, and what is left belongs to others;")
    assert world.select(policy=Policy(standings={"ann": Standing(exempt=True)})).chosen
    assert world.select(wish=Wish("bob")).chosen
    assert world.select(now=NOON + HOUR).chosen  # bob has not asked lately


@given(st.integers(5, 1000), st.integers(1, 1000), st.sampled_from(WORKS), st.booleans())
def test_what_is_kept_back_opens_when_it_was_said_to(cap: int, left: int, work: Work, shared: bool) -> None:
    world = World()
    world.daily("me", cap, min(cap, left))
    if shared:
        world.headroom["me/day"] = replace(world.headroom["me/day"], shares={"ann": cap})
    now = NOON
    for _ in range(3):  # the floor and the pace may be in the way one after the other
        if shared:
            world.memory.asked("bob", now)
        found = world.select(wish=Wish("ann", work=work), now=now)
        if found.chosen:
            return
        assert found.opens_at is not None
        if found.opens_at == NOON + 12 * HOUR:  # with the next day all is there again
            return
        assert now < found.opens_at < NOON + 12 * HOUR
        now = found.opens_at + SECOND
    raise AssertionError("it never opens")
