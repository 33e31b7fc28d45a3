"""Windows follow the clock of their zone, one after the other without a gap, in every zone until 2035."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota.pool import DAY, HOUR, MINUTE, SECOND, Fixed, Micros, Period, Rolling
from quota.windows import ENDLESS, fixed_span, slot_span, unit_cost
from tests.quota_naive import window_at

LOS_ANGELES = "America/Los_Angeles"
ZONES = sorted(available_timezones() - {"localtime"})
PERIODS: list[Period] = ["second", "minute", "hour", "day", "week", "month"]


def moment(*when: int) -> Micros:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * SECOND


FROM, TO = moment(2020, 1, 1), moment(2036, 1, 1)
fixed_windows = st.builds(
    Fixed,
    period=st.sampled_from(PERIODS),
    zone=st.sampled_from(ZONES),
    anchor=st.one_of(st.just(0), st.integers(0, 31 * DAY)),
)


@pytest.mark.parametrize(
    ("noon", "begins", "hours"),
    [
        ((2027, 3, 13), (2027, 3, 13, 8), 24),
        ((2027, 3, 14), (2027, 3, 14, 8), 23),
        ((2027, 3, 15), (2027, 3, 15, 7), 24),
        ((2027, 11, 7), (2027, 11, 7, 7), 25),
        ((2027, 11, 8), (2027, 11, 8, 8), 24),
    ],
)
def test_days_of_los_angeles(noon: tuple[int, ...], begins: tuple[int, ...], hours: int) -> None:
    start = moment(*begins)
    span = start, start + hours * HOUR
    window = Fixed("day", LOS_ANGELES)
    assert fixed_span(window, moment(*noon, 20)) == span
    assert fixed_span(window, span[0]) == fixed_span(window, span[1] - 1) == span
    assert fixed_span(window, span[0] - 1)[1] == span[0]


def test_months_weeks_and_hours_are_those_of_the_zone() -> None:
    at = moment(2027, 2, 28, 23, 50)
    assert fixed_span(Fixed("month"), at) == (moment(2027, 2, 1), moment(2027, 3, 1))
    assert fixed_span(Fixed("month", "Asia/Tokyo"), at) == (moment(2027, 2, 28, 15), moment(2027, 3, 31, 15))
    assert fixed_span(Fixed("week"), at) == (moment(2027, 2, 22), moment(2027, 3, 1))  # Monday to Monday
    assert fixed_span(Fixed("hour", "Asia/Kathmandu"), at) == (moment(2027, 2, 28, 23, 15), moment(2027, 3, 1, 0, 15))
    assert fixed_span(Fixed("minute"), at + 1) == (at, at + MINUTE)
    assert fixed_span(Fixed("second"), at + 1) == (at, at + SECOND)


def test_an_anchor_moves_every_beginning() -> None:
    """The 15th of each month, as a bill's period."""
    window = Fixed("month", anchor=14 * DAY)
    assert fixed_span(window, moment(2027, 3, 14, 23)) == (moment(2027, 2, 15), moment(2027, 3, 15))
    assert fixed_span(window, moment(2027, 3, 15)) == (moment(2027, 3, 15), moment(2027, 4, 15))


def test_ever_is_one_window() -> None:
    assert fixed_span(Fixed("ever", anchor=DAY), 5) == fixed_span(Fixed("ever"), moment(2035, 1, 1)) == (0, ENDLESS)


def test_a_date_that_a_zone_skipped_has_no_window() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    window = Fixed("day", "Pacific/Apia")
    before = fixed_span(window, moment(2011, 12, 30, 9))
    after = fixed_span(window, moment(2011, 12, 30, 11))
    assert before[1] == after[0] == moment(2011, 12, 30, 10)
    assert after[1] - after[0] == DAY


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../UTC"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is no time zone"):
        fixed_span(Fixed("day", zone), FROM)


@settings(max_examples=300, deadline=None)
@given(window=fixed_windows, at=st.integers(FROM, TO))
def test_windows_follow_one_another(window: Fixed, at: Micros) -> None:
    start, end = fixed_span(window, at)
    assert start <= at < end
    assert fixed_span(window, start) == fixed_span(window, end - 1) == (start, end)
    before, after = fixed_span(window, start - 1), fixed_span(window, end)
    assert before[0] < before[1] == start
    assert after[1] > after[0] == end


def test_days_around_every_change_of_every_zone() -> None:
    """Where no clock is set, days are 24 hours; so only the days around a change are looked at."""
    looks = range(FROM // SECOND, TO // SECOND, 3 * 86_400)
    seen = set()  # half of all names are other names of the same
    for zone in ZONES:
        window, clock = Fixed("day", zone), ZoneInfo(zone)
        offsets = tuple([datetime.fromtimestamp(each, clock).utcoffset() for each in looks])
        if offsets in seen:
            continue
        seen.add(offsets)
        changed = [each for each, old, new in zip(looks, offsets, offsets[1:], strict=False) if old != new]
        for near in changed:
            _, end = fixed_span(window, (near - 86_400) * SECOND)
            for _ in range(5):
                start, following = fixed_span(window, end)
                dates = [datetime.fromtimestamp(at // SECOND, clock).date() for at in (end - SECOND, end)]
                assert start == end, zone
                assert 20 * HOUR < following - end < 28 * HOUR, zone
                assert dates[0] < dates[1], zone
                end = following


@settings(max_examples=200, deadline=None)
@given(
    window=st.builds(
        Fixed,
        period=st.sampled_from(PERIODS),
        zone=st.sampled_from([LOS_ANGELES, "Asia/Kathmandu"]),
        anchor=st.integers(0, 40 * DAY),
    ),
    at=st.integers(moment(2027, 3, 1), moment(2027, 12, 20)),
)
def test_as_the_clock_on_the_wall(window: Fixed, at: Micros) -> None:
    assert fixed_span(window, at) == window_at(window, at)


@given(length=st.integers(1, 40 * DAY), slots=st.integers(1, 100), at=st.integers(FROM, TO))
def test_slots_cover_the_length(length: Micros, slots: int, at: Micros) -> None:
    window = Rolling(length, slots)
    start, end = slot_span(window, at)
    assert start <= at < end
    assert length <= (end - start) * slots < length + slots
    assert slot_span(window, end)[0] == end


@given(length=st.integers(1, 40 * DAY), cap=st.integers(0, 10**9), units=st.integers(1, 10**6))
def test_a_bucket_never_refills_faster_than_the_provider_allows(length: Micros, cap: int, units: int) -> None:
    assert units * unit_cost(length, cap) * max(cap, 1) >= units * length
