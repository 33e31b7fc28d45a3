"""Virtual time: a day of waiting passes at once, timers keep their order, and who waits for nothing is told."""

import asyncio
import time
from datetime import timedelta

import pytest

from scripts.simulation.virtual_time import Stuck, virtually


def test_a_day_passes_at_once_and_in_order() -> None:
    async def day() -> list[tuple[str, float]]:
        now, seen = asyncio.get_running_loop().time, []

        async def late(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, now()))

        async with asyncio.TaskGroup() as group:
            group.create_task(late("evening", timedelta(hours=20).total_seconds()))
            group.create_task(late("morning", timedelta(hours=8).total_seconds()))
        await asyncio.sleep(0)
        return [*seen, ("end", now())]

    began = time.monotonic()
    assert virtually(day()) == [("morning", 28800.0), ("evening", 72000.0), ("end", 72000.0)]
    assert time.monotonic() - began < 10


def test_deadlines_are_those_of_its_clock() -> None:
    async def late() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert virtually(late()) == 60.0


def test_what_a_thread_would_do_takes_no_time() -> None:
    async def threads() -> tuple[int, float]:
        made = await asyncio.to_thread(lambda: 6 * 7)
        with pytest.raises(ValueError, match="broken"):
            await asyncio.to_thread(int, "broken")
        return made, asyncio.get_running_loop().time()

    assert virtually(threads()) == (42, 0.0)


def test_who_waits_for_nothing_is_told() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck, match="no timer"):
        virtually(forever())
