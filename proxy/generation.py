"""One running response: a task that owns the backend's stream, the log, and its one terminal event.

Readers (sockets, streams over HTTP, who comes back later) read the log and never meet the backend. A client that
leaves, a cancel, a deadline and a drain are the same thing to a backend: its stream is left.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from backends.errors import BackendError
from backends.events import Event
from proxy.answer import Answer
from proxy.errors import ProxyError
from proxy.outcome import Call, Notice
from proxy.response_log import LogFull, ResponseLog
from proxy.store.port import Row
from proxy.turns import Turn
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_snapshot import snapshot
from proxy.wire_errors import retry_after_ms, sentence, wire

log = structlog.get_logger()


class Reader(Protocol):
    """Someone who follows a generation."""

    @property
    def behind(self) -> int:
        """Bytes of text in the log that were not read yet."""

    def wake(self) -> bool:
        """There is something new in the log; True when it was read. Neither waits nor raises."""

    def notice(self, notice: Notice) -> None:
        """Something beside the log. Neither waits nor raises."""


class Generation:
    """One response from admission to its terminal event, which always comes, and once.

    The backend waits while a reader is more than `ahead` bytes behind. `items` are its input. `on_end` is told of the
    end before any reader, once.
    """

    def __init__(
        self,
        *,
        response_id: str,
        call: Call,
        items: tuple[Mapping[str, Any], ...],
        previous_id: str | None,
        response_log: ResponseLog,
        composer: Composer,
        ahead: int,
        on_end: "Callable[[Generation], None]",
    ) -> None:
        self.id = response_id
        self.call = call
        self.items = items
        self.previous_id = previous_id
        self.log = response_log
        self.turn: Turn | None = None  # what can be continued, for who reads the end; None when it failed
        self.row: Row | None = None  # itself and its input, once it has ended and is remembered
        self.deleted = False  # its client wants that nothing is kept of it
        self._composer = composer
        self._ahead = ahead
        self._on_end: Callable[[Generation], None] | None = on_end
        self._readers: tuple[Reader, ...] = ()  # replaced, never changed: a reader leaves when it has read the end
        self._notices: dict[str, Notice] = {}  # the newest of each kind, for a reader that comes late
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self.error: Exception | None = None  # why it failed, for who can still answer with a status

    @property
    def ended(self) -> bool:
        """Whether the terminal event is in the log."""
        return self.log.ended

    @property
    def response(self) -> Mapping[str, Any]:
        """The response object: as its terminal event has it, or as far as it is known while it runs."""
        return snapshot(self.log)

    def follow(self, reader: Reader) -> None:
        """Wake `reader` for what is there and for all that comes."""
        self._readers += (reader,)
        reader.wake()
        self.say_again(reader)

    def say_again(self, reader: Reader) -> None:
        """The newest notice of each kind, for a reader that has just come, or come back."""
        for notice in self._notices.values():
            reader.notice(notice)

    def leave(self, reader: Reader) -> None:
        """`reader` wants no more; others go on."""
        self._readers = tuple(each for each in self._readers if each is not reader)
        if not self._readers:
            self.turn = None  # a turn holds all those before it, and nobody asks for it any more
        self.caught_up()

    def remembered(self, row: Row, turn: Turn | None) -> None:
        """It has ended: from here on it keeps its row and its log, and the turn for those who still read."""
        self.row = row
        self.items = ()
        self.turn = turn if self._readers else None

    def notify(self, notice: Notice) -> None:
        """Tell every reader."""
        self._notices[notice.kind] = notice
        for reader in self._readers:
            reader.notice(notice)

    @property
    def route(self) -> str | None:
        """BACKEND/MODEL of who answers, or was asked last; None while nobody was."""
        told = self._notices.get("route")
        return None if told is None else f"{told.data['backend']}/{told.data['model']}"

    def caught_up(self) -> None:
        """A reader has read: the backend may go on if it had to wait."""
        if self._room is not None and not self._room.done() and not self._too_far_ahead():
            self._room.set_result(None)
            self._room = None

    def cancel(self) -> None:
        """Stop now. A response that has ended, or is being cancelled, stays as it is."""
        if self._cancelled or self.log.ended:
            return
        self._cancelled = True
        if self._task is not None:  # a task that is cancelled before its first step would never say its end
            self._task.cancel()

    async def run(self, opened: AbstractAsyncContextManager[Answer] | None) -> None:
        """Relay the answer into the log until it ends, one way or another. None: there is nothing to be said."""
        self._task = asyncio.current_task()
        if self._cancelled and self._task is not None:
            self._task.cancel()
        structlog.contextvars.bind_contextvars(request_id=self.call.request_id)
        try:
            if opened is None:
                await asyncio.sleep(0)  # where a cancel arrives
                self._end(self._composer.say_nothing)
                return
            async with opened as answer:
                self._composer.costs = answer.costs
                try:
                    await answer.into(self._take)
                except LogFull:
                    self._end(lambda: self._composer.stop("max_output_tokens"))
        except asyncio.CancelledError:
            self._end(lambda: self._composer.stop("cancelled", status="cancelled"))
            if not self._cancelled:
                raise
        except Exception as error:
            if not isinstance(error, BackendError | ProxyError):
                log.exception("generation_failed")
            code, message, again = wire(error).code, sentence(error), retry_after_ms(error)
            self.error = bare(error)
            self._end(lambda: self._composer.fail(code, message, again))
        finally:
            self._task = None  # it holds its context, and this may be held for long

    def _take(self, batch: Sequence[Event]) -> asyncio.Future[None] | None:
        """The sink: one batch into the log and on to the readers. Plain calls all the way, once per token."""
        self._composer.feed(batch)
        if self.log.ended:
            self._say_end()
        all_read = True
        for reader in self._readers:
            if not reader.wake():
                all_read = False
        if all_read or not self._too_far_ahead():
            return None
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def _end(self, terminal: Callable[[], None]) -> None:
        if not self.log.ended:
            terminal()
            self._say_end()
            for reader in self._readers:
                reader.wake()

    def _say_end(self) -> None:
        on_end, self._on_end = self._on_end, None  # it knows the request: nothing of that is kept
        if on_end is not None:
            on_end(self)

    def _too_far_ahead(self) -> bool:
        return not self.log.ended and any(reader.behind > self._ahead for reader in self._readers)


def bare(error: Exception) -> Exception:
    """`error` without the frames that it came through: they hold the request, and an error is held as long as a log."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
