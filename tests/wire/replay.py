"""Plays transcripts: to a decoder, in reads of any size and cut anywhere, or to a backend over a real socket."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from backends.base import Backend
from backends.errors import StreamBroken
from backends.events import Event
from backends.http import Transport
from backends.request import Request
from backends.streamed import Decoder, Framing
from tests.upstream import LAST, Script, Upstream, chunk
from tests.wire.recorded import recorded

SIZES = (1, 2, 7, 100, 1000, 1_000_000)  # bytes of one read; the last is more than any body has


def headers_of(head: bytes) -> dict[str, str]:
    """The headers of a recorded head, as the transport gives them: names in lower case."""
    fields = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
    return {name.lower(): value for name, value in fields}


def fed(decoder: Decoder, messages: Iterable[bytes]) -> list[Event]:
    """What the messages say."""
    return [event for message in messages for event in decoder.feed(message)]


def read(body: bytes, size: int, framing: Framing, decoder: Decoder) -> list[Event]:
    """What a body says that comes in reads of `size` bytes."""
    pieces = (body[i : i + size] for i in range(0, len(body), size))
    return [event for piece in pieces for event in fed(decoder, framing.feed(piece))]


def is_broken_between(messages: Sequence[bytes], new: Callable[[], Decoder], whole: list[Event]) -> None:
    """Cut before each of `messages`, a stream gives the beginning of `whole`, and then no end that was not said."""
    for cut in range(len(messages)):
        decoder = new()
        found = fed(decoder, messages[:cut])
        assert found == whole[: len(found)]
        with pytest.raises(StreamBroken):
            decoder.end()


def is_broken_anywhere(body: bytes, framing: Framing, decoder: Decoder, whole: list[Event]) -> None:
    """The same for a cut before each byte."""
    found: list[Event] = []
    for i in range(len(body)):  # found is what a cut before byte i gives
        assert found == whole[: len(found)]
        assert decoder.finished == (found == whole)
        if not decoder.finished:
            with pytest.raises(StreamBroken):
                decoder.end()
        found += fed(decoder, framing.feed(body[i : i + 1]))
    assert found == whole


def written(name: str, cut: int | None = None) -> bytes:
    """A transcript as one write, cut after so many bytes of its body."""
    _, head, body = recorded(name)
    return head + (chunk(body[:cut]) + LAST if b"chunked" in head else body)


async def played(script: Script, build: Callable[[Upstream, Transport], Backend], request: Request) -> list[Event]:
    """What the backend says to whom the script is played."""
    transport = Transport()
    try:
        async with Upstream(script) as upstream, build(upstream, transport).stream(request) as batches:
            return [event async for batch in batches for event in batch]
    finally:
        transport.close()
