"""A streamed answer: from the network's reads over the framing and the dialect's decoder to batches of events."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from backends.base import Pushing, Sink
from backends.errors import BackendError
from backends.events import Event, Finished
from backends.http_connection import Exchange
from backends.limits import spoken


class Framing(Protocol):
    """Bytes to messages, however the network split them. Pure."""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that this completed. Raises ProtocolViolation."""


class Decoder(Protocol):
    """One answer of one dialect. Pure. `finished` once the events held `Finished`; what follows it is ignored."""

    finished: bool

    def feed(self, data: bytes) -> list[Event]:
        """What one message says. Raises BackendError for an error inside the stream, ProtocolViolation for rubbish."""

    def end(self) -> list[Event]:
        """The body is over. Raises StreamBroken when the answer is not."""


class Streamed(Pushing):
    """The batches of a stream, one per network read: to be iterated, or pushed."""

    __slots__ = ("_decoder", "_ended", "_error", "_framing", "_held", "_limits", "_response", "_sink")

    def __init__(self, response: Exchange, framing: Framing, decoder: Decoder) -> None:
        self._response, self._framing, self._decoder = response, framing, decoder
        self._error: BackendError | None = None
        self._sink: Sink
        self._ended: asyncio.Future[Finished]
        self._held: asyncio.Future[None] | None = None
        self._limits: Mapping[str, str] | None = None

    @property
    def limits(self) -> Mapping[str, str]:
        """What the answer's headers say of limits (Limited). Nobody asks but who spends a quota."""
        if self._limits is None:
            self._limits = spoken(self._response.headers)
        return self._limits

    def __aiter__(self) -> "Streamed":
        return self

    async def __anext__(self) -> Sequence[Event]:
        try:
            if self._error is not None:
                raise self._error
            if self._decoder.finished:
                raise StopAsyncIteration
            try:
                data = await self._response.__anext__()
            except StopAsyncIteration:
                return self._decoder.end()
            return self._decode(data)
        except BackendError as error:
            note(error, self._response.headers)
            raise

    async def into(self, sink: Sink) -> Finished:
        """Pushing: the chain from the socket's read to `sink` is plain calls."""
        ended: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self._sink, self._ended = sink, ended
        self._response.listen(self._read)
        self._read()
        try:
            return await ended
        finally:
            self._response.listen(None)
            if ended.done() and not ended.cancelled():
                ended.exception()  # seen, should this task be cancelled in the very turn in which it was set

    def _read(self) -> None:
        """Something came, or may have come. Once per token."""
        response, decoder = self._response, self._decoder
        more = True
        while more and self._held is None and not self._ended.done():
            try:
                if self._error is not None:
                    raise self._error
                data = response.take()
                if data:
                    batch = self._decode(data)
                elif data is None:
                    batch = decoder.end()
                else:
                    return
                held = self._sink(batch) if batch else None
            except Exception as error:  # noqa: BLE001  # whoever awaits the end gets it
                if isinstance(error, BackendError):
                    note(error, response.headers)
                self._ended.set_exception(error)
                return
            if decoder.finished:
                last = batch[-1]
                assert isinstance(last, Finished)
                self._ended.set_result(last)
            elif held is not None:
                self._held = held
                response.pause(True)
                held.add_done_callback(self._go_on)
            more = response.over or self._error is not None  # nobody will call again

    def _go_on(self, _: object) -> None:
        """The sink takes the next batch."""
        self._held = None
        if self._ended.done():  # left while it was held back: the connection may be another's by now
            return
        self._response.heard_at = asyncio.get_running_loop().time()
        self._response.pause(False)
        self._read()

    def silent_since(self) -> float | None:
        return None if self._held is not None else self._response.heard_at

    def _decode(self, data: bytes) -> list[Event]:
        decoder = self._decoder
        messages = self._framing.feed(data)
        if len(messages) == 1:
            events = decoder.feed(messages[0])
            if decoder.finished:
                self._response.forgo()
            return events
        events = []
        try:
            for message in messages:
                events += decoder.feed(message)
        except BackendError as error:
            if not events:
                raise
            self._error = error  # what was understood before it comes first
        if decoder.finished:
            self._response.forgo()
        return events


def note(error: BackendError, headers: Mapping[str, str]) -> None:
    """Let the error tell what its answer's headers say of limits. What its body said of them stays."""
    error.limits = {**spoken(headers), **error.limits}


class Whole:
    """The batches of an answer that came as one: a single one, to be iterated."""

    __slots__ = ("_events", "limits")

    def __init__(self, events: Sequence[Event], headers: Mapping[str, str]) -> None:
        self._events: Sequence[Event] | None = events
        self.limits = spoken(headers)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Event]:
        events, self._events = self._events, None
        if events is None:
            raise StopAsyncIteration
        return events
