"""The audit sees whatever a balance and its history can disagree in, and nothing where they agree."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota.audit import balances, differences, opening
from quota.ledger import Attempt, Change, Operation
from quota.pool import MINUTE, Pool, Rolling
from quota.rows import Bucket, PoolRow, Reservation

SPAN = (0, 5)


def pool(reserved: int = 0, arrival: int = 0, name: str = "a") -> PoolRow:
    return PoolRow(Pool(name, 100, Rolling(MINUTE)), 100, "catalog", reserved=reserved, arrival=arrival)


def bucket(used: int, span: tuple[int, int] = SPAN) -> Bucket:
    return Bucket("a", *span, span[1] + 60, used)


def opened(amount: int) -> Reservation:
    return Reservation(Attempt("req_1"), "open", {"a": amount}, 0, 10, "me", "")


def operation(seq: int, change: Change, name: str = "a") -> Operation:
    return Operation(seq, seq, "reserve", None, "", "", {name: change})


HISTORY = [
    operation(1, Change(7, 30, ((*SPAN, 5),))),
    operation(2, Change(-3, 12, ((*SPAN, 2), (5, 10, 1)))),
]


def said(
    pools: Sequence[PoolRow], buckets: Sequence[Bucket], open_ones: Sequence[Reservation], pruned: int = 0
) -> Sequence[str]:
    return differences(balances(HISTORY), pools, buckets, open_ones, pruned)


def test_where_all_agrees_nothing_is_said() -> None:
    assert said([pool(4, 42)], [bucket(7), bucket(1, (5, 10))], [opened(4)]) == []
    assert differences({}, [], [], [], 0) == []
    assert differences({}, [pool()], [bucket(0)], [], 0) == []


@pytest.mark.parametrize(
    ("pools", "buckets", "open_ones", "words"),
    [
        ([pool(5, 42)], [bucket(7), bucket(1, (5, 10))], [opened(5)], "5 are reserved, its operations say 4"),
        ([pool(4, 42)], [bucket(7), bucket(1, (5, 10))], [opened(3)], "4 are reserved, its open reservations hold 3"),
        ([pool(4, 42)], [bucket(7), bucket(1, (5, 10))], [], "4 are reserved, its open reservations hold 0"),
        ([pool(4, 41)], [bucket(7), bucket(1, (5, 10))], [opened(4)], "full again at 41, its operations say 42"),
        ([pool(4, 42)], [bucket(8), bucket(1, (5, 10))], [opened(4)], "8 were used in the window from 0 to 5"),
        ([pool(4, 42)], [bucket(7)], [opened(4)], "0 were used in the window from 5 to 10, its operations say 1"),
        ([pool(4, 42)], [bucket(7), bucket(1, (5, 10)), bucket(9, (10, 15))], [opened(4)], "9 were used"),
        ([], [bucket(7), bucket(1, (5, 10))], [], "not defined"),
    ],
)
def test_whatever_differs_is_one_sentence(
    pools: list[PoolRow], buckets: list[Bucket], open_ones: list[Reservation], words: str
) -> None:
    [sentence] = said(pools, buckets, open_ones)
    assert sentence.startswith("a: ")
    assert words in sentence


def test_a_window_that_was_pruned_may_be_gone_but_not_wrong() -> None:
    assert said([pool(4, 42)], [bucket(7)], [opened(4)], pruned=10) == []
    assert len(said([pool(4, 42)], [bucket(8)], [opened(4)], pruned=10)) == 1


numbers = st.integers(-50, 50)
changes = st.builds(
    Change, numbers, numbers, st.lists(st.tuples(st.integers(0, 3), st.just(9), numbers), max_size=3).map(tuple)
)
histories = st.lists(st.tuples(st.sampled_from("ab"), changes), max_size=20)


@given(histories, st.integers(0, 20))
def test_an_opening_stands_for_what_went_before(history: list[tuple[str, Change]], cut: int) -> None:
    all_of_it = [operation(seq, change, name) for seq, (name, change) in enumerate(history)]
    gone, kept = all_of_it[:cut], all_of_it[cut:]
    stands_for = Operation(cut, cut, "opening", None, "", "", opening(gone, lambda pool, span: span[0] != 3))
    before, after = balances(all_of_it), balances([stands_for, *kept])
    for name in before:
        assert after[name].reserved == before[name].reserved
        assert after[name].arrival == before[name].arrival
        for span in {*before[name].used, *after[name].used}:
            if span[0] != 3:
                assert after[name].used[span] == before[name].used[span]
    assert all(span[0] != 3 for balance in balances([stands_for]).values() for span in balance.used)
