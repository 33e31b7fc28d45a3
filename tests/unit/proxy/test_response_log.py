"""The log gives every reader everything, once and in order, wherever it begins and however far it is behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.response_log import DELTA, MARK, LogFull, Mark, Part, ResponseLog

EVENTS = st.lists(st.one_of(st.none(), st.tuples(st.integers(1, 3), st.text(min_size=1, max_size=8))), max_size=40)


def filled(events: list[tuple[int, str] | None]) -> ResponseLog:
    log = ResponseLog(1 << 20)
    for number in range(3):
        log.open(Part("delta", {"part": number}))
    for event in events:
        if event is None:
            log.mark(Mark("mark", {}))
        else:
            log.add(*event)
    return log


@given(EVENTS, st.data())
def test_any_reader_gets_each_event_once_in_order_and_runs_are_merged(
    events: list[tuple[int, str] | None], data: st.DataObject
) -> None:
    log = filled(events)
    start = data.draw(st.integers(0, len(events)))
    entries = log.read(start)
    position = start
    for number, part, said in entries:
        run = events[position : number + 1]
        if isinstance(said, Mark):
            assert (run, part) == ([None], 0)
        else:
            assert all(event is not None and event[0] == part for event in run)
            assert said == "".join(event[1] for event in run if event)
            follows = events[number + 1] if number + 1 < len(events) else None
            assert follows is None or follows[0] != part, "a run was not merged whole"
        position = number + 1
    assert position == len(events) == log.head


@given(EVENTS)
def test_behind_counts_the_bytes_that_a_reader_has_not_read(events: list[tuple[int, str] | None]) -> None:
    log = filled(events)
    for position in range(len(events) + 1):
        assert log.behind(position) == sum(len(event[1].encode()) for event in events[position:] if event)


def test_a_delta_that_does_not_fit_is_refused_and_what_was_there_stays() -> None:
    log = ResponseLog(4 + DELTA)
    part = log.open(Part("delta", {}))
    log.add(part, "abc")
    with pytest.raises(LogFull):
        log.add(part, "äß")
    assert log.read(0) == [(0, part, "abc")]
    log.add(part, "d")
    assert log.read(0) == [(1, part, "abcd")]


def test_a_long_answer_costs_little_more_than_its_text() -> None:
    log = ResponseLog(1 << 20)
    part = log.open(Part("delta", {}))
    for _ in range(8000):
        log.add(part, " token")
    parts = (log._text, log._ends, log._of)
    assert sum(each.__sizeof__() for each in parts) < 4 * 8000 * len(" token")


def test_a_mark_that_is_text_too_counts_as_text_and_its_weight_against_the_bound() -> None:
    log = ResponseLog(100 + MARK + 3 * DELTA)
    part = log.open(Part("delta", {}))
    log.add(part, "ab")
    likely = Mark("delta", {"delta": "ä"})
    log.mark(likely, "ä", 60)
    log.add(part, "c")
    assert log.read(0) == [(0, part, "ab"), (1, 0, likely), (2, part, "c")]
    assert (log.text(0), log.deltas, log.behind(1)) == ("abäc", 3, 3)
    with pytest.raises(LogFull):
        log.mark(likely, "ä", 60)
    with pytest.raises(LogFull):
        log.add(part, "x" * 60)
    assert log.text(0) == "abäc"


def test_small_deltas_and_marks_count_against_the_bound_but_the_end_always_fits() -> None:
    log = ResponseLog(10_000)
    part = log.open(Part("delta", {}))
    for _ in range(10_000 // (DELTA + 1)):
        log.add(part, "x")
    with pytest.raises(LogFull):
        log.add(part, "x" * DELTA)
    log = ResponseLog(10_000)
    for _ in range(10_000 // MARK + 1):
        log.check()
        log.mark(Mark("mark", {}))
    with pytest.raises(LogFull):
        log.check()
    log.mark(Mark("end", {}, terminal=True))
    assert log.ended


def test_more_parts_than_fit_into_sixteen_bits() -> None:
    log = ResponseLog(100)
    for _ in range(2**16):
        part = log.open(Part("delta", {}))
    log.add(part, "last")
    assert log.read(0) == [(0, 2**16, "last")]
