"""One running response: a task that owns the backend's stream, the log, and its one terminal event.

Readers (a socket today; SSE, resume and background later) read the log and never meet the backend. A client that
leaves, a cancel, a deadline and a drain are the same thing to a backend: its stream is left.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

import structlog

from backends.errors import BackendError
from backends.events import Event
from backends.request import Request, said
from proxy.answer import Answer
from proxy.create import Create
from proxy.dispatcher import Dispatcher
from proxy.errors import UnknownResponse, sentence, wire
from proxy.outcome import Call, Notice, Principal
from proxy.response_log import LogFull, ResponseLog
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_object import response_object

log = structlog.get_logger()
REMEMBERED = 4096  # ids of ended responses, so that a late cancel is no error


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

    The backend waits while a reader is more than `ahead` bytes behind.
    """

    def __init__(self, response_id: str, call: Call, response_log: ResponseLog, composer: Composer, ahead: int) -> None:
        self.id = response_id
        self.call = call
        self.log = response_log
        self._composer = composer
        self._ahead = ahead
        self._readers: tuple[Reader, ...] = ()  # replaced, never changed: a reader leaves when it has read the end
        self._notices: dict[str, Notice] = {}  # the newest of each kind, for a reader that comes late
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self.error: Exception | None = None  # why it failed, for who can still answer with a status

    def follow(self, reader: Reader) -> None:
        """Wake `reader` for what is there and for all that comes."""
        self._readers += (reader,)
        reader.wake()
        for notice in self._notices.values():
            reader.notice(notice)

    def leave(self, reader: Reader) -> None:
        """`reader` wants no more; others go on."""
        self._readers = tuple(each for each in self._readers if each is not reader)
        self.caught_up()

    def notify(self, notice: Notice) -> None:
        """Tell every reader."""
        self._notices[notice.kind] = notice
        for reader in self._readers:
            reader.notice(notice)

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

    async def run(self, opened: AbstractAsyncContextManager[Answer]) -> None:
        """Relay the answer into the log until it ends, one way or another."""
        self._task = asyncio.current_task()
        if self._cancelled and self._task is not None:
            self._task.cancel()
        structlog.contextvars.bind_contextvars(request_id=self.call.request_id)
        try:
            async with opened as answer:
                try:
                    await answer.into(self._take)
                except LogFull:
                    self._end(lambda: self._composer.stop("max_output_tokens"))
        except asyncio.CancelledError:
            self._end(lambda: self._composer.stop("cancelled", status="cancelled"))
            if not self._cancelled:
                raise
        except Exception as error:
            if not isinstance(error, BackendError):
                log.exception("generation_failed")
            self.error = error
            code, message = wire(error).code, sentence(error)
            self._end(lambda: self._composer.fail(code, message))

    def _take(self, batch: Sequence[Event]) -> asyncio.Future[None] | None:
        """The sink: one batch into the log and on to the readers. Plain calls all the way, once per token."""
        self._composer.feed(batch)
        if self._wake() or not self._too_far_ahead():
            return None
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def _end(self, terminal: Callable[[], None]) -> None:
        if not self.log.ended:
            terminal()
            self._wake()

    def _wake(self) -> bool:
        """Whether every reader has read."""
        all_read = True
        for reader in self._readers:
            all_read &= reader.wake()
        return all_read

    def _too_far_ahead(self) -> bool:
        return not self.log.ended and any(reader.behind > self._ahead for reader in self._readers)


class Generations:
    """Every response in flight. `tasks` is the application's group, because a response may outlive its socket."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        tasks: asyncio.TaskGroup,
        new_id: Callable[[str], str],
        ahead: int,
        max_response_bytes: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._tasks = tasks
        self._new_id = new_id
        self._ahead = ahead
        self._max_response_bytes = max_response_bytes
        self._running: dict[str, Generation] = {}
        self._ended: OrderedDict[str, Principal] = OrderedDict()

    def start(self, principal: Principal, create: Create, request_id: str | None = None) -> Generation:
        """Admit a create: the response exists from here on. Raises UnknownModel or AmbiguousModel.

        `request_id` is what the log names it by; None makes a new one.
        """
        route, request = self._dispatcher.plan(asked(create))
        response_id = self._new_id("resp")
        call = Call(principal, request_id or self._new_id("req"))
        response_log = ResponseLog(self._max_response_bytes)
        members = response_object(create, request, response_id, int(time.time()))
        composer = Composer(response_log, members, self._new_id)
        composer.start()
        generation = Generation(response_id, call, response_log, composer, self._ahead)
        self._running[response_id] = generation
        opened = self._dispatcher.open(call, route, request, create.model, generation.notify)
        self._tasks.create_task(self._run(generation, opened), name=response_id)
        return generation

    def cancel(self, response_id: str, principal: Principal) -> None:
        """Stop a response of `principal`. One that has ended stays as it is. Raises UnknownResponse."""
        generation = self._running.get(response_id)
        owner = generation.call.principal if generation else self._ended.get(response_id)
        if owner != principal:
            raise UnknownResponse
        if generation:
            generation.cancel()

    def cancel_all(self) -> None:
        """Stop every response: the drain's deadline has passed."""
        for generation in tuple(self._running.values()):
            generation.cancel()

    @property
    def running(self) -> int:
        """How many responses are in flight."""
        return len(self._running)

    async def _run(self, generation: Generation, opened: AbstractAsyncContextManager[Answer]) -> None:
        try:
            await generation.run(opened)
        except Exception:  # one response's fault must not end the others
            log.exception("generation_crashed")
        finally:
            del self._running[generation.id]
            self._ended[generation.id] = generation.call.principal
            if len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)


def asked(create: Create) -> Request:
    """The whole conversation that a create asks about."""
    instructions = (said("system", create.instructions),) if create.instructions else ()
    return replace(create.request, messages=instructions + create.request.messages)
