"""The fair line of those who wait for quota."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.unasked import QueueFull
from proxy.line import Line


def line(use: Mapping[str, float] | None = None, most: int = 100) -> Line:
    return Line(most, lambda who: (use or {}).get(who, 0.0))


def test_each_hears_its_place_at_every_change() -> None:
    waiting, heard = line({"greedy": 0.5}), list[tuple[str, int]]()
    with waiting.place("greedy", lambda place: heard.append(("greedy", place))):
        with waiting.place("modest", lambda place: heard.append(("modest", place))):
            assert len(waiting) == 2
    assert heard == [("greedy", 1), ("modest", 1), ("greedy", 2), ("greedy", 1)]
    assert len(waiting) == 0


def test_one_principal_cannot_fill_it() -> None:
    waiting = line(most=2)
    with waiting.place("a", print), waiting.place("a", print), waiting.place("b", print):
        with pytest.raises(QueueFull), waiting.place("a", print):
            pass
    with waiting.place("a", print):  # there is room again
        pass


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=12),
    st.fixed_dictionaries({name: st.floats(0, 1) for name in "abc"}),
)
def test_turns_are_one_at_a_time_and_go_to_who_has_had_least(names: list[str], use: dict[str, float]) -> None:
    waiting, order, inside = line(use), list[str](), 0

    async def one(who: str, entered: asyncio.Event) -> None:
        nonlocal inside
        with waiting.place(who, lambda _: None) as place:
            entered.set()
            async with waiting.turn(place):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                order.append(who)
                inside -= 1

    async def all_of_them() -> None:
        holder = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            with waiting.place("holder", lambda _: None) as place:
                async with waiting.turn(place):  # so that all of them want it before any has it
                    for name in names:
                        holder = asyncio.Event()
                        tasks.create_task(one(name, holder))
                        await holder.wait()
                    await asyncio.sleep(0)

    asyncio.run(all_of_them())
    assert sorted(order) == sorted(names)
    first = {name: order.index(name) for name in set(names)}
    ranked = sorted(first, key=first.__getitem__)
    assert [use[name] for name in ranked] == sorted(use[name] for name in ranked)


async def test_a_turn_that_is_cancelled_goes_to_the_next() -> None:
    waiting = line()
    got = asyncio.Event()

    async def wants(found: asyncio.Event) -> None:
        with waiting.place("a", lambda _: None) as place:
            async with waiting.turn(place):
                found.set()

    with waiting.place("holder", lambda _: None) as place:
        async with waiting.turn(place):
            gives_up = asyncio.create_task(wants(asyncio.Event()))
            await asyncio.sleep(0)
            stays = asyncio.create_task(wants(got))
            await asyncio.sleep(0)
        gives_up.cancel()  # in the very moment in which it was its turn
    await asyncio.wait_for(got.wait(), 5)
    await asyncio.gather(gives_up, stays, return_exceptions=True)
