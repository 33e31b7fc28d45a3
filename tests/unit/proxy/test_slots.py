"""The places of a backend: never too many, in order, none lost, whoever gives up whenever."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import DeadlineExceeded, QueueFull
from proxy.slots import Slots


class Caller:
    """One that wants a place, holds it until `done` is set, and writes down what it was told."""

    def __init__(self, slots: Slots, limit: int | None) -> None:
        self.told: list[int] = []
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._call(slots, limit))

    async def _call(self, slots: Slots, limit: int | None) -> None:
        async with slots.one(limit, self.told.append):
            await self.done.wait()

    @property
    def has_place(self) -> bool:
        return self.told[-1:] == [0] and not self.task.done()

    async def end(self, cancel: bool) -> None:
        self.done.set()
        if cancel:
            self.task.cancel()


async def settle() -> None:
    """Long enough for a place to go through the hands of everybody in line."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_each_is_told_its_place_as_the_line_moves() -> None:
    slots = Slots(queue=8, seconds=60)
    callers = [Caller(slots, 1) for _ in range(4)]
    await settle()
    assert [caller.told for caller in callers] == [[0], [1], [2], [3]]
    await callers[1].end(cancel=True)  # gives up while it waits
    await settle()
    assert [caller.told for caller in callers] == [[0], [1], [2, 1], [3, 2]]
    await callers[0].end(cancel=False)
    await settle()
    assert [caller.told for caller in callers] == [[0], [1], [2, 1, 0], [3, 2, 1]]
    for caller in callers:
        await caller.end(cancel=True)


async def test_a_full_line_refuses() -> None:
    slots = Slots(queue=1, seconds=60)
    callers = [Caller(slots, 1) for _ in range(2)]
    await settle()
    with pytest.raises(QueueFull):
        async with slots.one(1, lambda _: None):
            pass
    for caller in callers:
        await caller.end(cancel=True)


async def test_waiting_ends_with_its_deadline_and_leaves_the_line() -> None:
    slots = Slots(queue=8, seconds=0.01)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(slots.one(1, lambda _: None))
        with pytest.raises(DeadlineExceeded):
            async with slots.one(1, lambda _: None):
                pass
        assert slots.waiting == 0
    assert slots.taken == 0


@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.booleans()), max_size=40))
def test_no_place_is_lost_and_none_is_given_twice(limit: int, moves: list[tuple[int, bool, bool]]) -> None:
    async def play() -> None:
        slots = Slots(queue=100, seconds=60)
        callers: list[Caller] = []
        for which, cancel, at_once in moves:
            if which < len(callers):
                await callers[which].end(cancel)
            else:
                callers.append(Caller(slots, limit))
            if not at_once:  # otherwise several things happen in one turn of the loop
                await settle()
        await settle()
        holding = [caller for caller in callers if caller.has_place]
        alive = [caller for caller in callers if not caller.task.done()]
        assert len(holding) == min(limit, len(alive))
        assert alive[: len(holding)] == holding, "the line is not in order"
        assert (slots.taken, slots.waiting) == (len(holding), len(alive) - len(holding))
        for caller in callers:
            caller.task.cancel()
            with suppress(asyncio.CancelledError):
                await caller.task
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(play())
