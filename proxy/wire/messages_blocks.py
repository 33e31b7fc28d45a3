"""Puts the content blocks of a message one after the other. Pure.

A model may write several tool calls in turns, and none is over before its answer is. Anthropic's clients expect each
block to stop before the next one starts, so what a later block says waits until the one before it is whole: when its
item is done, or when another began and its arguments are JSON already.
"""

from typing import Any

from backends.json import JsonError, loads

OFTEN = 4096  # characters of arguments that may be read after every delta
Json = dict[str, Any]
Place = tuple[int, int | None]
"""output_index, and content_index where a block is text."""


class Block:
    """One block, and what it has not said yet."""

    def __init__(self, number: int, block: Json) -> None:
        self._number = number
        self._is_call = block["type"] == "tool_use"
        self._arguments: list[str] = []
        self._whole: bool | None = None  # None: not looked at since the last delta
        self._size = 0  # characters of the arguments
        self._look_at = 0  # of them, before it is worth to look again
        self.complete = False
        self.waiting: list[Json] = [{"type": "content_block_start", "index": number, "content_block": block}]

    def add(self, delta: str, member: str, said: Any) -> None:
        """A delta."""
        if self._is_call:
            self._arguments.append(said)
            self._size += len(said)
            self._whole = None
        change = {"type": delta, member: said}
        self.waiting.append({"type": "content_block_delta", "index": self._number, "delta": change})

    def take(self) -> list[Json]:
        """What waits."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def stop(self) -> Json:
        """Its last event."""
        return {"type": "content_block_stop", "index": self._number}

    def whole(self) -> bool:
        """Whether nothing can follow, now that another block began."""
        if self.complete or not self._is_call:
            return True
        if self._whole is None and self._size >= self._look_at:
            self._whole = is_json("".join(self._arguments))
            # Calls that are written in turns are read again and again: long ones less often, and for sure when done.
            self._look_at = 2 * self._size if self._size > OFTEN else 0
        return self._whole is True


class Blocks:
    """The blocks that have not stopped, in their order."""

    def __init__(self) -> None:
        self._open: dict[Place, Block] = {}
        self._count = 0

    def __contains__(self, place: Place) -> bool:
        return place in self._open

    def begin(self, place: Place, block: Json) -> list[Json]:
        """A block begins; the events that can be said now."""
        self._open[place] = Block(self._count, block)
        self._count += 1
        return self._say()

    def add(self, place: Place, delta: str, member: str, said: Any) -> list[Json]:
        """More of a block; what comes after its whole arguments is left out."""
        if (block := self._open.get(place)) is None:
            return []
        block.add(delta, member, said)
        return self._say()

    def complete(self, output_index: int) -> list[Json]:
        """An item is done, and so are its blocks."""
        for place, block in self._open.items():
            block.complete |= place[0] == output_index
        return self._say()

    def _say(self) -> list[Json]:
        said: list[Json] = []
        for place, block in tuple(self._open.items()):
            said += block.take()
            followed = len(self._open) > 1
            if not (block.complete or (followed and block.whole())):
                break
            del self._open[place]
            said.append(block.stop())
        return said


def is_json(text: str) -> bool:
    """Whether it is a whole value."""
    try:
        loads(text)
    except JsonError:
        return False
    return True
