"""Gemini: what its errors mean beyond the recorded ones. Nothing of their words gets out; days end in California."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BackendError, InvalidRequest, QuotaExhausted, RateLimited, Scope
from backends.gemini_errors import STATUSES, classify, until_midnight
from backends.json import dumps

PACIFIC = ZoneInfo("America/Los_Angeles")
CANARY = "AIzaSyCanary-0123456789"


def quota(*ids: str, value: str = "20") -> bytes:
    violations = [{"quotaId": each, "quotaValue": value} for each in ids]
    return error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", [{"violations": violations}, {"retryDelay": "7s"}])


def error(code: int, status: str, message: str, details: Any = None) -> bytes:
    return dumps({"error": {"code": code, "status": status, "message": message, "details": details}})


@pytest.mark.parametrize(
    ("body", "expected", "scope"),
    [
        (quota("GenerateRequestsPerMinutePerProjectPerModel"), RateLimited, Scope.MODEL),
        (quota("GenerateRequestsPerMinutePerProject"), RateLimited, Scope.ACCOUNT),
        (quota("GenerateRequestsPerDayPerProjectPerModel"), QuotaExhausted, Scope.MODEL),
        (quota("GenerateRequestsPerDayPerProject"), QuotaExhausted, Scope.ACCOUNT),
        (quota("GenerateRequestsPerDayPerProjectPerModel", value="0"), QuotaExhausted, Scope.MODEL),
        (
            error(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its spending cap."),
            QuotaExhausted,
            Scope.ACCOUNT,
        ),
    ],
)
def test_how_far_a_quota_reaches(body: bytes, expected: type[BackendError], scope: Scope) -> None:
    found = classify(429, {}, body, now=1_795_258_800.0)
    assert (type(found), found.scope) == (expected, scope)


def test_when_to_try_again() -> None:
    assert classify(429, {"retry-after": "3"}, quota("PerMinute")).retry_after == 7.0, "the body knows better"
    assert classify(503, {"retry-after": "3"}, error(503, "UNAVAILABLE", "Busy.")).retry_after == 3.0
    assert classify(429, {}, quota("PerDay", value="0")).retry_after is None, "never: it is not free"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n", "input"),
        ("* GenerateContentRequest.tools[0].function_declarations[0].name: Invalid function name.", "tools"),
        ("* GenerateContentRequest.generation_config.stop_sequences: at most 5", "stop"),
        ("Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32)", "max_output_tokens"),
        ("Something is wrong with your tools and contents.", None),
    ],
)
def test_which_field_is_wrong(message: str, param: str | None) -> None:
    assert classify(400, {}, error(400, "INVALID_ARGUMENT", message)).args == InvalidRequest(400, param).args


@pytest.mark.parametrize(
    ("here", "hours"),
    [
        ("2026-11-21 03:00", 21),
        ("2026-07-04 23:30", 0.5),
        ("2026-03-08 00:00", 23),  # clocks go forward
        ("2026-11-01 00:00", 25),  # and back
    ],
)
def test_the_day_ends_in_california(here: str, hours: float) -> None:
    now = datetime.strptime(here, "%Y-%m-%d %H:%M").replace(tzinfo=PACIFIC).timestamp()
    assert until_midnight(now) == hours * 3600


@given(st.integers(1_577_836_800, 2_082_758_400))  # 2020 to 2035
def test_it_is_midnight_then(now: int) -> None:
    left = until_midnight(now)
    then = datetime.fromtimestamp(now + left, PACIFIC)
    assert 0 < left <= 25 * 3600
    assert (then.hour, then.minute, then.second) == (0, 0, 0)


values = st.none() | st.booleans() | st.integers(-5, 700) | st.just(CANARY) | st.lists(st.just(CANARY), max_size=2)
details = st.dictionaries(
    st.sampled_from(["reason", "violations", "fieldViolations", "retryDelay"]), values, max_size=3
)
bodies = st.dictionaries(
    st.sampled_from(["code", "status", "message", "details"]), values | st.lists(details, max_size=3), max_size=4
)


@given(st.none() | st.sampled_from([200, *{*STATUSES.values()}, 302, 418]), bodies, st.booleans())
def test_whatever_comes_is_an_error_of_ours_without_their_words(status: int | None, body: Any, wrapped: bool) -> None:
    found = classify(status, {}, dumps([{"error": body}] if wrapped else {"error": body}), model="m", now=1e9)
    assert isinstance(found, BackendError)
    assert CANARY not in str(found) + repr(found)
