"""What is kept for others: floors for more urgent work, shares of people, and the fair order of those who wait."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.fairness import FLOORS, RELAXED, Shares, Span, Standing, Waiting, cost, floor, had, order
from quota.ledger import Headroom
from quota.pool import DAY, HOUR, MINUTE, Fixed, Pool

DAILY = Span(DAY, DAY)  # a day that began at 0
PEOPLE = ("ann", "bob", "cid")


def head(cap: int, left: int, **shares: int) -> Headroom:
    pool = Pool("p", cap, Fixed("day"))
    return Headroom(pool, cap, 0, cap - left, 0, left, None, None, None, "catalog", None, shares)


@given(st.integers(1, 10**6), st.integers(0, DAY))
def test_more_urgent_work_is_kept_less_from_and_at_the_end_of_a_window_nothing_is(cap: int, now: int) -> None:
    pool = head(cap, cap)
    interactive, agent, batch = (floor(work, pool, "tokens", DAILY, now) for work in FLOORS)
    assert 0 == interactive <= agent <= batch <= cap
    if now <= DAY * (1 - RELAXED):
        assert agent >= cap * 0.15 - 1e-6
        assert batch >= cap * 0.40 - 1e-6
    assert floor("batch", pool, "tokens", DAILY, DAY) == 0
    assert floor("batch", pool, "tokens", Span(DAY, None), now) >= cap * 0.40 - 1e-6


def test_of_short_windows_a_slot_or_two_are_kept_and_none_of_the_smallest() -> None:
    minute = Span(MINUTE, None)
    kept = {
        cap: [floor(work, head(cap, cap), "requests", minute, 0) for work in ("interactive", "agent", "batch")]
        for cap in (1, 3, 4, 8, 30)
    }
    assert kept == {1: [0, 0, 0], 3: [0, 0, 0], 4: [0, 1, 1], 8: [0, 1, 2], 30: [0, 1, 2]}
    assert floor("batch", head(8000, 8000), "tokens", minute, 0) == 0
    assert floor("batch", head(4, 4), "concurrent_requests", Span(0, None), 0) == 1


asks = st.lists(st.tuples(st.sampled_from(PEOPLE), st.integers(1, 40)), max_size=200)
weights = st.fixed_dictionaries({who: st.builds(Standing, weight=st.integers(1, 5)) for who in PEOPLE})


@given(st.integers(1, 300), asks, weights, st.integers(0, int(DAY * (1 - RELAXED))))
def test_within_their_share_nobody_is_refused_whatever_the_others_borrow(
    cap: int, asked: list[tuple[str, int]], standings: dict[str, Standing], now: int
) -> None:
    left, used = cap, dict.fromkeys(PEOPLE, 0)
    for who, amount in asked:
        shares = Shares(who, PEOPLE, standings)
        pool = head(cap, left, **used)
        granted = left - amount >= shares.kept(pool, cap, amount, DAILY, now) and amount <= left
        if used[who] + amount <= shares.guaranteed(who, cap):
            assert granted
        if granted:
            left -= amount
            used[who] += amount


@given(st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_who_is_alone_or_exempt_may_take_all(cap: int, amount: int, exempt: bool) -> None:
    active = PEOPLE if exempt else ()
    shares = Shares("ann", active, {"ann": Standing(exempt=exempt)})
    assert shares.kept(head(cap, cap, bob=0), cap, amount, DAILY, 0) == 0


def test_shares_that_are_idle_are_borrowed_and_a_double_weight_is_a_double_share() -> None:
    shares = Shares("ann", ("bob",), {"bob": Standing(weight=2)})
    assert (shares.guaranteed("ann", 90), shares.guaranteed("bob", 90)) == (30, 60)
    used_up = head(90, 40, ann=30, bob=20)
    assert shares.kept(used_up, 90, 1, DAILY, 0) == 40  # what bob's share still needs
    assert shares.kept(head(90, 30, ann=30, bob=60), 90, 1, DAILY, 0) == 0
    assert Shares("ann", ()).kept(used_up, 90, 1, DAILY, 0) == 0  # bob has not asked lately


def test_nobody_keeps_shares_of_what_is_back_in_a_minute() -> None:
    assert Shares("ann", PEOPLE).kept(head(90, 40, ann=30), 90, 20, Span(MINUTE, None), 0) == 0


def test_a_request_costs_the_greatest_part_of_a_cap() -> None:
    pools = {"few": head(20, 20), "many": head(1_000_000, 1_000_000, ann=1_000)}
    assert cost({"few": 1, "many": 1000, "gone": 5}, pools) == 0.05
    assert had("ann", pools) == 0.001
    assert had("ann", pools, {"ann": Standing(weight=2)}) == 0.0005
    assert had("ann", pools, {"ann": Standing(exempt=True)}) < had("bob", pools)


def test_who_had_least_comes_first_and_asking_often_does_not_help() -> None:
    line = [Waiting("ann", 1, 0.1), Waiting("ann", 2, 0.1), Waiting("ann", 3, 0.1), Waiting("bob", 4, 0.1)]
    assert [(each.who, each.arrival) for each in order(line, {})] == [("ann", 1), ("bob", 4), ("ann", 2), ("ann", 3)]
    assert order(line, {"ann": 0.0, "bob": 0.5})[-1].who == "bob"
    assert order(line, {"ann": 0.5})[0].who == "bob"


@given(
    st.lists(st.tuples(st.sampled_from(PEOPLE), st.floats(0, 1)), max_size=20),
    st.dictionaries(st.sampled_from(PEOPLE), st.floats(0, 1)),
)
def test_the_line_keeps_everyone_and_nobody_is_overtaken_by_themselves(
    asked: list[tuple[str, float]], use: dict[str, float]
) -> None:
    line = [Waiting(who, number, taken) for number, (who, taken) in enumerate(asked)]
    ordered = order(line[::-1], use)
    assert sorted(ordered, key=lambda each: each.arrival) == line
    for who in PEOPLE:
        mine = [each.arrival for each in ordered if each.who == who]
        assert mine == sorted(mine)


def test_a_fixed_window_frees_what_was_kept_step_by_step() -> None:
    pool = head(100, 100)
    kept = [floor("batch", pool, "tokens", DAILY, DAY - part) for part in (3 * HOUR, int(1.2 * HOUR), HOUR // 10)]
    assert kept == [40, 20, 2]
