"""One suite for every store of responses: what it keeps, whose, for how long, and that a delete is a delete."""

import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.store.memory import MemoryStore
from proxy.store.port import OVERHEAD, Row, Store, Stored
from tests.streamlane_db import opened

ROOM = 1024 * 1024


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def row(name: str, principal: str = "me", expires: float = 2000, previous: str | None = None, body: int = 0) -> Row:
    return Row(name, principal, previous, expires, b"x" * body)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "sqlite without memory"])
async def store(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> AsyncIterator[Store]:
    memory = MemoryStore(0 if request.param == "sqlite without memory" else ROOM, clock)
    if request.param == "memory":
        yield memory
        return
    async with opened(tmp_path / "streamlane.db", memory, ROOM, clock) as store:
        yield store


async def test_what_was_remembered_is_there_at_once(store: Store) -> None:
    stored = Stored(
        id="resp_1",
        principal="me",
        response={"id": "resp_1", "status": "completed", "output": [{"text": "wörld \U0001f600"}]},
        items=({"id": "msg_1", "type": "message"},),
        previous_id="resp_0",
        expires=2000,
    )
    store.remember(Row.of(stored))
    found = await store.get("resp_1", "me")
    assert found is not None
    assert found.stored() == stored
    assert await store.get("resp_2", "me") is None


def test_a_row_takes_the_memory_that_it_says() -> None:
    items = tuple({"id": f"msg_{number}", "text": "x" * 100} for number in range(100))
    stored = Stored(id="resp_1", principal="me", response={}, items=items, previous_id=None, expires=2000)
    tracemalloc.start()
    try:
        packed = Row.of(stored)
        assert tracemalloc.get_traced_memory()[0] <= packed.size  # orjson's own buffers have many times the length
    finally:
        tracemalloc.stop()


async def test_another_principal_neither_reads_nor_deletes(store: Store) -> None:
    store.remember(row("resp_1"))
    assert await store.get("resp_1", "other") is None
    assert not await store.delete("resp_1", "other")
    assert await store.delete_all("other") == 0
    assert await store.get("resp_1", "me") == row("resp_1")


async def test_what_is_past_its_time_is_gone(store: Store, clock: Clock) -> None:
    store.remember(row("resp_1", expires=1010))
    clock.now = 1009.9
    assert await store.get("resp_1", "me")
    clock.now = 1010
    assert await store.get("resp_1", "me") is None


async def test_deleted_is_deleted_and_said_once(store: Store) -> None:
    store.remember(row("resp_1"))
    store.remember(row("resp_2"))
    assert await store.delete("resp_1", "me")
    assert await store.get("resp_1", "me") is None
    assert not await store.delete("resp_1", "me")
    assert await store.get("resp_2", "me") == row("resp_2")


async def test_all_of_a_principal_is_deleted_and_nothing_of_another(store: Store) -> None:
    for number in range(5):
        store.remember(row(f"resp_{number}"))
    store.remember(row("resp_other", "other"))
    assert await store.delete_all("me") == 5
    assert [await store.get(f"resp_{number}", "me") for number in range(5)] == [None] * 5
    assert await store.get("resp_other", "other")
    store.remember(row("resp_new"))
    assert await store.get("resp_new", "me"), "what comes after a delete is kept"


async def test_an_id_that_no_store_could_hold_is_just_not_there(store: Store) -> None:
    for strange in ("", "resp_\ud800", "resp_\0", "x" * 100_000, "'; DROP TABLE responses; --"):
        assert await store.get(strange, "me") is None
        assert not await store.delete(strange, "me")


async def test_memory_is_bounded(store: Store) -> None:
    for number in range(20):
        store.remember(row(f"resp_{number}", body=ROOM // 10 - OVERHEAD))
    assert store.size <= ROOM
