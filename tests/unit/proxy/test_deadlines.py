"""The scopes around the waits of a call: in time, too late, and cancelled by somebody else."""

import asyncio

import pytest

from backends.errors import DeadlineExceeded
from proxy.deadlines import Deadline, Silence

SOON, LONG = 0.01, 60.0


async def test_what_is_late_is_named() -> None:
    with pytest.raises(DeadlineExceeded, match="first_event"):
        with Deadline("first_event", SOON):
            await asyncio.sleep(LONG)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_inner_deadline_is_not_the_outer_one() -> None:
    with pytest.raises(DeadlineExceeded, match="inner"), Deadline("outer", LONG), Deadline("inner", SOON):
        await asyncio.sleep(LONG)
    with pytest.raises(DeadlineExceeded, match="outer"), Deadline("outer", SOON), Deadline("inner", LONG):
        await asyncio.sleep(LONG)


async def test_what_is_in_time_is_left_alone() -> None:
    with Deadline("total", SOON):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * SOON)


async def test_without_a_bound_nothing_is_late() -> None:
    with Deadline("total", None):
        await asyncio.sleep(SOON)


async def test_an_error_is_not_hidden_by_the_deadline() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"), Deadline("total", SOON):
        await stubborn()


@pytest.mark.parametrize("seconds", [LONG, 0.0])  # before the deadline, and in the moment in which it expires
async def test_a_cancel_from_outside_stays_one(seconds: float) -> None:
    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        with Deadline("total", seconds):
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.sleep(LONG)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled())


async def test_silence_counts_from_the_last_sign_of_life() -> None:
    loop = asyncio.get_running_loop()
    heard: list[float | None] = [loop.time()]
    with Silence("idle", 2 * SOON, lambda: heard[-1]):
        for _ in range(4):
            await asyncio.sleep(SOON)
            heard.append(loop.time())
        heard.append(None)  # nothing is waited for
        await asyncio.sleep(4 * SOON)
    with pytest.raises(DeadlineExceeded, match="idle"), Silence("idle", SOON, lambda: heard[0]):
        await asyncio.sleep(LONG)
