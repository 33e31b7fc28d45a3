"""The pace of one answer: the time between its pieces of content, counted in buckets as they pass."""

from asyncio import Future
from bisect import bisect_left
from collections.abc import Callable, Sequence

from backends.base import Sink
from backends.events import Event, Finished
from proxy.metrics_table import INTER_TOKEN
from proxy.outcome import Gaps


class Pace:
    """Begins now, with `head` as the first batch. `clock` is in seconds; uvloop's own has milliseconds only.

    Pieces of one batch are 0 apart: that is how a client gets them.
    """

    __slots__ = ("_clock", "_counts", "_first", "_last")

    def __init__(self, head: Sequence[Event], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts = [0] * (len(INTER_TOKEN.bounds) + 1)
        self._counts[0] = max(0, len(head) - isinstance(head[-1], Finished) - 1)
        self._first = self._last = clock()

    def over(self, sink: Sink) -> Sink:
        """`sink`, with what passes counted on its way. Once per token, so it is written for speed."""
        clock, counts, bounds = self._clock, self._counts, INTER_TOKEN.bounds

        def counted(batch: Sequence[Event]) -> Future[None] | None:
            pieces = len(batch) if batch[-1].__class__ is not Finished else len(batch) - 1
            if pieces:
                now = clock()
                counts[bisect_left(bounds, now - self._last)] += 1
                self._last = now
                if pieces > 1:
                    counts[0] += pieces - 1
            return sink(batch)

        return counted

    def gaps(self) -> Gaps:
        """What was counted so far."""
        return Gaps(tuple(self._counts), self._last - self._first)
