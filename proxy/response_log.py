"""Everything that one response said, so that any reader can begin at any position. Pure.

A position is a sequence number: every event of the response has one, counted from 0. Text is kept once, as UTF-8, and
each event is an offset into it, so a long answer costs little more than its text. Readers never disturb each other.
"""

from array import array
from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

MARK = 2048  # bytes that an event takes beside its text, about; measured, with what hangs on a log
DELTA = 12  # bytes that a delta takes beside its text


class LogFull(Exception):  # a fact, not a fault
    """The response reached the byte bound of its log. The generation ends it as incomplete."""


class Mark(Struct, frozen=True):
    """An event that is not text: `fields` are its JSON members beside `type`, `sequence_number` and `stream_id`."""

    type: str
    fields: dict[str, object]
    terminal: bool = False


class Part(Struct, frozen=True):
    """A piece of output that grows by text: its delta event's type, and the JSON members that place it."""

    type: str
    fields: dict[str, object]


Entry: TypeAlias = tuple[int, int, Mark | str]
"""A position, and what is there: a mark and 0, or text and the number of the part that it was added to.

The text of several events of one part may have been merged into the last of them.
"""


class ResponseLog:
    """Grows at the head only, until it takes `max_bytes`: the text once, and what its events take beside that.

    `head` is the next sequence number; `ended` once the terminal event is there. `last` is the text of the newest
    event if that is a delta, and `last_part` its part: what a reader that keeps up needs.
    """

    __slots__ = (
        "__weakref__",
        "_ends",
        "_marks",
        "_max_bytes",
        "_of",
        "_spent",
        "_text",
        "_told",
        "ended",
        "gone",
        "head",
        "last",
        "last_part",
        "parts",
    )

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes  # what marks take is taken off, so that `add` need not look
        self._spent = 0  # bytes that marks take beside text and MARK
        self._told = 0  # marks that are text too
        self._text = bytearray()
        self._ends = array("L")  # by position: where the text ends after this event
        self._of = array("I")  # by position: 0 for a mark, else the part's number
        self._marks: dict[int, Mark] = {}
        self.parts: list[Part] = []
        self.head = 0
        self.ended = False
        self.gone = False  # deleted: whoever has read to its end shall not begin again
        self.last: str | None = None
        self.last_part = 0

    @property
    def size(self) -> int:
        """Bytes of text so far."""
        return len(self._text)

    @property
    def weight(self) -> int:
        """Bytes of memory that all of it takes, about: the text once here, and once in the events that repeat it."""
        return 2 * len(self._text) + DELTA * self.head + MARK * len(self._marks) + self._spent

    @property
    def deltas(self) -> int:
        """How many events were text."""
        return self.head - len(self._marks) + self._told

    def mark(self, mark: Mark, text: str = "", weight: int = 0) -> None:
        """Append an event that is not text, or is text and more: `text` is the UTF-8 of the part that is open, and
        `weight` the bytes that the rest takes. Nothing may follow a terminal one. Raises LogFull as `add` does when
        there is text; what closes a part must always fit, so `open` is where others are counted.
        """
        assert not self.ended
        if text:
            data = text.encode("utf-8", "replace")
            if len(self._text) + len(data) + DELTA * self.head + MARK + weight > self._max_bytes:
                raise LogFull
            self._text += data
            self._told += 1
        self._max_bytes -= MARK + weight
        self._spent += weight
        self.ended = mark.terminal
        self.last = None
        self._marks[self.head] = mark
        self._ends.append(len(self._text))
        self._of.append(0)
        self.head += 1

    def charge(self, weight: int) -> None:
        """Count bytes that its events share, once. They do not shorten the answer."""
        self._spent += weight

    def charge_answer(self, weight: int) -> None:
        """Count bytes of the answer that are no text. They bring its bound nearer; what passes it meets it next."""
        self._max_bytes -= weight
        self._spent += weight

    def check(self) -> None:
        """Before a part is opened, which takes several marks. Raises LogFull when the bound is reached."""
        if len(self._text) + DELTA * self.head > self._max_bytes:
            raise LogFull

    def open(self, part: Part) -> int:
        """Number a part, so that deltas can name it."""
        self.parts.append(part)
        return len(self.parts)

    def add(self, part: int, text: str) -> None:
        """Append a delta. Raises LogFull, and keeps what was there, when the text would pass the bound."""
        try:
            data = text.encode()
        except UnicodeEncodeError:  # a lone surrogate has no UTF-8
            data = text.encode("utf-8", "replace")
        end, head = len(self._text) + len(data), self.head
        if end + DELTA * head > self._max_bytes:
            raise LogFull
        self._text += data
        self._ends.append(end)
        self._of.append(part)
        self.head = head + 1
        self.last, self.last_part = text, part

    def text(self, start: int) -> str:
        """The text from byte `start`, a part's beginning, to the head."""
        return self._text[start:].decode()

    def behind(self, position: int) -> int:
        """Bytes of text that a reader at `position` has not read."""
        return len(self._text) - (self._ends[position - 1] if position else 0)

    def read(self, position: int) -> list[Entry]:
        """The events from `position` to the head, as `entries` gives them."""
        return [*self.entries(position)]

    def entries(self, position: int) -> Iterator[Entry]:
        """The events from `position` to the head, each with its number, none before it is asked for. A run of deltas of
        one part is one delta with the number of the last.
        """
        ends, of, head = self._ends, self._of, self.head
        while position < head:
            part = of[position]
            if part == 0:
                yield position, 0, self._marks[position]
                position += 1
                continue
            start = ends[position - 1] if position else 0
            last = position
            while last + 1 < head and of[last + 1] == part:
                last += 1
            yield last, part, self._text[start : ends[last]].decode()
            position = last + 1
