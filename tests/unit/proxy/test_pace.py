"""Gaps between the pieces of an answer are counted in their buckets, and nothing but pieces is counted."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise

from hypothesis import given
from hypothesis import strategies as st

from backends.events import Finished, TextDelta
from proxy.metrics_table import INTER_TOKEN
from proxy.pace import Pace

PIECE, END = TextDelta("x"), Finished("stop")
GAPS = st.lists(st.tuples(st.sampled_from([0.0, *INTER_TOKEN.bounds, 7.0]), st.integers(1, 4)), max_size=20)


def bucket(seconds: float) -> int:
    return bisect_left(INTER_TOKEN.bounds, seconds)


@given(first=st.integers(1, 4), batches=GAPS, end_comes_alone=st.booleans())
def test_every_gap_is_in_its_bucket(first: int, batches: list[tuple[float, int]], end_comes_alone: bool) -> None:
    times = list(accumulate((gap for gap, _ in batches), initial=100.0))
    clock: Iterator[float] = iter([*times, times[-1] + 9])  # what asks after the last piece is wrong, and would be seen
    pace = Pace([PIECE] * first, lambda: next(clock))
    sent: list[int] = []
    take = pace.over(lambda batch: sent.append(len(batch)))
    contents = [[PIECE] * pieces for _, pieces in batches]
    for batch in contents[:-1]:
        take(batch)
    last = contents[-1] if contents else []
    for batch in ([last] if last else []) + [[END]] if end_comes_alone else [[*last, END]]:
        take(batch)
    expected = [0] * (len(INTER_TOKEN.bounds) + 1)
    for before, after in pairwise(times):
        expected[bucket(after - before)] += 1
    expected[0] += first - 1 + sum(pieces - 1 for _, pieces in batches)
    assert pace.gaps().counts == tuple(expected)
    assert pace.gaps().seconds == times[-1] - times[0]
    assert sum(sent) == sum(pieces for _, pieces in batches) + 1


def test_an_answer_without_a_word_has_no_gaps() -> None:
    gaps = Pace([END], lambda: 0.0).gaps()
    assert (sum(gaps.counts), gaps.seconds) == (0, 0)


def test_the_sinks_answer_is_passed_on() -> None:
    held = object()
    assert Pace([PIECE], lambda: 0.0).over(lambda _: held)([PIECE]) is held  # type: ignore[arg-type,return-value]
