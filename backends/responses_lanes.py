"""One socket of the Responses API while it is open: its lanes, each with one answer at a time.

A lane is a `stream_id`. One reader takes what comes and never waits for anybody: what a lane's own reader does not take
in time waits in that lane, and beyond LANE_LIMIT the lane is cut. There is one writer, so that leaving never waits.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed

from backends.base import Pushing, Sink
from backends.errors import BackendError, ProtocolViolation, StreamBroken
from backends.events import Event, Finished
from backends.json import SHAPE_ERRORS, dumps
from backends.responses_decode import ENDS, ERROR, SOCKET_OVER, Decoder, Said, said_of

LANES = 16  # OpenAI: so many answers at once; more would wait there, and elsewhere they need not
LANE_LIMIT = 4 * 1024 * 1024  # bytes that wait to be read
SEND_DEADLINE = 10.0  # seconds in which the server must take a request
LINGER = 2.0  # seconds in which an answer that nobody wants must end, or its socket is given up


class Connection(Protocol):
    """What we need of websockets' ClientConnection."""

    @property
    def transport(self) -> asyncio.Transport: ...

    async def recv(self, decode: bool | None = None) -> bytes | str: ...

    async def send(self, message: bytes, *, text: bool | None = None) -> None: ...

    async def close(self) -> None: ...


class Lane(Pushing):
    """The batches of one answer: to be iterated, or pushed. `leave` it when nothing more is wanted."""

    def __init__(self, name: str, decoder: Decoder, left: Callable[["Lane"], None]) -> None:
        self.name, self.wanted, self.over = name, True, False
        self._decoder, self._left = decoder, left
        self._events: list[Event] = []
        self._waiting = 0  # bytes that became _events
        self._error: BackendError | None = None
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._on_news: Callable[[], None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._held: asyncio.Future[None] | None = None

    @property
    def response_id(self) -> str:
        """The server's name for the answer; empty until it has begun."""
        return self._decoder.response_id

    def leave(self) -> None:
        """Nothing more is wanted."""
        if self.wanted:
            self.wanted = False
            self._events.clear()
            self._left(self)

    # What the socket's reader calls.

    def feed(self, said: Said, data: bytes) -> None:
        """One message for it."""
        self.over = said.type in ENDS
        if self._error is not None:
            return
        try:
            events = self._decoder.take(said, data)
        except BackendError as error:
            self.fail(error)
            return
        if not self.wanted:
            return
        self._heard_at = self._loop.time()
        self._events += events
        self._waiting += len(data)
        if self._waiting > LANE_LIMIT:
            self.fail(StreamBroken())
        else:
            self._tell()

    def fail(self, error: BackendError) -> None:
        """What it has is read, and then comes `error`; nothing after it."""
        if self._error is None and not self._decoder.finished:
            self._error = error
            self._tell()

    # What its own reader calls.

    def __aiter__(self) -> "Lane":
        return self

    async def __anext__(self) -> Sequence[Event]:
        if not self._waiting:
            if self._error is not None:
                raise self._error
            if self._decoder.finished:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
            if not self._waiting and self._error is not None:
                raise self._error
        return self._take()

    async def into(self, sink: Sink) -> Finished:
        ended: asyncio.Future[Finished] = self._loop.create_future()

        def news(_: object = None) -> None:
            if ended.done() or (self._held is not None and not self._held.done()):
                return
            self._held = None
            try:
                if batch := self._take():
                    held = sink(batch)
                    if isinstance(batch[-1], Finished):
                        ended.set_result(batch[-1])
                    elif held is not None:
                        self._held = held
                        held.add_done_callback(go_on)
                        return
                if self._error is not None and not ended.done():
                    raise self._error
            except Exception as error:  # noqa: BLE001  # whoever awaits the end gets it
                ended.set_exception(error)

        def go_on(_: object) -> None:
            self._heard_at = self._loop.time()
            news()

        self._on_news = news
        news()
        try:
            return await ended
        finally:
            self._on_news = None
            if ended.done() and not ended.cancelled():
                ended.exception()  # seen, should this task be cancelled in the very turn in which it was set

    def silent_since(self) -> float | None:
        return None if self._held is not None else self._heard_at

    def _take(self) -> list[Event]:
        batch, self._events, self._waiting = self._events, [], 0
        return batch

    def _tell(self) -> None:
        if self._on_news is not None:
            self._on_news()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Link:
    """One open socket. `run` it until it is over; until then `claim` lanes of it while it is `usable`.

    `served` once anything came. `on_retired` is called when it takes no more requests, though it may go on with those
    that it has.
    """

    def __init__(self, connection: Connection, on_retired: Callable[[], None]) -> None:
        self._connection, self._on_retired = connection, on_retired
        self._free = [f"lane-{number}" for number in reversed(range(LANES))]
        self._lanes: dict[str, Lane] = {}
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.usable, self.served = True, False

    def claim(self, body: Mapping[str, Any], decoder: Decoder) -> Lane | None:
        """A lane on which `body` is asked; None when all are taken."""
        if not self._free:
            return None
        lane = Lane(self._free.pop(), decoder, self._abandon)
        self._lanes[lane.name] = lane
        self._outbox.put_nowait(dumps({"type": "response.create", "stream_id": lane.name, **body}))
        return lane

    def retire(self) -> None:
        """Take no more requests, and close once nobody wants what is still under way."""
        if self.usable:
            self.usable = False
            self._on_retired()
        if not any(lane.wanted for lane in self._lanes.values()):
            self._outbox.put_nowait(None)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.usable = False
        self._connection.transport.abort()

    async def run(self) -> None:
        """Read and write until the socket is over. Those who are still on it get StreamBroken."""
        writer = asyncio.create_task(self._write())
        try:
            while True:
                data = await self._connection.recv(decode=False)
                assert isinstance(data, bytes)
                self.served = True
                self._give(data)
        except ConnectionClosed:
            pass
        finally:
            writer.cancel()
            self.abort()
            for lane in self._lanes.values():
                lane.fail(StreamBroken())

    async def _write(self) -> None:
        try:
            while (message := await self._outbox.get()) is not None:
                async with asyncio.timeout(SEND_DEADLINE):
                    await self._connection.send(message, text=True)
            await self._connection.close()
        except (ConnectionClosed, TimeoutError):
            self.abort()

    def _give(self, data: bytes) -> None:
        try:
            said = said_of(data)
        except SHAPE_ERRORS:
            for lane in self._lanes.values():
                lane.fail(ProtocolViolation("an event that is no JSON object of the Responses API"))
            self.abort()  # whose it was, nobody knows
            return
        if said.type == ERROR and SOCKET_OVER.encode() in data:
            for lane in self._lanes.values():
                lane.fail(StreamBroken())
            self.abort()
            return
        found = self._lanes.get(said.stream_id or "")
        if found is None:  # an error of the socket itself, or what nobody asked for
            return
        began = bool(found.response_id)
        found.feed(said, data)
        if found.over:
            del self._lanes[found.name]
            self._free.append(found.name)
            if not self.usable:
                self.retire()
        elif not found.wanted and not began:
            self._cancel(found)

    def _abandon(self, lane: Lane) -> None:
        """Its reader has gone. The name is free when the server is done with it."""
        if lane.over:
            return
        self._cancel(lane)
        self._loop.call_later(LINGER, self._give_up, lane)
        if not self.usable:
            self.retire()

    def _cancel(self, lane: Lane) -> None:
        if lane.response_id:
            cancel = {"type": "response.cancel", "stream_id": lane.name, "response_id": lane.response_id}
            self._outbox.put_nowait(dumps(cancel))

    def _give_up(self, lane: Lane) -> None:
        """A server that cannot cancel goes on writing, and charging, until its socket is closed."""
        if not lane.over:
            self.retire()
