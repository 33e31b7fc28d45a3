"""Headers of limits: every format there and back, and rubbish that is never believed."""

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.durations import wait
from quota.headers import LENGTHS, SLACK, HeaderRule, Reading, amount, read
from quota.pool import DAY, HOUR, MINUTE, SECOND, Micros, Period

NOW: Micros = 1_795_251_600 * SECOND  # 2026-11-21 09:00:00 UTC
GROQ = (  # console.groq.com/docs/rate-limits
    HeaderRule("x-ratelimit-limit-requests", "requests", "limit", "day"),
    HeaderRule("x-ratelimit-remaining-requests", "requests", "remaining", "day"),
    HeaderRule("x-ratelimit-reset-requests", "requests", "full", "day"),
    HeaderRule("x-ratelimit-limit-tokens", "tokens", "limit", "minute"),
    HeaderRule("x-ratelimit-remaining-tokens", "tokens", "remaining", "minute"),
    HeaderRule("x-ratelimit-reset-tokens", "tokens", "full", "minute"),
)
DAILY = (
    HeaderRule("limit", "requests", "limit", "day"),
    HeaderRule("remaining", "requests", "remaining", "day"),
    HeaderRule("reset", "requests", "reset", "day"),
)
CLOUDFLARE = (HeaderRule("ratelimit", "requests", "ietf", "minute"),)
POLICY = (*CLOUDFLARE, HeaderRule("ratelimit-policy", "requests", "ietf", "minute"))


def test_groqs_headers() -> None:
    said = {
        "x-ratelimit-limit-requests": "14400",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-tokens": "7.66s",
    }
    assert read(GROQ, said, NOW, wait) == [
        Reading("requests", "day", 14400, 14370),  # when the bucket is full is not when it may be asked again
        Reading("tokens", "minute", 18000, 17997),
    ]


@pytest.mark.parametrize(
    ("rules", "said", "expected"),
    [
        (CLOUDFLARE, '"default";r=50;t=30', Reading("requests", "minute", None, 50, NOW + 30 * SECOND)),
        (CLOUDFLARE, "default; r=0 ;t=7", Reading("requests", "minute", None, 0, NOW + 7 * SECOND)),
        (CLOUDFLARE, '"default";r=50', Reading("requests", "minute", None, 50)),
        (CLOUDFLARE, '"default";t=30', None),  # a reset of nothing
        (CLOUDFLARE, '"default";r=-1;t=30', None),
        (CLOUDFLARE, '"default";r=5;t=7200', Reading("requests", "minute", None, 5)),  # not of a minute
        (CLOUDFLARE, '"burst";r=5;t=1, "sustained";r=9;t=50', None),  # which of them?
        (
            (HeaderRule("ratelimit", "requests", "ietf", "minute", "sustained"),),
            '"burst";r=5;t=1, "sustained";r=9;t=50',
            Reading("requests", "minute", None, 9, NOW + 50 * SECOND),
        ),
        (CLOUDFLARE, "50", None),
        (CLOUDFLARE, '"default";r=50;t=30;', None),
    ],
)
def test_the_drafts_fields(rules: tuple[HeaderRule, ...], said: str, expected: Reading | None) -> None:
    assert read(rules, {"ratelimit": said}, NOW, wait) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("policy", "limit"), [('"burst";q=100;w=60', 100), ('"burst";q=100;w=300', None), ('"burst";q=100', None)]
)
def test_a_policy_is_believed_for_its_own_window(policy: str, limit: int | None) -> None:
    [found] = read(POLICY, {"ratelimit": '"burst";r=50;t=30', "ratelimit-policy": policy}, NOW, wait)
    assert (found.limit, found.remaining) == (limit, 50)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"limit": "50", "remaining": "51"}, []),  # more left than there is
        ({"limit": "0", "remaining": "0"}, [Reading("requests", "day", None, 0)]),
        ({"limit": "-1"}, []),
        ({"limit": "NaN", "remaining": "inf"}, []),
        ({"limit": "1e3"}, []),
        ({"limit": "50.0"}, [Reading("requests", "day", 50)]),
        ({"limit": "50.5"}, []),
        ({"limit": "\u0665\u0660"}, []),  # digits, and not of ASCII
        ({"limit": "9" * 16}, []),
        ({"limit": "50", "reset": "-5"}, [Reading("requests", "day", 50)]),
        ({"reset": "NaN"}, []),
        ({"reset": "1e9"}, []),
        ({"reset": "3 days"}, []),
        ({"reset": "200000"}, []),  # more seconds than a day has: they may be milliseconds
        ({"reset": "1767225600000000"}, []),  # microseconds
        ({"reset": "2m59.56s"}, [Reading("requests", "day", resets_at=NOW + 179_560_000)]),
        ({"reset": "12ms"}, [Reading("requests", "day", resets_at=NOW + 12_000)]),
        ({"reset": "0"}, [Reading("requests", "day", resets_at=NOW)]),
        ({"reset": "1795251599"}, [Reading("requests", "day", resets_at=NOW)]),  # it was a second ago
        ({"other": "50", "limits": "50"}, []),
        ({"limit": "50" + " " * 600}, []),
    ],
)
def test_what_contradicts_itself_is_ignored(said: dict[str, str], expected: list[Reading]) -> None:
    assert read(DAILY, said, NOW, wait) == expected


def test_two_rules_that_disagree_are_not_believed() -> None:
    rules = (*DAILY, HeaderRule("other-limit", "requests", "limit", "day"))
    assert read(rules, {"limit": "50", "other-limit": "20"}, NOW, wait) == []
    assert read(rules, {"limit": "50", "other-limit": "50"}, NOW, wait) == [Reading("requests", "day", 50)]


def test_a_reset_is_by_the_providers_own_clock() -> None:
    theirs = NOW + 400 * SECOND  # 400 s ahead
    said = {"reset": str((theirs + HOUR) // SECOND)}
    assert read(DAILY, said, NOW, wait, date=theirs) == [Reading("requests", "day", resets_at=NOW + HOUR)]


def test_a_header_that_does_not_tell_its_window() -> None:
    rules = (HeaderRule("x-ratelimit-limit", "requests", "limit"), HeaderRule("x-ratelimit-reset", "requests", "reset"))
    said = {"x-ratelimit-limit": "50", "x-ratelimit-reset": str((NOW + 15 * HOUR) // 1000)}
    assert read(rules, said, NOW, wait) == [Reading("requests", None, 50, None, NOW + 15 * HOUR)]


periods = st.sampled_from([period for period in get_args(Period) if period != "ever"])


@st.composite
def moments(draw: st.DrawFn) -> tuple[Period, Micros, str, Micros]:
    """A period, a length that it may have, that length in one of the forms, and how exact the form is."""
    period = draw(periods)
    length = draw(st.integers(0, LENGTHS[period] + SLACK))
    then = NOW + length
    seconds, micros = divmod(length, SECOND)
    match draw(st.sampled_from(["seconds", "go", "epoch", "epoch_ms", "rfc3339", "http"])):
        case "seconds":
            return period, length, f"{seconds}.{micros:06}", 1
        case "go":
            hours, rest = divmod(seconds, 3600)
            minutes, rest = divmod(rest, 60)
            parts = [f"{hours}h" if hours else "", f"{minutes}m" if hours or minutes else "", f"{rest}.{micros:06}s"]
            return period, length, "".join(parts), 1
        case "epoch":
            return period, length, str(then // SECOND), SECOND
        case "epoch_ms":
            return period, length, str(then // 1000), 1000
        case "rfc3339":
            return period, length, datetime.fromtimestamp(then // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), SECOND
    return period, length, format_datetime(datetime.fromtimestamp(then // SECOND, UTC), usegmt=True), SECOND


@given(moments())
@example(("day", 33_011_382_867, "33011.382867", 1))  # Cerebras
def test_every_form_of_a_reset_comes_back(moment: tuple[Period, Micros, str, Micros]) -> None:
    period, length, text, exact = moment
    [found] = read((HeaderRule("reset", "tokens", "reset", period),), {"reset": text}, NOW, wait)
    assert found.resets_at is not None
    # A float of today's Unix time is exact to a quarter of a microsecond, and a difference of two to half of one.
    assert -exact - 1 <= found.resets_at - (NOW + length) <= 1


@given(periods, st.integers(1, 10**15 - 1), st.data())
def test_amounts_come_back(period: Period, limit: int, data: st.DataObject) -> None:
    left = data.draw(st.integers(0, limit))
    rules = (HeaderRule("a", "neurons", "limit", period), HeaderRule("b", "neurons", "remaining", period))
    assert read(rules, {"a": str(limit), "b": f" {left} "}, NOW, wait) == [Reading("neurons", period, limit, left)]


@given(st.integers(0, 10**9), st.integers(0, MINUTE // SECOND))
def test_the_drafts_amounts_come_back(left: int, seconds: int) -> None:
    [found] = read(CLOUDFLARE, {"ratelimit": f'"default";r={left};t={seconds}'}, NOW, wait)
    assert (found.remaining, found.resets_at) == (left, NOW + seconds * SECOND)


words = st.one_of(
    st.text(max_size=40),
    st.from_regex(re.compile(r"-?[0-9.eE+:hms, ;=rtqw\"TZ-]{0,30}", re.ASCII), fullmatch=True),
    st.sampled_from(["nan", "inf", "-inf", "1e400", "0x10", "١٢", "", " ", "9" * 400, '"a";r=1;t=1', "1_000"]),
    st.floats().map(str),
    st.integers().map(str),
)
NAMES = ("a", "b", "c", "d")
rules = st.lists(
    st.builds(
        HeaderRule,
        name=st.sampled_from(NAMES),
        metric=st.sampled_from(["requests", "tokens"]),
        field=st.sampled_from(["limit", "remaining", "reset", "full", "ietf"]),
        per=st.none() | st.sampled_from(get_args(Period)),
        item=st.none() | st.sampled_from(["default", "burst"]),
    ),
    max_size=8,
)


@given(rules, st.dictionaries(st.sampled_from(NAMES), words), st.none() | st.integers(0, NOW + DAY))
def test_rubbish_neither_raises_nor_lies(rules: list[HeaderRule], said: dict[str, str], date: Micros | None) -> None:
    found = read(rules, said, NOW, wait, date=date)
    assert len({(each.metric, each.per) for each in found}) == len(found)
    for each in found:
        assert (each.metric, each.per) in {(rule.metric, rule.per) for rule in rules}
        assert (each.limit, each.remaining, each.resets_at) != (None, None, None)
        assert each.limit is None or (type(each.limit) is int and 1 <= each.limit <= 10**15)
        assert each.remaining is None or (type(each.remaining) is int and 0 <= each.remaining <= (each.limit or 10**15))
        if each.resets_at is not None:
            longest = LENGTHS["month"] if each.per is None else LENGTHS[each.per]
            assert type(each.resets_at) is int
            assert NOW <= each.resets_at <= NOW + longest + SLACK


@given(words)
def test_an_amount_is_what_its_digits_say(text: str) -> None:
    found = amount(text)
    assert found is None or float(text) == found
