"""Bedrock's event streams: how a message is framed, and Anthropic's Messages inside of them.

Source: docs.aws.amazon.com/bedrock (InvokeModelWithResponseStream), the service model of botocore 1.44 and the decoder
of the `anthropic` SDK 2.12, read in November 2026.
"""

import struct
from base64 import b64encode
from collections.abc import Mapping
from zlib import crc32

from backends.events import Event, Finished
from backends.json import dumps
from tests.providers import anthropic
from tests.providers.base import Writer


class Chunks(Writer):
    """A streamed message of Claude's: Anthropic's own events, each in a chunk."""

    def __init__(self, model: str, prompt_tokens: int) -> None:
        self._events = anthropic.Events(model, prompt_tokens)

    def begin(self) -> bytes:
        return chunks(self._events.begin())

    def event(self, event: Event) -> bytes:
        return chunks(self._events.event(event))

    def finish(self, event: Finished) -> bytes:
        return chunks(self._events.finish(event))

    def done(self) -> bytes:
        return chunks(self._events.done())

    def error(self) -> bytes:
        return exception("serviceUnavailableException", "Bedrock is unable to process your request.")

    def rubbish(self) -> bytes:
        return chunk(b"{}")[:-1] + b"?"


def chunks(events: bytes) -> bytes:
    """The same events, out of the framing of server-sent events into this one."""
    return b"".join(chunk(line.removeprefix(b"data: ")) for line in events.splitlines() if line.startswith(b"data: "))


def chunk(event: bytes) -> bytes:
    """The payload's blob is base64, as in all JSON of AWS; `p` is there to hide its length."""
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, dumps({"bytes": b64encode(event).decode(), "p": "abcdefgh"}))


def exception(name: str, message: str) -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, dumps({"message": message}))


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """A message of an event stream: prelude, headers that are strings, payload, checksums."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    head = b"".join(b"%c%b\x07%b%b" % (len(n), n, struct.pack(">H", len(value)), value) for n, value in encoded)
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return message + struct.pack(">I", crc32(message))
