"""What only a ledger in a file can do: outlive its process, share, recover what the dead held, say what is wrong."""

import asyncio
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quota.ledger import Attempt, Cooldown, Denied, Granted, LedgerUnusable, Observation
from quota.pool import DAY, MINUTE, SECOND, Fixed, Gcra, Micros, Pool, Rolling, Window
from quota.sqlite_ledger import SqliteLedger, needs_our_lock, opened
from tests.upstream import until

ROOT = Path(__file__).parents[3]
NOON: Micros = 1_795_262_400 * SECOND
POOLS = [
    Pool("minute", 10, Rolling(MINUTE)),
    Pool("day", 100, Fixed("day", "Asia/Tokyo")),
    Pool("gcra", 10, Gcra(MINUTE)),
]
EACH = {"minute": 2, "day": 20, "gcra": 2}


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> Micros:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "quota.db"


@asynccontextmanager
async def ready(path: Path, clock: Clock) -> AsyncIterator[SqliteLedger]:
    async with opened(path, now=clock) as ledger:
        await ledger.define(POOLS)
        yield ledger


def standing(ledger: SqliteLedger) -> dict[str, tuple[int, int, int]]:
    return {name: (room.used, room.reserved, room.left) for name, room in ledger.headroom().items()}


async def test_all_that_was_answered_is_there_after_a_restart(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        first = await ledger.reserve(Attempt("req_1"), EACH, "me")
        await ledger.settle(Attempt("req_1"), {"day": 11})
        await ledger.observe(Observation("minute", NOON, "header", limit=8))
        await ledger.cool(Cooldown("model", NOON + MINUTE, "asked to wait"))
        before = ledger.headroom()
    async with opened(path, now=clock) as ledger:
        assert ledger.headroom() == before
        assert ledger.headroom()["day"].shares == {"me": 11}
        assert dict(ledger.cooldowns()) == {"model": Cooldown("model", NOON + MINUTE, "asked to wait")}
        assert await ledger.reserve(Attempt("req_1"), EACH, "me") == first
        assert await ledger.reconcile() == []


async def test_time_does_not_go_back_behind_what_was_written(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        clock.now = NOON + MINUTE
        await ledger.reserve(Attempt("req_1"), EACH)
    clock.now = NOON
    async with opened(path, now=clock) as ledger:
        assert ledger.now() == NOON + MINUTE


async def test_two_ledgers_on_one_file_never_grant_more_than_there_is(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as one, ready(path, clock) as two:
        answers = await asyncio.gather(
            *((one, two)[number % 2].reserve(Attempt(f"req_{number}"), {"minute": 1}) for number in range(40))
        )
        assert sum(isinstance(answer, Granted) for answer in answers) == 10
        open_ones = [answer.attempt for answer in answers if isinstance(answer, Granted)]
        await asyncio.gather(
            *(two.settle(attempt, {"minute": 0}) for attempt in open_ones), two.release(open_ones[0], "")
        )
        assert isinstance(await one.reserve(Attempt("more"), {"minute": 10}), Granted)
        assert await one.reconcile() == await two.reconcile() == []


async def test_what_another_process_did_is_seen_soon(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as one, ready(path, clock) as two:
        await one.reserve(Attempt("req_1"), EACH)
        await one.cool(Cooldown("model", NOON + MINUTE, ""))
        await until(lambda: standing(two) == standing(one))
        assert standing(two)["minute"] == (0, 2, 8)
        assert set(two.cooldowns()) == {"model"}
        await two.settle(Attempt("req_1"), {})
        await two.warm("model")
        await until(lambda: standing(two) == standing(one) and not one.cooldowns())
        assert standing(one)["minute"] == (2, 0, 8)


async def test_a_lease_that_ended_is_charged_in_full_and_settled_late_once(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as one, ready(path, clock) as two:
        granted = await one.reserve(Attempt("req_1"), EACH)
        assert isinstance(granted, Granted)
        assert await two.recover() == 0
        clock.now = granted.lease_end
        assert await two.recover() == 1
        assert await two.recover() == await one.recover() == 0
        assert (await two.history())[0].kind == "lapse"
        assert standing(two)["day"] == (20, 0, 80)
        late = await one.settle(Attempt("req_1"), {"day": 5})
        assert late is not None
        assert late.late
        assert await one.settle(Attempt("req_1"), {"day": 1}) == late
        assert standing(one)["day"] == (5, 0, 95)
        assert await one.reconcile() == []


async def test_leases_are_renewed_while_their_process_lives(path: Path) -> None:
    async with opened(path, ttl=3 * SECOND) as ledger, opened(path) as other:
        await ledger.define(POOLS)
        granted = await ledger.reserve(Attempt("req_1"), EACH)
        assert isinstance(granted, Granted)
        await until(lambda: ledger.now() > granted.lease_end)
        assert await other.recover() == 0
        assert standing(ledger)["day"] == (0, 20, 80)
        assert await ledger.settle(Attempt("req_1"), {}) is not None


async def test_who_slept_past_its_lease_goes_on_if_nobody_noticed(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        granted = await ledger.reserve(Attempt("req_1"), EACH)
        assert isinstance(granted, Granted)
        clock.now = granted.lease_end + MINUTE
        assert await ledger.recover() == 0
        settled = await ledger.settle(Attempt("req_1"), {})
        assert settled is not None
        assert not settled.late


async def test_who_missed_what_was_pruned_believes_the_file(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as one, ready(path, clock) as two:
        granted = await one.reserve(Attempt("req_1"), {"minute": 5})
        assert isinstance(granted, Granted)
        clock.now = granted.lease_end - SECOND
        await one.reserve(Attempt("req_2"), {"minute": 5})
        clock.now += SECOND
        assert await two.recover() == 1
        clock.now += SECOND
        await two.prune(clock.now)
        assert await one.settle(Attempt("req_1"), {}) is None, "nobody knows it any more"
        assert standing(one)["minute"] == (5, 5, 0)
        assert await one.reconcile() == []


DYING = """
import asyncio, sys
from pathlib import Path
from quota.ledger import Attempt
from quota.sqlite_ledger import opened

async def main():
    async with opened(Path(sys.argv[1])) as ledger:
        await ledger.reserve(Attempt("req_dead"), {"day": 20}, "me")
        print("reserved", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_what_a_dead_process_held_is_charged_at_once(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.define(POOLS)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DYING, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"reserved\n"
        assert await ledger.recover() == 0, "it lives"
        child.send_signal(signal.SIGKILL)
        await child.wait()
        assert await ledger.recover() == 1, "long before its lease ends"
        assert standing(ledger)["day"] == (20, 0, 80)
        assert await ledger.reconcile() == []


async def test_the_next_start_charges_what_the_last_one_left(path: Path) -> None:
    async with opened(path) as ledger:
        await ledger.define(POOLS)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DYING, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    await child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    await child.wait()
    async with opened(path) as ledger:
        assert standing(ledger)["day"] == (20, 0, 80)


async def test_after_a_failure_all_goes_on_from_what_is_on_the_disk(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        await ledger.reserve(Attempt("req_1"), EACH)
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE reservation RENAME TO hidden")
        with pytest.raises(LedgerUnusable):
            await ledger.reserve(Attempt("req_2"), EACH)
        with pytest.raises(LedgerUnusable):
            await ledger.settle(Attempt("req_1"), {})
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE hidden RENAME TO reservation")
        assert standing(ledger)["day"] == (0, 20, 80), "nothing of what failed was done"
        assert isinstance(await ledger.reserve(Attempt("req_2"), EACH), Granted)
        assert await ledger.settle(Attempt("req_1"), {}) is not None
        assert await ledger.reconcile() == []


async def test_what_could_not_be_settled_is_charged_in_full_when_its_lease_ends(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        granted = await ledger.reserve(Attempt("req_1"), EACH)
        assert isinstance(granted, Granted)
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE reservation RENAME TO hidden")
        with pytest.raises(LedgerUnusable):
            await ledger.settle(Attempt("req_1"), {"day": 1})
        with closing(sqlite3.connect(path)) as database:
            database.execute("ALTER TABLE hidden RENAME TO reservation")
        assert await ledger.recover() == 0
        clock.now = granted.lease_end
        assert await ledger.recover() == 1
        assert standing(ledger)["day"] == (20, 0, 80)


@pytest.mark.parametrize(
    ("before", "after"),
    [(Rolling(MINUTE, slots=12), Rolling(2 * MINUTE, slots=24)), (Fixed("minute"), Fixed("minute", guard=30 * SECOND))],
)
async def test_a_window_that_was_made_longer_counts_as_long_after_a_restart(
    before: Window, after: Window, path: Path, clock: Clock
) -> None:
    async with opened(path, now=clock) as ledger:
        await ledger.define([Pool("pool", 10, before)])
        await ledger.reserve(Attempt("req_1"), {"pool": 10})
        await ledger.settle(Attempt("req_1"), {})
        await ledger.define([Pool("pool", 10, after)])
        denied = await ledger.reserve(Attempt("req_2"), {"pool": 1})
    assert isinstance(denied, Denied)
    assert denied.opens_at is not None
    clock.now = denied.opens_at - 1
    async with opened(path, now=clock) as ledger:
        assert isinstance(await ledger.reserve(Attempt("req_2"), {"pool": 1}), Denied)
        clock.now = denied.opens_at
        assert isinstance(await ledger.reserve(Attempt("req_2"), {"pool": 1}), Granted)


async def test_a_row_that_nobody_can_read_says_what_to_do(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE pool SET definition = '{', seq = seq + 100")
            database.execute("UPDATE mark SET seq = seq + 100")
            database.commit()
        for call in (ledger.reserve(Attempt("req_1"), EACH), ledger.recover(), ledger.reconcile()):
            with pytest.raises(LedgerUnusable, match=r"cannot be read.*Move it away"):
                await call


async def test_the_janitor_comes_again_after_any_failure(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota.sqlite_ledger.JANITOR", 0.01)
    async with ready(path, clock) as one, ready(path, clock) as two:
        granted = await one.reserve(Attempt("req_1"), {"day": 20})
        assert isinstance(granted, Granted)
        with capture_logs() as logs, closing(sqlite3.connect(path)) as database:
            database.execute("INSERT INTO bucket SELECT 'of no pool', time, time + 1, time + 2, 1, seq + 1 FROM mark")
            database.commit()
            standing(two)
            await until(lambda: any(line["event"] == "ledger_not_written" for line in logs))
            database.execute("DELETE FROM bucket")
            database.commit()
        clock.now = granted.lease_end
        await until(lambda: standing(two)["day"] == (20, 0, 80))


async def test_a_file_of_the_future_is_told(path: Path, clock: Clock) -> None:
    clock.now = NOON + 400 * DAY
    async with ready(path, clock):
        pass
    clock.now = NOON
    with capture_logs() as logs:
        async with ready(path, clock) as ledger:
            assert ledger.now() == NOON + 400 * DAY
    [said] = [line for line in logs if line["event"] == "ledger_ahead"]
    assert said["seconds"] == 400 * 86_400
    clock.now = NOON + 400 * DAY
    with capture_logs() as logs:
        async with ready(path, clock):
            pass
    assert not logs


async def test_only_the_guilty_call_of_a_batch_fails(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        good = [ledger.reserve(Attempt(f"req_{number}"), {"day": 1}) for number in range(5)]
        bad = ledger.reserve(Attempt("bad"), {"day": -1})
        answers = await asyncio.gather(*good, bad, return_exceptions=True)
        assert all(isinstance(answer, Granted) for answer in answers[:5])
        assert isinstance(answers[5], ValueError)
        assert standing(ledger)["day"] == (0, 5, 95)


async def test_closed_is_closed(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        await ledger.reserve(Attempt("req_1"), EACH)
        queued = ledger.settle(Attempt("req_1"), {})
    assert (await queued) is not None, "leaving writes what is queued"
    with pytest.raises(LedgerUnusable, match="closed"):
        await ledger.reserve(Attempt("req_2"), EACH)
    with pytest.raises(LedgerUnusable, match="closed"):
        await ledger.settle(Attempt("req_2"), {})
    assert not path.with_name("quota.db-wal").exists(), "the last one to close moves the log to the file"


@pytest.mark.parametrize("what", ["rubbish", "folder", "newer"])
async def test_a_file_that_cannot_be_used_says_what_to_do(what: str, path: Path, clock: Clock) -> None:
    if what == "folder":
        path.mkdir()
    elif what == "rubbish":
        path.write_bytes(b"nothing that SQLite wrote " * 1000)
    else:
        async with ready(path, clock):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 1000")
    with pytest.raises(LedgerUnusable, match=r"quota\.db.*(Move it away|Give this user|Update Streamlane)"):
        async with ready(path, clock):
            pass


async def test_reconciling_sees_what_somebody_else_has_changed(path: Path, clock: Clock) -> None:
    async with ready(path, clock) as ledger:
        await ledger.reserve(Attempt("req_1"), {"minute": 2})
        await ledger.settle(Attempt("req_1"), {})
        assert await ledger.reconcile() == []
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE bucket SET used = used + 1")
            database.commit()
        [sentence] = await ledger.reconcile()
        assert sentence.startswith("minute: 3 were used")


async def test_a_year_of_pruning_in_small_steps(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quota.sqlite_work.PRUNED_AT_ONCE", 7)
    async with ready(path, clock) as ledger:
        for number in range(30):
            clock.now += 20 * SECOND
            if isinstance(await ledger.reserve(Attempt(f"req_{number}"), {"minute": 1, "gcra": 1, "day": 1}), Denied):
                continue
            if number != 5:
                await ledger.settle(Attempt(f"req_{number}"), {})
        before, kept = standing(ledger), await ledger.history(since=clock.now - MINUTE)
        assert await ledger.prune(clock.now - MINUTE) == 60 - len(kept)
        assert list(await ledger.history())[:-1] == list(kept)
        assert standing(ledger) == before
        assert await ledger.reconcile() == []
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM reservation WHERE state = 'open'").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM reservation").fetchone()[0] <= len(kept) + 1


async def test_the_thread_and_the_tasks_end_with_it(path: Path) -> None:
    async with opened(path):
        pass
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert "ledger writer" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("version", "needed"), [((3, 6, 23), False), ((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)]
)
def test_which_sqlite_needs_our_lock(version: tuple[int, int, int], needed: bool) -> None:
    assert needs_our_lock(version) is needed
