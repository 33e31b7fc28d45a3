"""Follows one response's log for whoever may wait: a stream over HTTP, or an answer that is given at its end.

A socket reads within `wake`, by plain calls; here a task waits, because HTTP writes by coroutines.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from proxy.generation import Generation
from proxy.outcome import Notice
from proxy.response_log import Entry, Mark

PRELUDE = frozenset({"response.created", "response.queued", "response.in_progress"})


class Unanswered(Exception):  # a fact, not a fault of the reader
    """A response failed before it said anything. `error` is why; it was recorded and logged where it happened."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class LogReader:
    """Reads a generation's log from `position` to its terminal event. Use it as a context, so that it leaves.

    `news` is set when there is something to take; readers may share it. A `detached` reader never makes the generation
    wait for it.
    """

    __slots__ = ("_detached", "ended", "generation", "news", "position")

    def __init__(
        self, generation: Generation, news: asyncio.Event, position: int = 0, *, detached: bool = False
    ) -> None:
        self.generation = generation
        self.position = position
        self.news = news
        self.ended = False
        self._detached = detached

    def __enter__(self) -> "LogReader":
        self.generation.follow(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.generation.leave(self)

    @property
    def behind(self) -> int:
        """Bytes of text in the log that were not read yet."""
        return 0 if self._detached else self.generation.log.behind(self.position)

    def wake(self) -> bool:
        """Never read yet: that is for the task that waits."""
        self.news.set()
        return self._detached

    def notice(self, notice: Notice) -> None:
        """HTTP has no place for it."""

    def take(self) -> list[Entry]:
        """What is new, a backlog merged; waits for nothing. `ended` is True once the terminal event was taken."""
        log = self.generation.log
        entries = log.read(self.position)
        self.position = max(self.position, log.head)
        self.ended = log.ended
        self.generation.caught_up()
        return entries


async def collect(generations: Sequence[Generation]) -> None:
    """Wait until all have ended: an answer without a stream. Raises Unanswered when one failed, however late.

    Whoever waits no more (the client left) ends them.
    """
    news = asyncio.Event()
    with ExitStack() as stack:
        for each in generations:
            stack.callback(each.cancel)  # one that has ended stays as it is
        readers = [stack.enter_context(LogReader(each, news, detached=True)) for each in generations]
        while not all(each.log.ended for each in generations):
            refuse_unanswered(readers)
            news.clear()
            await news.wait()
        refuse_unanswered(readers)


def has_content(entries: Sequence[Entry]) -> bool:
    """Whether more was said than that the response exists, or that it has ended."""
    return any(not isinstance(event, Mark) or not (event.terminal or event.type in PRELUDE) for _, _, event in entries)


def refuse_unanswered(readers: Sequence[LogReader]) -> None:
    """Raises Unanswered when one of the generations has failed."""
    for reader in readers:
        if reader.generation.error is not None:
            raise Unanswered(reader.generation.error)
