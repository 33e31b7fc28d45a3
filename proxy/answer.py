"""The stream that was chosen, from its first content on: batches to a sink, by the shortest way the backend knows."""

import asyncio
import time
from collections.abc import Callable, Sequence

from backends.base import Batches, Pushing, Sink
from backends.errors import StreamBroken
from backends.events import Event, Finished, Usage
from proxy.pace import Pace


class Answer:
    """`head` is the batch that was read to choose the stream; `on_finished` is told how it ended.

    `through`, if it is set, makes another sink of the one that is given, and sees all that passes. `costs` is what so
    much would cost here, in micro-dollars, None where that is not known.
    """

    def __init__(self, batches: Batches, head: Sequence[Event], on_finished: Callable[[Finished], None]) -> None:
        self._stream = batches if isinstance(batches, Pushing) else Pulled(batches)
        self._head = head
        self.pace = Pace(head, time.perf_counter)
        self._on_finished = on_finished
        self.through: Callable[[Sink], Sink] | None = None
        self.costs: Callable[[Usage], int | None] = lambda _: None

    async def into(self, sink: Sink) -> None:
        """Give every batch to `sink`, until the answer has ended. Raises BackendError, or what `sink` raises."""
        if self.through is not None:
            sink = self.through(sink)
        held = sink(self._head)
        last = self._head[-1]
        if not isinstance(last, Finished):
            if held is not None:
                await held
            last = await self._stream.into(self.pace.over(sink))
        self._on_finished(last)

    def silent_since(self) -> float | None:
        """The loop's time since which the backend is waited for in vain; None while it is not waited for."""
        return self._stream.silent_since()


class Pulled(Pushing):
    """Batches that can only be iterated."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._time = asyncio.get_running_loop().time
        self._since: float | None = None

    async def into(self, sink: Sink) -> Finished:
        while True:
            self._since = self._time()
            try:
                batch = await anext(self._batches)
            except StopAsyncIteration:
                raise StreamBroken from None
            self._since = None
            if not batch:
                continue
            held = sink(batch)
            if isinstance(last := batch[-1], Finished):
                return last
            if held is not None:
                await held

    def silent_since(self) -> float | None:
        return self._since
