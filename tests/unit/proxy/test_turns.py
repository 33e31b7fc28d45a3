"""Continuing: what a chain holds, whose it is, what ends it, and what a connection keeps."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.request import Request, said, text_of
from proxy.create import Create
from proxy.errors import ConversationTooLong, PreviousNotEnded, UnknownPrevious
from proxy.outcome import Principal
from proxy.store.memory import MemoryStore
from proxy.turns import Kept, Turn, Turns

ME, OTHER = Principal("me"), Principal("other")


def turns(max_turns: int = 100, max_bytes: int = 100_000) -> Turns:
    return Turns(
        store=MemoryStore(1_000_000, lambda: 0), ttl=60, max_turns=max_turns, max_bytes=max_bytes, now=lambda: 0
    )


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"id": "msg", "type": "message", "role": role, "content": [{"type": kind, "text": text}]}


async def answer(
    held: Turns,
    name: str,
    previous: str | None = None,
    *,
    store: bool = True,
    status: str = "completed",
    kept: Kept | None = None,
    asks: list[dict[str, Any]] | None = None,
    says: list[dict[str, Any]] | None = None,
) -> Turn | None:
    """A response that asks "NAME?" and is answered "NAME!"."""
    before = await held.previous(ME, previous, kept) if previous else None
    create = Create(
        request=Request("model"),
        items=tuple(asks or [message("user", f"{name}?")]),
        previous_response_id=previous,
        store=store,
    )
    response = {"id": name, "status": status, "output": says or [message("assistant", f"{name}!")]}
    turn, _ = held.remember(ME, create, response, before)
    return turn


def texts(turn: Turn) -> list[str]:
    return [text_of(each.parts) for each in turn.messages()]


async def test_a_chain_is_every_turn_before_oldest_first() -> None:
    held = turns()
    await answer(held, "a")
    await answer(held, "b", "a")
    await answer(held, "c", "b")
    found = await held.previous(ME, "c", None)
    assert texts(found) == ["a?", "a!", "b?", "b!", "c?", "c!"]
    assert [each.role for each in found.messages()] == ["user", "assistant"] * 3
    assert found.messages()[0] == said("user", "a?")


async def test_forks_share_what_came_before_and_nothing_else() -> None:
    held = turns()
    await answer(held, "a")
    await answer(held, "b", "a")
    await answer(held, "c", "a")
    assert texts(await held.previous(ME, "b", None)) == ["a?", "a!", "b?", "b!"]
    assert texts(await held.previous(ME, "c", None)) == ["a?", "a!", "c?", "c!"]


async def test_a_tools_output_answers_the_call_of_an_earlier_turn() -> None:
    held = turns()
    call = {"id": "fc", "type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}
    await answer(held, "a", says=[call])
    output = {"id": "fco", "type": "function_call_output", "call_id": "call_1", "output": "4"}
    turn = await answer(held, "b", "a", asks=[output])
    assert turn is not None
    assert [each.role for each in turn.messages()] == ["user", "assistant", "user", "assistant"]


async def test_who_asks_sees_only_its_own() -> None:
    held = turns()
    await answer(held, "a")
    with pytest.raises(UnknownPrevious):
        await held.previous(OTHER, "a", None)
    with pytest.raises(UnknownPrevious):
        await held.previous(ME, "never", None)
    assert not await held.delete(OTHER, "a")
    assert await held.previous(ME, "a", None)


async def test_what_failed_cannot_be_continued_but_what_was_cut_short_can() -> None:
    held = turns()
    for status in ("incomplete", "cancelled"):
        await answer(held, status, status=status)
        assert await held.previous(ME, status, None)
    assert await answer(held, "bad", status="failed") is None
    with pytest.raises(PreviousNotEnded, match="failed"):
        await held.previous(ME, "bad", None)
    assert await held.get(ME, "bad"), "a failed one can be looked at"


async def test_unstored_turns_are_the_connections_alone() -> None:
    held, kept = turns(), Kept(100_000)
    kept.ended(None, await answer(held, "a", store=False), None)
    kept.ended(None, await answer(held, "b", "a", store=False, kept=kept), "a")
    assert texts(await held.previous(ME, "b", kept)) == ["a?", "a!", "b?", "b!"]
    for name, where in (("b", None), ("a", kept)):  # another connection; the lane's newest has replaced it
        with pytest.raises(UnknownPrevious):
            await held.previous(ME, name, where)


async def test_a_failed_continuation_takes_its_parent_along_and_a_failed_fork_does_not() -> None:
    held, kept = turns(), Kept(100_000)
    kept.ended("main", await answer(held, "a", store=False), None)
    kept.ended("fork", None, "a")
    assert kept.get("a")
    kept.ended("main", None, "another")
    assert kept.get("a")
    kept.ended("main", None, "a")
    assert kept.get("a") is None


async def test_a_delete_reaches_every_holder() -> None:
    held, kept = turns(), Kept(100_000)
    kept.ended("x", await answer(held, "a"), None)
    kept.ended("y", await answer(held, "b", "a", store=False, kept=kept), "a")
    assert await held.delete(ME, "a")
    assert not await held.delete(ME, "a")
    for name in ("a", "b"):  # b continued what is gone
        with pytest.raises(UnknownPrevious):
            await held.previous(ME, name, kept)


async def test_all_of_a_principal_is_deleted_also_what_a_connection_holds() -> None:
    held, kept = turns(), Kept(100_000)
    kept.ended("x", await answer(held, "a"), None)
    kept.ended("y", await answer(held, "b", store=False), None)
    assert await held.delete_all(OTHER) == 0
    assert kept.get("b")
    assert await held.delete_all(ME) == 1
    assert kept.get("a") is kept.get("b") is None
    assert await held.get(ME, "a") is None


@pytest.mark.parametrize("kept", [Kept(100_000), None])
async def test_a_conversation_has_a_longest_length(kept: Kept | None) -> None:
    held = turns(max_turns=3)
    previous = None
    for name in "abc":
        turn = await answer(held, name, previous, kept=kept)
        previous = name
        if kept:
            kept.ended(None, turn, None)
    assert await held.previous(ME, "c", kept)
    turn = await answer(held, "d", "c", kept=kept)
    if kept:
        kept.ended(None, turn, None)
    with pytest.raises(ConversationTooLong, match="3 turns"):
        await held.previous(ME, "d", kept)


async def test_a_conversation_has_a_largest_size() -> None:
    held = turns(max_bytes=5000)
    await answer(held, "a", asks=[message("user", "x" * 3000)])
    await answer(held, "b", "a", asks=[message("user", "x" * 3000)])
    with pytest.raises(ConversationTooLong, match="5000 bytes"):
        await held.previous(ME, "b", None)


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(1, 70)), max_size=40))
def test_a_connection_holds_the_newest_of_its_lanes_within_its_bytes(steps: list[tuple[str | None, int]]) -> None:
    kept = Kept(100)
    newest: dict[str | None, Turn] = {}
    for number, (lane, size) in enumerate(steps):
        turn = Turn(f"resp_{number}", "me", (), size, None)
        kept.ended(lane, turn, None)
        newest.pop(lane, None)
        newest[lane] = turn
        assert kept.get(turn.id) is turn
        there = [each for each in newest.values() if kept.get(each.id)]
        assert sum(each.size for each in there) <= 100
        assert there == list(newest.values())[-len(there) :], "the lanes that ended longest ago go first"
