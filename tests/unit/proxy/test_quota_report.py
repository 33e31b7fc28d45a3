"""What people see of the ledger: rows with names, a forecast, a share; as JSON; and the history by pool."""

from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.quota_report import Line, lines, notice, report, report_on, shown, words_for
from proxy.reference.shapes import QuotaPool
from quota.ledger import Attempt, Change, Cooldown, Operation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Rolling, Window
from quota.windows import ENDLESS
from tests.unit.proxy.quota_rows import MIDNIGHT, NOW, metered, of, pool, row, several


def test_rows_come_by_account_and_model_the_longest_windows_first() -> None:
    rows = report(of(*reversed(several())), NOW)
    assert [each.account for each in rows] == sorted(each.account for each in rows)
    assert [(each.metric, each.per) for each in rows if each.account == "groq-me"] == [
        ("requests", "day"),
        ("tokens", "day"),
        ("requests", "minute"),
    ]


def test_pools_that_no_model_draws_on_are_left_out_and_budgets_are_not_free() -> None:
    mine, budget, old = pool(), pool("openai", metric="usd_micros"), pool("gone")
    rows = report_on([metered(mine), metered(budget, account="openai", free=False)], of(mine, budget, old), NOW)
    assert {each.account: each.free for each in rows} == {"groq-me": True, "openai": False}


def test_a_pool_that_is_not_in_the_ledger_yet_has_no_row() -> None:
    assert report_on([metered(pool())], {}, NOW) == ()


@pytest.mark.parametrize(
    ("window", "label", "words"),
    [
        (Fixed("day", "America/Los_Angeles"), "day", "day"),
        (Fixed("ever"), "once", "ever"),
        (Rolling(MINUTE), "", "minute"),
        (Rolling(31 * DAY), "month", "month"),
        (Rolling(31 * DAY), "", "31 days"),
        (Gcra(5 * HOUR), "5h", "5 hours"),
        (Concurrent(), "", ""),
    ],
)
def test_a_window_has_words(window: Window, label: str, words: str) -> None:
    assert words_for(window, label) == words


def test_a_forecast_goes_by_the_pace_of_the_window_so_far() -> None:
    assert (row(pool(used=400)).lasts, row(pool(used=400)).spent_at) == (True, None)
    fast = row(pool(used=800, reserved=100))  # 900 in 15 hours, so 100 in 100 minutes
    assert (fast.lasts, fast.spent_at) == (False, NOW + 100 * MINUTE)


def test_the_first_moments_of_a_window_do_not_make_a_forecast() -> None:
    begin = MIDNIGHT - DAY + SECOND
    [early] = report(of(pool(used=10)), begin)
    assert early.lasts
    [much] = report(of(pool(used=300)), begin)
    assert not much.lasts


def test_a_day_with_another_length_is_forecast_by_its_own() -> None:
    """2027-03-14 has 23 hours in Los Angeles. 480 of 1,000 by 11 of them would be too much in 22, and lasts in 23."""
    noon = int(datetime.fromisoformat("2027-03-14T12:00:00-07:00").timestamp()) * SECOND
    [lasts] = report(of(pool(window=Fixed("day", "America/Los_Angeles"), used=478)), noon)
    [ends] = report(of(pool(window=Fixed("day", "America/Los_Angeles"), used=479)), noon)
    assert (lasts.lasts, ends.lasts) == (True, False)


@pytest.mark.parametrize("window", [Rolling(DAY), Gcra(DAY), Concurrent(), Fixed("ever")])
def test_what_has_no_beginning_has_no_forecast(window: Window) -> None:
    told = row(pool(window=window, used=999))
    assert (told.lasts, told.spent_at) == (None, None)


def test_what_is_spent_or_untouched_has_no_forecast() -> None:
    assert row(pool(used=1000)).lasts is None
    assert row(pool()).lasts is None


@given(used=st.integers(0, 1000), reserved=st.integers(0, 200), at=st.integers(0, DAY - 1))
def test_a_forecast_is_within_the_window(used: int, reserved: int, at: int) -> None:
    now = MIDNIGHT - DAY + at
    [made] = report(of(pool(used=used, reserved=reserved)), now)
    assert (made.spent_at is not None) == (made.lasts is False)
    assert made.spent_at is None or now <= made.spent_at < MIDNIGHT


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({}, "open"),
        ({"used": 1000}, "spent"),
        ({"used": 1000, "closed_until": NOW + HOUR}, "closed"),
        ({"closed_until": NOW + HOUR, "left": 0}, "closed"),
        ({"closed_until": NOW - HOUR}, "open"),
    ],
)
def test_a_pool_is_open_spent_or_closed(members: dict[str, Any], state: str) -> None:
    assert row(pool(**members)).state == state


def test_a_share_is_the_callers_own() -> None:
    mixed = pool(used=400, shares={"key_mine": 100, "key_other": 300})
    assert shown(row(mixed, "key_mine"))["share"] == {"used": 100, "part": 0.25}
    assert shown(row(mixed, "key_new"))["share"] == {"used": 0, "part": 0.0}
    assert "key_other" not in str(shown(row(mixed, "key_mine")))
    assert "300" not in str(shown(row(mixed, "key_mine")))


@pytest.mark.parametrize("headroom", several(), ids=lambda each: each.pool.id)
def test_json_is_what_the_reference_says(headroom: Any) -> None:
    told = shown(row(headroom, "anonymous"))
    assert msgspec.to_builtins(msgspec.convert(told, QuotaPool)) == told


def test_json_has_times_as_rfc_3339_and_facts_of_the_catalog_only_where_they_are_its() -> None:
    told = shown(row(pool(used=900, as_of="2026-11", confidence="low", observed_at=NOW - SECOND)))
    assert (told["resets_at"], told["observed_at"]) == ("2026-11-22T00:00:00Z", "2026-11-21T14:59:59Z")
    assert (told["as_of"], told["confidence"]) == ("2026-11", "low")
    heard = shown(row(pool(source="header", as_of="2026-11", confidence="low")))
    assert (heard["as_of"], heard["confidence"]) == (None, None)


def test_a_notice_has_the_pools_of_its_model_alone() -> None:
    drawn, other = pool(model="a", used=7, shares={"key_mine": 7}), pool(model="b")
    told = notice(metered(drawn, model="a"), of(drawn, other), NOW, "key_mine")
    assert (told["backend"], told["model"]) == ("groq-me", "a")
    assert [(each["model"], each["share"]["used"]) for each in told["pools"]] == [("a", 7)]


def test_who_is_not_asked_now_is_told_however_much_is_left() -> None:
    whole, one, other = pool(), pool(model="a"), pool("openai")
    cooldowns = {
        "account:groq-me": Cooldown("account:groq-me", NOW + HOUR, "it is overloaded"),
        "model:groq-me/a": Cooldown("model:groq-me/a", ENDLESS, "it does not serve this model"),
    }
    rows = report_on(
        [metered(whole, one), metered(other, account="openai")], of(whole, one, other), NOW, cooldowns=cooldowns
    )
    assert [(each.account, each.model, each.rests_until, each.state) for each in rows] == [
        ("groq-me", "", NOW + HOUR, "open"),
        ("groq-me", "a", None, "open"),
        ("openai", "", None, "open"),
    ]
    assert [each.resting and each.resting.partition(":")[0] for each in rows] == [
        "It is not asked now",
        "Its provider does not serve this model",
        None,
    ]
    first, second = notice(metered(whole, one), of(whole, one), NOW, "", cooldowns=cooldowns)["pools"]
    assert (first["rests_until"], second["rests_until"]) == ("2026-11-21T16:00:00Z", None)
    for told in (first, second):
        assert msgspec.to_builtins(msgspec.convert(told, QuotaPool)) == told


def test_history_is_told_by_pool_and_what_counts_twice_is_told_once() -> None:
    edge = ((NOW - DAY, NOW, 1), (NOW, NOW + DAY, 1))
    changes = {"a": Change(-1, 0, edge), "b": Change(-50, 600), "c": Change(-1)}
    done = Operation(7, NOW, "settle", Attempt("req_1", 2), "key_mine", "", changes)
    assert [*lines([done])] == [
        Line(7, NOW, "settle", "a", 1, -1, "req_1", 2, "key_mine", ""),
        Line(7, NOW, "settle", "b", None, -50, "req_1", 2, "key_mine", ""),
        Line(7, NOW, "settle", "c", 0, -1, "req_1", 2, "key_mine", ""),
    ]


def test_an_operation_without_a_request_is_told_too() -> None:
    done = Operation(8, NOW, "adjust", None, "", "the console says so", {"a": Change(0, 0, ((NOW, NOW + DAY, 5),))})
    [line] = lines([done])
    assert (line.used, line.request, line.attempt, line.why) == (5, "", None, "the console says so")
