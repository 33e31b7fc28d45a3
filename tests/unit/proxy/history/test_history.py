"""What is kept of routed calls: behind the calls, in one file, for whom it is, and until it is deleted."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from backends.events import Usage
from backends.request import Request, said
from proxy.errors import NothingToRate, StoreFailed, TooMuchFeedback
from proxy.history.history import AGAIN, DAY, WAITING, Bounds, History, kept
from proxy.history.labels import Kept
from proxy.history.reading import reading
from proxy.outcome import Attempt, Outcome, Routed
from proxy.store.database import database
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import opened
from proxy.store.sqlite_file import MIGRATIONS, StoreUnusable, file_of, queries
from proxy.wire.extras import RouteWish
from quota.sqlite_file import SqliteFile

QUESTION = "What is 2 + 2?"
ROUTED = Routed(("weak", "strong"), QUESTION, 0.0002, profile="auto", score=0.3, threshold=0.4)
OUTCOME = Outcome(
    request_id="req_1",
    principal="me",
    model="auto",
    status="completed",
    error=None,
    backend="local",
    backend_model="small",
    failed_attempts=(Attempt("gpu", "small", "backend_overloaded"),),
    first_event=0.2,
    duration=1.0,
    usage=Usage(10, 20),
    gaps=None,
    response_id="resp_1",
    cost=1234,
    routed=ROUTED,
)
LARGE = replace(OUTCOME, response_id="resp_2", model="cloud/large", backend="cloud", backend_model="large", routed=None)


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opening = Callable[..., AbstractAsyncContextManager[History]]


@pytest.fixture
def history(tmp_path: Path, clock: Clock) -> Opening:
    @asynccontextmanager
    async def made(prompts: bool = False, **bounds: Any) -> AsyncIterator[History]:
        async with database(tmp_path / "streamlane.db") as file:
            parts: dict[str, Any] = {"database": file, "features": str.encode, "now": clock}
            async with kept(History(prompts=prompts, bounds=Bounds(**bounds), **parts)) as it:
                yield it

    return made


def asking(text: str = QUESTION, **extras: object) -> Request:
    return Request("auto", (said("user", "Hello"), said("assistant", "Hi"), said("user", text)), 0, extras=extras)


def ask(history: History, outcome: Outcome = OUTCOME, request: Request | None = None, stored: bool = True) -> None:
    """A call begins and ends."""
    history.asked(outcome.response_id, outcome.principal, request or asking(), stored=stored)
    history.observe(outcome)


def rows(folder: Path) -> list[Kept]:
    with reading(folder) as file:
        return list(file.newest())


async def test_a_routed_call_is_kept_without_its_question(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it)
    [row] = rows(tmp_path)
    assert (row.asked, row.answered, row.score, row.threshold) == ("auto", "local/small", 0.3, 0.4)
    assert (row.sets, row.failed) == (("weak", "strong"), (("gpu", "small", "backend_overloaded"),))
    assert (row.cost, row.features, row.question, row.feedback) == (1234, QUESTION.encode(), None, "")


async def test_a_question_is_kept_only_where_all_want_it(history: Opening, tmp_path: Path) -> None:
    async with history(prompts=True) as it:
        ask(it, replace(OUTCOME, response_id="resp_text"))
        ask(it, replace(OUTCOME, response_id="resp_not_stored"), stored=False)
        for data in ("no_training", "confidential"):
            secret = asking(sl_route=RouteWish(data=data))  # type: ignore[arg-type]  # each of its words
            ask(it, replace(OUTCOME, response_id=f"resp_{data}"), secret)
    found = {row.response_id: (row.question, row.features) for row in rows(tmp_path)}
    assert found == {
        "resp_text": (QUESTION, QUESTION.encode()),
        "resp_not_stored": (None, QUESTION.encode()),
        "resp_no_training": (None, None),
        "resp_confidential": (None, None),
    }


async def test_nothing_is_made_before_something_is_kept(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it, LARGE)
        with pytest.raises(NothingToRate):
            await it.rate("me", "resp_2", "up")
        assert not await it.delete("me", "resp_2")
        await it.delete_all("me")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreUnusable, match="nothing was routed here yet"), reading(tmp_path):
        pass


async def test_the_newest_rating_counts_and_can_be_taken_back(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it)
        await it.rate("me", "resp_1", "up")
        await it.rate("me", "resp_1", "down", "cloud/large")
        [row] = rows(tmp_path)
        assert (row.rating, row.preferred, row.feedback) == (-1, "cloud/large", "down, cloud/large preferred")
        await it.rate("me", "resp_1", "up")
        [row] = rows(tmp_path)
        assert (row.rating, row.preferred) == (1, None)
        await it.take_back("me", "resp_1")
        [row] = rows(tmp_path)
        assert row.rating is None


async def test_only_the_one_who_asked_rates_takes_back_and_deletes(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it)
        await it.rate("me", "resp_1", "up")
        for other, name in (("you", "resp_1"), ("me", "resp_0"), ("me", "resp_\ud800"), ("me", "")):
            with pytest.raises(NothingToRate):
                await it.rate(other, name, "down")
            with pytest.raises(NothingToRate):
                await it.take_back(other, name)
            assert not await it.delete(other, name)
        await it.delete_all("you")
    assert [row.rating for row in rows(tmp_path)] == [1]


async def test_nobody_rates_more_in_a_day_than_may_be(history: Opening, clock: Clock) -> None:
    async with history(feedback_per_day=2) as it:
        for number in range(3):
            ask(it, replace(OUTCOME, response_id=f"resp_{number}"))
        await it.rate("me", "resp_0", "up")
        await it.rate("me", "resp_1", "up")
        await it.rate("me", "resp_1", "down")  # another word on the same is no further one
        with pytest.raises(TooMuchFeedback, match="2 answers"):
            await it.rate("me", "resp_2", "up")
        clock.now += DAY + 1
        await it.rate("me", "resp_2", "up")


async def test_asking_another_model_the_same_says_that_the_first_was_not_enough(
    history: Opening, tmp_path: Path, clock: Clock
) -> None:
    async with history() as it:
        ask(it)
        clock.now += 60
        ask(it, LARGE)
        await it.rate("me", "resp_2", "up")
    second, first = rows(tmp_path)
    assert (first.again, first.feedback) == ("cloud/large", "asked cloud/large again")
    assert (second.answered, second.features, second.rating) == ("cloud/large", QUESTION.encode(), 1)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(replace(LARGE, principal="you"), id="somebody else"),
        pytest.param(replace(LARGE, backend="local", backend_model="small"), id="the same model under another name"),
        pytest.param(replace(LARGE, model="auto", routed=ROUTED), id="the same name, which chose another model"),
        pytest.param(replace(LARGE, first_event=None, status="failed"), id="no answer"),
    ],
)
async def test_what_says_nothing_of_the_first_answer(history: Opening, tmp_path: Path, second: Outcome) -> None:
    async with history() as it:
        ask(it)
        ask(it, second)
    assert rows(tmp_path)[-1].again is None


async def test_another_question_or_much_later_says_nothing_either(
    history: Opening, tmp_path: Path, clock: Clock
) -> None:
    async with history() as it:
        ask(it)
        ask(it, LARGE, asking("What is 2 + 3?"))
        ask(it, LARGE, Request("auto", (said("user", QUESTION),), 0))  # in another conversation
        it.asked("resp_3", "me", asking(), stored=True)
        clock.now += 1
        ask(it, replace(OUTCOME, response_id="resp_4"))
        it.observe(replace(LARGE, response_id="resp_3"))  # asked before the other was answered
        clock.now += AGAIN + 1
        ask(it, LARGE)
    assert [(row.response_id, row.again) for row in rows(tmp_path)] == [("resp_4", None), ("resp_1", None)]


async def test_a_delete_leaves_nothing_and_lets_nothing_come(history: Opening, tmp_path: Path) -> None:
    async with history(prompts=True) as it:
        for number in range(4):
            ask(it, replace(OUTCOME, response_id=f"resp_{number}"))
        ask(it, replace(OUTCOME, response_id="resp_other", principal="you"))
        assert await it.delete("me", "resp_0")
        assert not await it.delete("me", "resp_0")
        it.asked("resp_running", "me", asking(), stored=True)
        it.forget("resp_running")
        await it.delete_all("me")
        it.observe(replace(OUTCOME, response_id="resp_running"))
        ask(it, replace(OUTCOME, response_id="resp_new"))
    assert [row.response_id for row in rows(tmp_path)] == ["resp_new", "resp_other"]


async def test_what_was_deleted_is_not_left_in_the_file(history: Opening, tmp_path: Path) -> None:
    async with history(prompts=True) as it:
        ask(it, replace(OUTCOME, routed=replace(ROUTED, question="a secret between us")))
        await it.rate("me", "resp_1", "up")
        files = [tmp_path / "streamlane.db", tmp_path / "streamlane.db-wal"]
        assert any(b"a secret between us" in file.read_bytes() for file in files)
        await it.delete("me", "resp_1")
        assert not any(b"a secret between us" in file.read_bytes() for file in files)


async def test_the_old_and_the_many_are_let_go_of(history: Opening, tmp_path: Path, clock: Clock) -> None:
    async with history() as it:
        ask(it, replace(OUTCOME, response_id="resp_old"))
    clock.now += 10 * DAY
    async with history() as it:
        for number in range(5):
            ask(it, replace(OUTCOME, response_id=f"resp_{number}"))
    async with history(days=5, max_rows=3):
        pass
    assert [row.response_id for row in rows(tmp_path)] == ["resp_4", "resp_3", "resp_2"]


async def test_a_full_queue_loses_the_newest_and_counts_it(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        for number in range(WAITING + 2):  # without a chance to write in between
            ask(it, replace(OUTCOME, response_id=f"resp_{number}"))
        assert it.lost == 2
    assert rows(tmp_path)[0].response_id == f"resp_{WAITING - 1}"


async def test_a_disk_that_fails_costs_the_history_and_no_call(history: Opening, tmp_path: Path) -> None:
    (tmp_path / "streamlane.db").write_bytes(b"not a database" * 1000)
    async with history() as it:
        ask(it)
        with pytest.raises(StoreFailed):
            await it.rate("me", "resp_1", "up")
        assert it.lost == 1
        (tmp_path / "streamlane.db").unlink()
        ask(it)
        await it.rate("me", "resp_1", "up")
    assert [row.rating for row in rows(tmp_path)] == [1]


async def test_who_leaves_while_its_rating_is_written_takes_nothing_along(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it)
        rating = asyncio.create_task(it.rate("me", "resp_1", "up"))
        await asyncio.sleep(0)
        rating.cancel()
        ask(it, replace(OUTCOME, response_id="resp_2"))
    assert {row.response_id for row in rows(tmp_path)} == {"resp_1", "resp_2"}


async def test_what_is_rated_while_the_first_call_is_written_is_there(history: Opening, tmp_path: Path) -> None:
    async with history() as it:
        ask(it)
        for _ in range(3):  # of the loop: the group is on its way, and there is no file yet
            await asyncio.sleep(0)
        await it.rate("me", "resp_1", "up")
    assert [row.rating for row in rows(tmp_path)] == [1]


async def test_responses_and_history_share_the_file(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "streamlane.db"
    before = SqliteFile(path, queries=queries(), migrations=MIGRATIONS[:1])
    before.prepare()  # as a gateway of the first schema left it
    with closing(sqlite3.connect(path)) as old:
        old.execute("INSERT INTO responses VALUES ('resp_1', 'me', NULL, 2e9, x'7b7d')")
        old.commit()
    async with database(path) as file, opened(file, MemoryStore(0, clock), 1 << 20, clock) as store:
        made = History(database=file, features=str.encode, prompts=False, bounds=Bounds(), now=clock)
        async with kept(made) as it:
            assert await store.get("resp_1", "me"), "what was there is still there"
            ask(it)
            await it.rate("me", "resp_1", "up")
            assert await store.delete_all("me") == 1
    assert len(rows(tmp_path)) == 1
    assert file_of(path).path.exists()
