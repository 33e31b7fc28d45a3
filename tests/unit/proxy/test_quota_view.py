"""What `streamlane quota` prints: bars, times, forecasts, and the same in a narrow terminal."""

import io
from datetime import UTC

import pytest
from rich.console import Console

from proxy.cli.quota_view import (
    FEW,
    PLAIN,
    bar,
    clock,
    folded,
    length,
    limit,
    number,
    operations,
    resting,
    stack,
    table,
    terms,
    when,
)
from proxy.quota_report import report
from quota.ledger import Attempt, Change, Cooldown, Operation
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Micros
from quota.windows import ENDLESS
from tests.unit.proxy.quota_rows import NOW, of, pool, row, several

ROWS = report(of(*several()), NOW)


def printed(what: object, width: int = 1000) -> list[str]:
    """Its lines, as they leave for what is no terminal."""
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(what)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_the_table_has_a_line_for_each_pool_below_its_account() -> None:
    lines = printed(table(ROWS, NOW, UTC))
    assert len(lines) == 1 + len(ROWS) + len({each.account for each in ROWS})
    [gemini] = [line for line in lines if "20 requests/day" in line]
    for words in ("flash", "██████████░░", " 17 ", " 3 ", "in 17 h (Sun 08:00)", "spent in 1 h (16:14)", "catalog"):
        assert words in gemini
    [groq] = [line for line in lines if "1,000 requests/day" in line and "587" in line]
    assert "header, heard 12 s ago" in groq
    [money] = [line for line in lines if "$5.00/month" in line]
    assert "$1.23" in money
    assert "$3.77" in money


def test_a_model_is_named_once() -> None:
    assert sum("openai/gpt-oss-120b" in line for line in printed(table(ROWS, NOW, UTC))) == 1


def test_models_of_which_nothing_is_used_are_counted_where_they_are_many() -> None:
    used = pool(model="used", used=1)
    rows = report(of(pool(), used, *(pool(model=f"m{number}") for number in range(FEW + 1))), NOW)
    left, hidden = folded(rows)
    assert [each.model for each in left] == ["", "used"]
    assert hidden == {"groq-me": FEW + 1}
    few = tuple(each for each in rows if each.model != "m0")
    assert folded(few) == (few, {})


def test_a_table_is_never_empty_because_nothing_is_used() -> None:
    rows = report(of(*(pool(model=f"m{number}") for number in range(FEW + 1))), NOW)
    assert folded(rows) == (rows, {})


def test_facts_of_the_operators_own_have_no_day() -> None:
    [own] = [line for line in printed(table([row(pool(as_of="your configuration"))], NOW, UTC)) if "requests" in line]
    assert own.endswith("  your configuration")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_is_told_the_same(width: int) -> None:
    lines = printed(stack(ROWS, NOW, width, UTC), width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "412 used; 1 reserved; all again in 9 h (Sun 00:00); known from header, heard 12 s ago" in text
    assert "17 used; all again in 17 h (Sun 08:00); spent in 1 h (16:14); known from catalog" in text


def test_a_terminal_without_unicode_has_bars_too() -> None:
    assert bar(row(pool(used=500, reserved=250)), PLAIN).plain == "######===..."
    assert all(line.isascii() for line in printed(table(ROWS, NOW, UTC, PLAIN)))


@pytest.mark.parametrize(
    ("used", "reserved", "shown"),
    [(0, 0, "............"), (1, 0, "#..........."), (1, 1, "#=.........."), (1000, 0, "#" * 12), (1500, 9, "#" * 12)],
)
def test_what_is_not_nothing_is_seen(used: int, reserved: int, shown: str) -> None:
    assert bar(row(pool(used=used, reserved=reserved)), PLAIN).plain == shown


@pytest.mark.parametrize(
    ("micros", "words"),
    [
        (-5, "0 s"),
        (40 * SECOND, "40 s"),
        (12 * MINUTE, "12 min"),
        (HOUR - 2 * SECOND, "1 h"),
        (90 * MINUTE, "2 h"),
        (47 * HOUR, "2 d"),
    ],
)
def test_a_length_has_one_unit(micros: Micros, words: str) -> None:
    assert length(micros) == words


@pytest.mark.parametrize(
    ("later", "words"),
    [(3 * HOUR, "18:00"), (12 * HOUR, "Sun 03:00"), (5 * DAY, "Thu 15:00"), (10 * DAY, "1 Dec")],
)
def test_a_time_is_as_short_as_it_can_be(later: Micros, words: str) -> None:
    assert clock(NOW + later, NOW, UTC) == words


def test_seconds_need_no_time_of_day() -> None:
    assert when(NOW + 20 * SECOND, NOW, UTC) == "in 20 s"


def test_limits_and_amounts_are_words() -> None:
    assert limit(row(pool(cap=10_000, metric="input_tokens"))) == "10,000 input tokens/day"
    assert limit(row(pool(window=Fixed("ever"), cap=5_000_000, metric="usd_micros"))) == "$5.00 in all"
    assert limit(row(pool(window=Concurrent(), cap=2, metric="concurrent_requests"))) == "2 at once"
    assert [number("usd_micros", each) for each in (4_000, 100_000, 1_234_567)] == ["$0.0040", "$0.10", "$1.23"]


def test_what_is_closed_says_by_whom_and_when_there_is_more() -> None:
    closed = pool(used=3, closed_until=NOW + HOUR, left=0, opens_at=NOW + HOUR)
    assert "closed by the provider, more in 1 h (16:00)" in "\n".join(printed(table([row(closed)], NOW, UTC)))
    [running] = [line for line in printed(table(ROWS, NOW, UTC)) if "1 at once" in line]
    assert "all in use" in running


def test_an_unsure_fact_of_the_catalog_is_marked() -> None:
    unsure = row(pool(as_of="2026-08-22", confidence="low"))
    assert "catalog of 2026-08-22, unsure" in "\n".join(printed(table([unsure], NOW, UTC)))


REFUSED = "Its key was refused: correct it and restart, or change the key file."


def test_why_an_account_rests_stands_under_its_name_in_red() -> None:
    refused = {"account:groq-me": Cooldown("account:groq-me", ENDLESS, "it refused the key")}
    rows = report(of(*several()), NOW, cooldowns=refused)
    said = resting(rows, NOW, UTC)
    assert said == {"groq-me": [REFUSED]}
    for shown in (table(rows, NOW, UTC, resting=said), stack(rows, NOW, 100, UTC, resting=said)):
        lines = printed(shown)
        assert lines[lines.index("groq-me (groq)") + 1] == f"  {REFUSED}"
        assert sum("refused" in line for line in lines) == 1
        file = io.StringIO()
        Console(file=file, width=1000, highlight=False, color_system="standard", force_terminal=True).print(shown)
        assert f"\x1b[31m  {REFUSED}\x1b[0m" in file.getvalue()
    plain, told = (table(rows, NOW, UTC, resting=each) for each in ({}, said))
    assert printed(plain) == [line for line in printed(told) if "refused" not in line]  # no column is wider
    narrow = printed(stack(rows, NOW, 60, UTC, resting=said), 60)
    assert max(map(len, narrow)) <= 60
    assert REFUSED in " ".join(" ".join(narrow).split())


def test_models_that_rest_are_named_and_when_they_are_asked_again() -> None:
    names = [f"m{number}" for number in range(FEW + 2)]
    busy = {f"model:groq-me/{name}": Cooldown(f"model:groq-me/{name}", NOW + HOUR, "it is busy") for name in names}
    rows = report(of(*(pool(model=name) for name in [*names, "other"])), NOW, cooldowns=busy)
    why = "m0, m1, m2 and 2 more: It is not asked now: it is busy. Again in 1 h (16:00)."
    assert resting(rows, NOW, UTC) == {"groq-me": [why]}


def test_an_account_that_rests_is_shown_also_if_nothing_of_it_is_used() -> None:
    unused = [pool("openai", model=f"m{number}") for number in range(FEW + 2)]
    refused = {"account:openai": Cooldown("account:openai", ENDLESS, "it refused the key")}
    left, hidden = folded(report(of(pool(used=1), *unused), NOW, cooldowns=refused))
    assert [(each.account, each.model) for each in left] == [("groq-me", ""), ("openai", "m0")]
    assert hidden == {"openai": FEW + 1}


def test_terms_are_told_once_for_each_account() -> None:
    assert [*terms(ROWS)] == [
        "cohere: for trying out only, not for production.",
        "gemini-me: may train on what you send.",
    ]


def test_an_operation_is_told_with_its_pools() -> None:
    done = Operation(
        1, NOW, "settle", Attempt("req_1", 2), "", "late", {"a": Change(-3, 0, ((0, 1, 2),)), "b": Change()}
    )
    assert [*operations([done], zone=UTC)] == [
        "2026-11-21 15:00:00  settle  req_1 (try 2)  late",
        "    a: +2 used, -3 reserved",
        "    b",
    ]
    assert [*operations([done], "b", UTC)][1:] == ["    b"]
