"""One client: what it asks is obeyed, what it gets is on its way. Knows no socket, only an outlet.

This is the client of a plain connection: when its connection closes, its responses stop.
"""

from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Protocol, assert_never

import structlog

from backends.json import dumps
from proxy.attachment import Delivery
from proxy.create import NOTHING_BROUGHT, Brought, Create
from proxy.errors import ProxyError
from proxy.generation import Generation
from proxy.generations import Generations
from proxy.outcome import Notice, Principal
from proxy.session import (
    Ack,
    Answer,
    Cancel,
    Command,
    Pause,
    Refuse,
    Repeated,
    Resume,
    Session,
    Start,
    State,
    Window,
)
from proxy.turns import Kept
from proxy.wire_errors import error_event

log = structlog.get_logger()


class Outlet(Protocol):
    """Where frames go: a socket."""

    @property
    def blocked(self) -> bool:
        """Whether its client is so far behind that responses must wait. `Client.drained` is called when it is not."""

    def write(self, frames: list[bytes]) -> None:
        """Send frames of a response."""

    def tell(self, frame: bytes) -> None:
        """Send a frame of no response, also when blocked: who reads none of many is cut."""

    def resume(self, wanted: Resume) -> None:
        """Make the connection that of a session."""

    def settle(self) -> None:
        """A lane has nothing to send any more."""

    def replace(self) -> None:
        """Another connection has taken this one's place: send nothing more, and close."""


class Stream:
    """One generation on its way to one client."""

    __slots__ = ("_client", "delivery", "generation")

    def __init__(self, client: "Client", generation: Generation, stream_id: str | None) -> None:
        self._client = client
        self.generation = generation
        self.delivery = Delivery(generation.log, stream_id, generation.id, lambda: client.extended)

    @property
    def behind(self) -> int:
        return self.delivery.behind

    def wake(self) -> bool:
        """Send what is new, unless the client is behind: then `drained` will, later."""
        outlet = self._client.outlet
        if outlet is None or outlet.blocked:
            return False
        outlet.write(self.delivery.take())
        if self.delivery.ended:
            self._client.ended(self)
        return True

    def notice(self, notice: Notice) -> None:
        """For a client that asked for our extensions. Its number is that of the response's last event."""
        if self._client.extended:
            delivery = self.delivery
            placed = {"response_id": self.generation.id, "sequence_number": max(0, delivery.position - 1)}
            if delivery.stream_id is not None:
                placed["stream_id"] = delivery.stream_id
            self._client.tell({"type": f"streamlane:{notice.kind}", **placed, **notice.data})


class Client:
    """The client of one connection. `spawn` runs what must wait for a disk; `kept` is what can be continued from."""

    def __init__(
        self,
        *,
        generations: Generations,
        principal: Principal,
        session: Session,
        kept: Kept,
        spawn: Callable[[Coroutine[None, None, None]], object],
        on_refused: Callable[[Exception], None],
    ) -> None:
        self._generations = generations
        self.principal = principal
        self._session = session
        self._kept = kept
        self._spawn = spawn
        self._on_refused = on_refused
        self.outlet: Outlet | None = None
        self._streams: dict[str | None, Stream] = {}  # by lane: the response that runs there
        self._beginning: dict[str | None, bool] = {}  # lanes whose create is looked up; whether it was cancelled
        self._closed = False

    @property
    def extended(self) -> bool:
        """Whether it asked for our extensions."""
        return self._session.extended

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits, or has to be sent."""
        return self._session.idle

    def lanes(self) -> Counter[State]:
        """How many of its lanes do what."""
        return self._session.lanes()

    def receive(self, frame: bytes | str, brought: Brought = NOTHING_BROUGHT) -> None:
        """One text frame. `brought` is what came with the connection that it came by."""
        self._obey(self._session.receive(frame, brought))

    def receive_binary(self) -> None:
        """A binary frame."""
        self._obey(self._session.receive_binary())

    def drained(self) -> None:
        """The outlet takes frames again. Lanes that were served come last the next time: it may be for one of them."""
        for lane, stream in tuple(self._streams.items()):
            before = stream.delivery.position
            stream.wake()
            if stream.delivery.position > before and self._streams.get(lane) is stream:
                self._streams[lane] = self._streams.pop(lane)
            stream.generation.caught_up()

    def drain(self) -> None:
        """Nothing new from now on."""
        self._obey(self._session.drain())

    def leave(self, outlet: Outlet) -> None:
        """Its connection is gone: nobody waits for its responses."""
        if self.outlet is outlet:
            self.close()

    def close(self) -> None:
        """Stop all of it."""
        self.outlet = None
        self._closed = True
        for stream in self._streams.values():
            stream.generation.leave(stream)
            stream.generation.cancel()
        self._streams.clear()

    def tell(self, event: Mapping[str, object]) -> None:
        """An event of no response."""
        if self.outlet is not None:
            self.outlet.tell(dumps(event))

    def refuse(self, error: Exception, stream_id: str | None = None) -> None:
        """Answer with an `error` event."""
        self._on_refused(error)
        self.tell(error_event(error, stream_id))

    def ended(self, stream: Stream) -> None:
        """The lane's terminal event was sent, or need not be waited for: the lane is free."""
        generation = stream.generation
        lane = stream.delivery.stream_id
        del self._streams[lane]
        self._kept.ended(lane, generation.turn, generation.previous_id)
        generation.leave(stream)
        self._obey(self._session.done(lane))
        if self.outlet is not None:
            self.outlet.settle()

    def _obey(self, commands: Iterable[Command]) -> None:
        todo = deque(commands)
        while todo:
            match todo.popleft():
                case Start(create, stream_id):
                    todo.extend(self._start(create, stream_id))
                case Cancel(response_id, stream_id):
                    self._cancel(response_id, stream_id)
                case Refuse(error, stream_id):
                    self.refuse(error, stream_id)
                case Answer(event):
                    self.tell(event)
                case Resume() as wanted:
                    if self.outlet is not None:
                        self.outlet.resume(wanted)
                case Ack() | Window() | Pause() | Repeated() as flow:
                    self._flow(flow)
                case other:
                    assert_never(other)

    def _start(self, create: Create, lane: str | None) -> list[Command]:
        if create.previous_response_id is not None:
            self._beginning[lane] = False
            self._spawn(self._begin(create, lane))
            return []
        try:
            generation = self._generations.start(self.principal, create)
        except ProxyError as error:
            return self._refused(error, create, lane)
        self._follow(generation, lane, create.event_id)
        return []

    async def _begin(self, create: Create, lane: str | None) -> None:
        """Start what continues another response, which may have to be fetched."""
        try:
            generation = await self._generations.begin(self.principal, create, kept=self._kept)
        except Exception as error:  # one create's fault must not end the application's group
            if not isinstance(error, ProxyError):
                log.exception("create_failed")
            del self._beginning[lane]
            if not self._closed:
                self._obey(self._refused(error, create, lane))
            return
        cancelled = self._beginning.pop(lane)
        if cancelled or self._closed:
            generation.cancel()
        if not self._closed:
            self._follow(generation, lane, create.event_id)

    def _refused(self, error: Exception, create: Create, lane: str | None) -> list[Command]:
        self.refuse(error, lane)
        self._kept.ended(lane, None, create.previous_response_id)
        return self._session.done(lane, refused=True)

    def _follow(self, generation: Generation, lane: str | None, event_id: str | None) -> None:
        stream = self._streams[lane] = Stream(self, generation, lane)
        generation.follow(stream)

    def _cancel(self, response_id: str | None, stream_id: str | None) -> None:
        if response_id is not None:
            try:
                self._generations.cancel(response_id, self.principal)
            except ProxyError as error:
                self.refuse(error, stream_id)
        elif (stream := self._streams.get(stream_id)) is not None:
            stream.generation.cancel()
        elif stream_id in self._beginning:
            self._beginning[stream_id] = True  # otherwise nothing runs: it has just ended

    def _flow(self, command: Ack | Window | Pause | Repeated) -> None:
        raise AssertionError("only sessions have numbers")  # the Session core lets nobody else come so far
