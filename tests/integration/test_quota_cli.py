"""`streamlane quota`: the ledger of a gateway that runs or does not, read, exported, corrected and checked."""

import asyncio
import csv
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from proxy.cli import app
from proxy.reference.shapes import QuotaPool
from quota.ledger import Attempt, Cooldown, Denied, Granted
from quota.pool import DAY, Fixed, Gcra, Pool
from quota.sqlite_ledger import opened
from quota.windows import ENDLESS

ACCOUNT = """
[[accounts]]
name = "mine"
provider = "groq"
api_key = "gsk_0123456789abcdef0123"
models = ["m"]
limits = [
  { metric = "requests", amount = 20, window = "day", reset = "fixed" },
  { metric = "tokens", amount = 1000, window = "day", reset = "token_bucket" },
]
"""
REQUESTS, TOKENS = "mine/requests/day", "mine/tokens/day"
Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the gateway keeps its files, with an account in the configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMLANE_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("STREAMLANE_CONFIG", raising=False)
    (tmp_path / "streamlane.toml").write_text(ACCOUNT)
    return tmp_path


@pytest.fixture
def run() -> Run:
    """Runs the program."""
    return lambda *arguments: CliRunner().invoke(app, arguments, prog_name="streamlane", catch_exceptions=False)


def pools(account: str = "mine") -> tuple[Pool, ...]:
    """Those that the account has, as a gateway defines them."""
    names = {"account": account, "provider": "groq", "per": "day"}
    return (
        Pool(
            f"{account}/requests/day", 20, Fixed("day"), source="configuration", labels={**names, "metric": "requests"}
        ),
        Pool(f"{account}/tokens/day", 1000, Gcra(DAY), source="configuration", labels={**names, "metric": "tokens"}),
    )


async def spend(file: Path, count: int, account: str = "mine") -> None:
    """So many requests of 10 tokens each."""
    async with opened(file) as ledger:
        await ledger.define(pools(account))
        for number in range(count):
            attempt, amounts = Attempt(f"req_{number}"), {each.id: 10 for each in pools(account)}
            amounts[f"{account}/requests/day"] = 1
            assert isinstance(await ledger.reserve(attempt, amounts, "key_a"), Granted)
            await ledger.settle(attempt, amounts)


@pytest.fixture
def spent(folder: Path) -> Path:
    """A ledger in which 7 requests are booked."""
    asyncio.run(spend(folder / "quota.db", 7))
    return folder


def rows(run: Run, *arguments: str) -> Mapping[str, Any]:
    return {each["id"]: each for each in json.loads(run("quota", "--json", *arguments).output)["data"]}


def test_without_an_account_it_says_how_to_begin(run: Run, folder: Path) -> None:
    (folder / "streamlane.toml").write_text("")
    said = run("quota")
    assert said.exit_code == 0
    assert "no account yet" in said.output
    assert "streamlane free add" in said.output
    assert json.loads(run("quota", "--json").output) == {"object": "list", "data": []}


@pytest.mark.parametrize("command", [(), ("history",), ("export",), ("reconcile",), ("adjust", "x", "1", "--why", "y")])
def test_before_the_first_start_it_says_so(run: Run, folder: Path, command: tuple[str, ...]) -> None:
    said = run("quota", *command)
    assert said.exit_code == 0
    assert "Start the gateway: streamlane serve" in said.output
    assert not (folder / "quota.db").exists()


def test_the_table_says_what_is_left_and_when_it_comes_back(run: Run, spent: Path) -> None:
    said = run("quota")
    assert said.exit_code == 0
    assert "\x1b" not in said.output
    [requests] = [line for line in said.output.splitlines() if "20 requests/day" in line]
    assert [word for word in ("████", " 7 ", " 13 ", "in ", "configuration") if word not in requests] == []
    [tokens] = [line for line in said.output.splitlines() if "1,000 tokens/day" in line]
    assert " 930 " in tokens


def test_no_key_is_needed(run: Run, spent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    (spent / "streamlane.toml").write_text(ACCOUNT.replace("gsk_0123456789abcdef0123", "${GROQ_API_KEY}"))
    table = run("quota")
    assert table.exit_code == 0
    assert "20 requests/day" in table.output


def test_it_sees_what_a_gateway_that_runs_has_just_booked(run: Run, folder: Path) -> None:
    async def beside() -> tuple[int, int]:
        async with opened(folder / "quota.db") as ledger:
            await ledger.define(pools())
            await ledger.reserve(Attempt("req_1"), {REQUESTS: 3, TOKENS: 50})
            before = await asyncio.to_thread(rows, run)
            await ledger.settle(Attempt("req_1"), {REQUESTS: 2, TOKENS: 40})
            after = await asyncio.to_thread(rows, run)
            return before[REQUESTS]["reserved"], after[REQUESTS]["used"]

    assert asyncio.run(beside()) == (3, 2)


def test_looking_changes_nothing(run: Run, spent: Path) -> None:
    def state() -> list[Any]:
        with closing(sqlite3.connect(spent / "quota.db")) as database:
            return list(database.iterdump())

    before = state()
    for command in ((), ("--json",), ("history",), ("export",)):
        assert run("quota", *command).exit_code == 0
    assert state() == before


def test_json_is_what_the_api_answers(run: Run, spent: Path) -> None:
    for each in rows(run).values():
        msgspec.convert(each, QuotaPool)
    assert (rows(run)[REQUESTS]["left"], rows(run)[REQUESTS]["account"]) == (13, "mine")


def test_what_is_not_configured_any_more_is_shown_only_when_asked_for(run: Run, spent: Path) -> None:
    asyncio.run(spend(spent / "quota.db", 0, "gone"))
    assert "gone" not in run("quota").output
    assert "2 pools of what is not configured any more; --all shows them" in run("quota").output
    assert "gone" in run("quota", "--all").output
    (spent / "streamlane.toml").write_text("")
    assert "No account is configured" in run("quota").output


def test_an_account_that_is_not_used_says_why(run: Run, spent: Path) -> None:
    more = '[[accounts]]\nname = "google"\nprovider = "gemini"\napi_key = "AIza0123456789abcdef"\n'
    (spent / "streamlane.toml").write_text(ACCOUNT + more)
    assert "google is not used: terms of" in run("quota").output


def test_an_account_whose_key_was_refused_says_so_under_its_name(run: Run, spent: Path) -> None:
    async def refuse() -> None:
        async with opened(spent / "quota.db") as ledger:
            await ledger.cool(Cooldown("account:mine", ENDLESS, "it refused the key"))

    asyncio.run(refuse())
    for arguments in ((), ("--all",)):
        said = [line.rstrip() for line in run("quota", *arguments).output.splitlines()]
        assert said[said.index("mine (groq)") + 1].startswith("  Its key was refused: ")
    assert (rows(run)[REQUESTS]["left"], rows(run)[REQUESTS]["rests_until"]) == (13, None)
    assert rows(run)[REQUESTS]["resting"].startswith("Its key was refused: ")


def test_the_history_is_newest_first(run: Run, spent: Path) -> None:
    said = run("quota", "history", "--limit", "2").output.splitlines()
    assert "settle  req_6" in said[0]
    assert f"    {REQUESTS}: +1 used, -1 reserved" in said[1:3]
    assert "reserve  req_6" in said[3]
    assert said[-1] == "These are the newest 2; --limit shows more."


def test_the_history_of_one_pool_and_of_a_while(run: Run, spent: Path) -> None:
    said = run("quota", "history", "--pool", REQUESTS, "--since", "1h").output
    assert REQUESTS in said
    assert TOKENS not in said
    assert run("quota", "history", "--since", "2999-01-01").output == "Nothing has happened since then.\n"


@pytest.mark.parametrize("wrong", ["yesterday", "3y", "-", "d", "9999999999999d"])
def test_a_time_that_is_none_is_told_what_is(run: Run, spent: Path, wrong: str) -> None:
    said = run("quota", "history", f"--since={wrong}")
    assert said.exit_code == 2
    assert "expected 30m, 12h, 7d" in said.output


def test_a_pool_that_is_not_there_is_told_the_nearest(run: Run, spent: Path) -> None:
    for command in (("history", "--pool", "mine/request/day"), ("adjust", "mine/request/day", "1", "--why", "x")):
        said = run("quota", *command)
        assert said.exit_code == 1
        assert f"Did you mean '{REQUESTS}'?" in said.output


def test_an_export_adds_up(run: Run, spent: Path) -> None:
    told = list(csv.DictReader(run("quota", "export").output.splitlines()))
    booked = [each for each in told if each["pool"] == REQUESTS]
    assert sum(int(each["used"]) for each in booked) == rows(run)[REQUESTS]["used"] == 7
    assert sum(int(each["reserved"]) for each in booked) == 0
    assert {each["tag"] for each in booked if each["kind"] == "settle"} <= {"key_a", ""}
    same = [json.loads(line) for line in run("quota", "export", "--format", "json").output.splitlines()]
    assert [(each["seq"], each["pool"]) for each in same] == [(int(each["seq"]), each["pool"]) for each in told]


@pytest.mark.parametrize(("amount", "left"), [(5, 8), (-3, 16), (-100, 20), (100, 0)])
def test_an_adjustment_is_booked_with_its_reason(run: Run, spent: Path, amount: int, left: int) -> None:
    said = run("quota", "adjust", REQUESTS, str(amount), "--why", "the console says so")
    assert said.output == f"{REQUESTS}: 7 → {max(0, 7 + amount)} used.\n"
    assert rows(run)[REQUESTS]["left"] == left
    assert f"adjust  {amount:+}: the console says so" in run("quota", "history", "--limit", "1").output


def test_a_gateway_that_runs_knows_of_an_adjustment(run: Run, folder: Path) -> None:
    async def beside() -> None:
        async with opened(folder / "quota.db") as ledger, asyncio.timeout(20):
            await ledger.define(pools())
            said = await asyncio.to_thread(run, "quota", "adjust", REQUESTS, "20", "--why", "x")
            assert said.exit_code == 0
            assert isinstance(await ledger.reserve(Attempt("req_1"), {REQUESTS: 1}), Denied)  # at once
            while ledger.headroom()[REQUESTS].left:  # and it is told within a second
                await asyncio.sleep(0.02)

    asyncio.run(beside())


def test_an_adjustment_needs_a_reason(run: Run, spent: Path) -> None:
    said = run("quota", "adjust", REQUESTS, "5")
    assert said.exit_code == 2
    assert "--why" in said.output


def test_balances_that_add_up_are_well(run: Run, spent: Path) -> None:
    said = run("quota", "reconcile")
    assert (said.exit_code, said.output) == (
        0,
        "All is well: the balances of 2 pools are the sums of their operations.\n",
    )


def test_a_balance_that_does_not_add_up_is_told(run: Run, spent: Path) -> None:
    with closing(sqlite3.connect(spent / "quota.db")) as database, database:
        database.execute("UPDATE bucket SET used = used + 3 WHERE pool = ?", (REQUESTS,))
    said = run("quota", "reconcile")
    assert said.exit_code == 1
    assert f"{REQUESTS}: 10 were used" in said.output
    assert "its operations say 7" in said.output


@pytest.mark.parametrize(
    "command", [(), ("history",), ("export",), ("reconcile",), ("adjust", REQUESTS, "1", "--why", "y")]
)
def test_a_file_that_is_no_ledger_is_a_sentence(run: Run, folder: Path, command: tuple[str, ...]) -> None:
    (folder / "quota.db").write_bytes(b"something else altogether" * 100)
    said = run("quota", *command)
    assert said.exit_code == 1
    assert "it is no SQLite file" in said.output


def test_a_file_of_a_newer_streamlane_is_left_alone(run: Run, spent: Path) -> None:
    with closing(sqlite3.connect(spent / "quota.db")) as database:
        database.execute("PRAGMA user_version = 99")
    said = run("quota")
    assert said.exit_code == 1
    assert "Update Streamlane" in said.output


def test_the_file_may_be_named_before_the_command(run: Run, spent: Path) -> None:
    (spent / "streamlane.toml").rename(spent / "other.toml")
    (spent / "elsewhere").mkdir()
    (spent / "other.toml").write_text(ACCOUNT)
    assert REQUESTS in run("quota", "--config", "other.toml", "history").output
    assert "13" in run("quota", "--config", "other.toml").output
