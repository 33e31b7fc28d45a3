"""The pace of one answer: the time between its pieces of content, counted in buckets as they pass."""

from asyncio import Future
from bisect import bisect_left
from collections.abc import Callable, Sequence

from backends.base import Sink
from backends.events import Event, Finished
from proxy.metrics_table import INTER_TOKEN
from proxy.outcome import Gaps

BOUNDS = INTER_TOKEN.bounds


class Pace:
    """Begins now, with `head` as the first batch. `clock` is in seconds; uvloop's own has milliseconds only.

    Pieces of one batch are 0 apart: that is how a client gets them.
    """

    __slots__ = ("_clock", "_counts", "_first", "_last", "_sink", "said")

    def __init__(self, head: Sequence[Event], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = [0] * (len(BOUNDS) + 1)
        self._counts[0] = max(0, len(head) - isinstance(head[-1], Finished) - 1)
        self.said = len(head) > isinstance(head[-1], Finished)  # whether there is any content
        self._first = self._last = clock()

    def over(self, sink: Sink) -> Sink:
        """`sink`, with what passes counted on its way."""
        self._sink = sink
        return self._counted

    def _counted(self, batch: Sequence[Event]) -> Future[None] | None:
        """Once per token, so it is written for speed."""
        pieces = len(batch) if batch[-1].__class__ is not Finished else len(batch) - 1
        if pieces:
            now = self._clock()
            self._counts[bisect_left(BOUNDS, now - self._last)] += 1
            self._last = now
            if pieces > 1:
                self._counts[0] += pieces - 1
        return self._sink(batch)

    def gaps(self) -> Gaps:
        """What was counted so far."""
        return Gaps(tuple(self._counts), self._last - self._first)
