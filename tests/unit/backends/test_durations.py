"""Waits as providers write them: every form, and nothing that is not one."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.durations import EPOCH, LONGEST, until_utc_midnight, wait

NOW = 1795251600.0  # 2026-11-21 09:00:00 UTC
MOMENTS = st.integers(int(NOW), int(NOW + LONGEST) - 1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 33011.38 ", 33011.38),
        ("6m0s", 360),
        ("12ms", 0.012),
        ("9m38.016s", 578.016),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("36s", 36),
        ("250µs", 0.00025),
        ("1795251690", 90),
        ("1795251690500", 90.5),
        ("2026-11-21T09:00:30Z", 30),
        ("2026-11-21T10:00:30.5+01:00", 30.5),
        ("Sat, 21 Nov 2026 09:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 08:00:00 GMT", 0),
        ("1795251600", 0),
        ("1700000000", 0),
    ],
)
def test_each_form(text: str, seconds: float) -> None:
    assert wait(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-5", "-5s", "+5", "nan", "NaN", "inf", "-inf", "1e3", "1e400", "5 s", "5s5", "s", ".5", "5.",
     "\u0661\u0662", "9" * 400, "9" * 9 + "h", "2026-13-40T00:00:00Z", "2026-11-21",
     "Sat, 99 Nov 2026 09:00:30 GMT", "0x10"],
)  # fmt: skip
def test_what_is_no_wait(text: str) -> None:
    assert wait(text, NOW) is None


@given(st.text(max_size=40), st.floats(0, 4e9))
def test_anything_is_a_wait_that_is_bounded_or_none(text: str, now: float) -> None:
    found = wait(text, now)
    assert found is None or 0 <= found <= LONGEST


@given(st.integers(0, 400), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_durations_of_go_add_up(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    total = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    assert wait(f"{hours}h{minutes}m{seconds}.{milliseconds:03}s", NOW) == pytest.approx(total)
    assert wait(f"{hours}h{minutes}m{seconds}s{milliseconds}ms", NOW) == pytest.approx(total)


@given(MOMENTS)
def test_every_way_of_writing_a_moment_means_the_same(when: int) -> None:
    date = datetime.fromtimestamp(when, UTC)
    for text in (str(when), str(when * 1000), date.isoformat(), format_datetime(date, usegmt=True)):
        assert wait(text, NOW) == when - NOW


@given(st.floats(0, EPOCH - 1, allow_nan=False))
def test_a_plain_number_is_seconds_until_it_must_be_a_date(seconds: float) -> None:
    found = wait(f"{seconds:.6f}", NOW)
    assert found == (pytest.approx(seconds, abs=1e-6) if seconds < LONGEST - 1 else found)


@given(st.integers(0, 2**32))
def test_midnight_is_within_a_day(now: int) -> None:
    seconds = until_utc_midnight(now)
    assert 0 < seconds <= 86400
    assert (now + seconds) % 86400 == 0
