"""Every response in flight, and for a while those that ended: begun, found, cancelled, deleted."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from weakref import WeakValueDictionary

import structlog
from msgspec.structs import replace

from backends.json import dumps
from backends.request import Request, said
from proxy.answer import Answer
from proxy.create import Create
from proxy.dispatcher import Dispatcher
from proxy.errors import PreviousNotEnded, TooManyRunning, UnknownPrevious, UnknownResponse
from proxy.generation import Generation
from proxy.held import Held
from proxy.history.history import History
from proxy.outcome import Call, Principal
from proxy.response_log import ResponseLog
from proxy.store.port import Stored
from proxy.turns import Kept, Turn, Turns
from proxy.wire.responses_composer import Composer
from proxy.wire.responses_object import response_object

log = structlog.get_logger()
REMEMBERED = 4096  # ids of ended responses, so that a late cancel is no error
OBJECTS = 8  # times that JSON takes as objects in memory, about


class Generations:
    """`tasks` is the application's group, because a response may outlive its socket. At most `running_per_principal`
    run at once. Logs of ended ones are held for `log_ttl` seconds, `log_bytes` of them in all.
    """

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        turns: Turns,
        tasks: asyncio.TaskGroup,
        new_id: Callable[[str], str],
        ahead: int,
        running_per_principal: int,
        max_response_bytes: int,
        log_ttl: float,
        log_bytes: int,
        history: History | None = None,
    ) -> None:
        self._dispatcher = dispatcher
        self._turns = turns
        self._tasks = tasks
        self._new_id = new_id
        self._ahead = ahead
        self._running_per_principal = running_per_principal
        self._max_response_bytes = max_response_bytes
        self._log_ttl = log_ttl
        self._history = history
        self._running: dict[str, Generation] = {}
        self._per_principal: dict[Principal, int] = {}  # how many run; none is not in it
        # By principal and id: every log that is still there, whoever holds it, so that a delete reaches it.
        self._logs: WeakValueDictionary[tuple[str, str], ResponseLog] = WeakValueDictionary()
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

        Raises UnknownModel, AmbiguousModel or TooManyRunning.
        """
        if create.previous_response_id is not None and previous is None:
            raise UnknownPrevious
        running = self._per_principal.get(principal, 0)
        if running >= self._running_per_principal:
            raise TooManyRunning(self._running_per_principal)
        request = replace(asked(create, previous), tenant=principal.id)
        route, request = self._dispatcher.plan(request)
        response_id = self._new_id("resp")
        call = Call(principal, request_id or self._new_id("req"), response_id, create.headers)
        response_log = self._logs[principal.id, response_id] = ResponseLog(self._max_response_bytes)
        members = response_object(create, request, response_id, int(time.time()))
        # The log has them as objects, which its first events and its last one share.
        response_log.charge(len(create.instructions or "") + OBJECTS * len(dumps(create.shown)))
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
            items=create.items,
            previous_id=create.previous_response_id,
            response_log=response_log,
            composer=composer,
            ahead=self._ahead,
            on_end=partial(self._keep, create, previous),
        )
        self._running[response_id] = generation
        self._per_principal[principal] = running + 1
        if self._history is not None:
            stored = create.store or not create.items  # only the Responses API has items, and says whether to store
            self._history.asked(response_id, principal.id, request, stored=stored)
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
        if generation.row is not None:
            return generation.row.stored()
        return Stored(
            id=response_id,
            principal=principal.id,
            response=generation.response,
            items=generation.items,
            previous_id=generation.previous_id,
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
        found = self._gone((principal.id, response_id))
        if generation is not None and generation.call.principal == principal:
            self._forget(generation)
        if self._history is not None:
            found |= await self._history.delete(principal.id, response_id)
        if not await self._turns.delete(principal, response_id) and not found:
            raise UnknownResponse

    async def delete_all(self, principal: Principal) -> int:
        """Keep nothing of a principal's; what runs is cancelled first. How many were stored. Raises StoreFailed."""
        held = (generation for _, generation in self._held.items())
        for generation in (*self._running.values(), *held):
            if generation.call.principal == principal:
                self._forget(generation)
        for name in [name for name in self._logs if name[0] == principal.id]:
            self._gone(name)
        if self._history is not None:
            await self._history.delete_all(principal.id)
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

    def sweep(self) -> None:
        """Let go of what is past its time, stored responses in memory too."""
        self._held.sweep()
        self._turns.sweep()

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
            principal = generation.call.principal
            self._per_principal[principal] -= 1
            if not self._per_principal[principal]:
                del self._per_principal[principal]
            if not self._running:
                self._none_running.set()

    def _gone(self, name: tuple[str, str]) -> bool:
        """Whoever else holds the log, a session perhaps, shall not send it again; whether it was there."""
        held = self._logs.get(name)
        if held is None or held.gone:
            return False
        held.gone = True
        return True

    def _forget(self, generation: Generation) -> None:
        generation.deleted = True
        generation.cancel()
        self._held.pop(generation.id)
        if self._history is not None:
            self._history.forget(generation.id)

    def _keep(self, create: Create, previous: Turn | None, generation: Generation) -> None:
        """The terminal event is in the log: keep what may be asked for, before anybody reads that it ended."""
        principal = generation.call.principal
        self._ended[generation.id] = principal
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        if generation.deleted or not (create.store or create.items):  # only the Responses API has items
            return
        try:
            turn, row = self._turns.remember(principal, create, generation.response, previous)
        except Exception:  # to remember it is a service; that its readers hear of the end is a duty
            log.exception("response_not_remembered")
            return
        generation.remembered(row, turn)
        expires = time.monotonic() + self._log_ttl
        self._held.put(generation.id, generation, generation.log.weight + row.size, expires)


def asked(create: Create, previous: Turn | None) -> Request:
    """The whole conversation that a create asks about. Instructions hold for one response: OpenAI inherits none."""
    if previous is None and not create.instructions:
        return create.request
    instructions = (said("system", create.instructions),) if create.instructions else ()
    earlier = previous.messages() if previous else ()
    return replace(create.request, messages=instructions + earlier + create.request.messages)
