"""One running response: a task that owns the backend's stream, the log, and its one terminal event.

Readers (a socket today; SSE, resume and background later) read the log and never meet the backend. A client that
leaves, a cancel, a deadline and a drain are the same thing to a backend: its stream is left.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

import structlog

from backends.errors import BackendError
from backends.events import Event
from backends.request import Request, said
from proxy.answer import Answer
from proxy.create import Create
from proxy.dispatcher import Dispatcher
from proxy.errors import PreviousNotEnded, UnknownPrevious, UnknownResponse, sentence, wire
from proxy.held import Held
from proxy.outcome import Call, Notice, Principal
from proxy.response_log import LogFull, ResponseLog
from proxy.store.port import Stored
from proxy.turns import Kept, Turn, Turns
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_object import response_object
from proxy.wire.responses_snapshot import snapshot

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

    The backend waits while a reader is more than `ahead` bytes behind. `on_end` is told of the end before any reader.
    """

    def __init__(
        self,
        *,
        response_id: str,
        call: Call,
        create: Create,
        previous: Turn | None,
        response_log: ResponseLog,
        composer: Composer,
        ahead: int,
        on_end: "Callable[[Generation], None]",
    ) -> None:
        self.id = response_id
        self.call = call
        self.create = create
        self.log = response_log
        self.previous = previous  # what it continues
        self.turn: Turn | None = None  # what can be continued, once it has ended and did not fail
        self.deleted = False  # its client wants that nothing is kept of it
        self._composer = composer
        self._ahead = ahead
        self._on_end = on_end
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
        if self.log.ended:
            self._on_end(self)
        if self._wake() or not self._too_far_ahead():
            return None
        self._room = asyncio.get_running_loop().create_future()
        return self._room

    def _end(self, terminal: Callable[[], None]) -> None:
        if not self.log.ended:
            terminal()
            self._on_end(self)
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
    """Every response in flight, and for a while those that ended. `tasks` is the application's group, because a
    response may outlive its socket. Logs of ended ones are held for `log_ttl` seconds, `log_bytes` of them in all.
    """

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        turns: Turns,
        tasks: asyncio.TaskGroup,
        new_id: Callable[[str], str],
        ahead: int,
        max_response_bytes: int,
        log_ttl: float,
        log_bytes: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._turns = turns
        self._tasks = tasks
        self._new_id = new_id
        self._ahead = ahead
        self._max_response_bytes = max_response_bytes
        self._log_ttl = log_ttl
        self._running: dict[str, Generation] = {}
        self._held: Held[Generation] = Held(log_bytes, time.monotonic)
        self._ended: OrderedDict[str, Principal] = OrderedDict()
        self._none_running = asyncio.Event()

    async def begin(
        self, principal: Principal, create: Create, request_id: str | None = None, kept: Kept | None = None
    ) -> Generation:
        """Find what a create continues, maybe on a disk, and start it. `kept` is what its connection holds.

        Raises UnknownPrevious, PreviousNotEnded or ConversationTooLong, and what `start` raises.
        """
        name = create.previous_response_id
        if name is None:
            return self.start(principal, create, request_id)
        running = self._running.get(name)
        if running is not None and running.call.principal == principal and not running.ended:
            raise PreviousNotEnded("in_progress")
        return self.start(principal, create, request_id, await self._turns.previous(principal, name, kept))

    def start(
        self, principal: Principal, create: Create, request_id: str | None = None, previous: Turn | None = None
    ) -> Generation:
        """Admit a create: the response exists from here on. One that continues another is begun, not started.

        Raises UnknownModel or AmbiguousModel.
        """
        if create.previous_response_id is not None and previous is None:
            raise UnknownPrevious
        route, request = self._dispatcher.plan(asked(create, previous))
        response_id = self._new_id("resp")
        call = Call(principal, request_id or self._new_id("req"))
        response_log = ResponseLog(self._max_response_bytes)
        members = response_object(create, request, response_id, int(time.time()))
        composer = Composer(
            response_log,
            members,
            self._new_id,
            request=request,
            custom_tools=create.custom_tools,
            namespaces=create.namespaces,
        )
        composer.start()
        generation = Generation(
            response_id=response_id,
            call=call,
            create=create,
            previous=previous,
            response_log=response_log,
            composer=composer,
            ahead=self._ahead,
            on_end=self._keep,
        )
        self._running[response_id] = generation
        opened = self._dispatcher.open(call, route, request, create.model, generation.notify)
        self._tasks.create_task(self._run(generation, opened if create.generate else None), name=response_id)
        return generation

    async def conversation(self, principal: Principal, create: Create) -> Request:
        """All that a create asks about, and nothing begins. Raises what `begin` raises of what it continues."""
        name = create.previous_response_id
        return asked(create, None if name is None else await self._turns.previous(principal, name, None))

    def find(self, response_id: str, principal: Principal) -> Generation:
        """A response of `principal` that runs, or whose log is still held. Raises UnknownResponse."""
        generation = self._running.get(response_id) or self._held.get(response_id)
        if generation is None or generation.call.principal != principal or generation.deleted:
            raise UnknownResponse
        return generation

    async def get(self, response_id: str, principal: Principal) -> Stored:
        """A response of `principal` as far as it is known, and its input: running, held or stored.

        Raises UnknownResponse.
        """
        try:
            generation = self.find(response_id, principal)
        except UnknownResponse:
            stored = await self._turns.get(principal, response_id)
            if stored is None:
                raise
            return stored
        create = generation.create
        return Stored(
            id=response_id,
            principal=principal.id,
            response=generation.response,
            items=create.items,
            previous_id=create.previous_response_id,
            expires=time.time() + self._log_ttl,
        )

    def cancel(self, response_id: str, principal: Principal) -> None:
        """Stop a response of `principal`. One that has ended stays as it is. Raises UnknownResponse."""
        generation = self._running.get(response_id)
        owner = generation.call.principal if generation else self._ended.get(response_id)
        if owner != principal:
            raise UnknownResponse
        if generation:
            generation.cancel()

    async def delete(self, response_id: str, principal: Principal) -> None:
        """Keep nothing of a response of `principal`; one that runs is cancelled first.

        Raises UnknownResponse, or StoreFailed when it may still be on the disk.
        """
        generation = self._running.get(response_id) or self._held.get(response_id)
        found = generation is not None and generation.call.principal == principal and not generation.deleted
        if generation is not None and found:
            self._forget(generation)
        if not await self._turns.delete(principal, response_id) and not found:
            raise UnknownResponse

    async def delete_all(self, principal: Principal) -> int:
        """Keep nothing of a principal's; what runs is cancelled first. How many were stored. Raises StoreFailed."""
        held = (generation for _, generation in self._held.items())
        for generation in (*self._running.values(), *held):
            if generation.call.principal == principal:
                self._forget(generation)
        return await self._turns.delete_all(principal)

    def cancel_all(self) -> None:
        """Stop every response: the drain's deadline has passed."""
        for generation in tuple(self._running.values()):
            generation.cancel()

    async def drain(self) -> None:
        """Wait until none is in flight."""
        while self._running:
            self._none_running.clear()
            await self._none_running.wait()

    @property
    def running(self) -> int:
        """How many responses are in flight."""
        return len(self._running)

    @property
    def held_bytes(self) -> int:
        """What the logs of ended responses take, about."""
        return self._held.size

    async def _run(self, generation: Generation, opened: AbstractAsyncContextManager[Answer] | None) -> None:
        try:
            await generation.run(opened)
        except Exception:  # one response's fault must not end the others
            log.exception("generation_crashed")
        finally:
            del self._running[generation.id]
            if not self._running:
                self._none_running.set()

    def _forget(self, generation: Generation) -> None:
        generation.deleted = True
        generation.cancel()
        self._held.pop(generation.id)

    def _keep(self, generation: Generation) -> None:
        """The terminal event is in the log: keep what may be asked for, before anybody reads that it ended."""
        principal = generation.call.principal
        self._ended[generation.id] = principal
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        create = generation.create
        if generation.deleted or not (create.store or create.items):  # only the Responses API has items
            return
        try:
            generation.turn, size = self._turns.remember(principal, create, generation.response, generation.previous)
        except Exception:  # to remember it is a service; that its readers hear of the end is a duty
            log.exception("response_not_remembered")
            return
        expires = time.monotonic() + self._log_ttl
        self._held.put(generation.id, generation, generation.log.weight + size, expires)


def asked(create: Create, previous: Turn | None) -> Request:
    """The whole conversation that a create asks about. Instructions hold for one response: OpenAI inherits none."""
    instructions = (said("system", create.instructions),) if create.instructions else ()
    earlier = previous.messages() if previous else ()
    return replace(create.request, messages=instructions + earlier + create.request.messages)
