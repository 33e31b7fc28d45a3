"""Bytes to the messages of AWS's event streams (application/vnd.amazon.eventstream), however they were split. Pure.

botocore has such a reader too; it takes four times as long per message as everything else that a token costs.
"""

import struct
from zlib import crc32

from backends.errors import ProtocolViolation
from backends.json import dumps

MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes
PRELUDE = struct.Struct(">III")  # length of all, length of the headers, checksum of both
CHECKSUM = struct.Struct(">I")
LEAST = PRELUDE.size + 4  # and a checksum at the end
SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # bytes of a header's value, by its type
BYTES, STRING = 6, 7  # types whose value comes after its length
MOST_KNOWN = 64


class EventStreamDecoder:
    """`feed` it what came, get the messages that this completed: objects with one member, named as the event is.

    `{"contentBlockDelta":{...}}`; an exception is the same under its own name, and an error that the service has no
    name for is `{"error":{"code":...,"message":...},"payload":...}`.
    """

    def __init__(self) -> None:
        self._rest = bytearray()  # of a message that is not whole
        self._needed = LEAST  # bytes of it before it is worth looking
        self._known: dict[bytes, bytes] = {}  # the beginning of a message, by its headers

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ProtocolViolation for a message that is too long, or whose checksum is wrong."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
        messages: list[bytes] = []
        at, end, self._needed = 0, len(data), LEAST
        while end - at >= LEAST:
            total, headers, checksum = PRELUDE.unpack_from(data, at)
            if crc32(data[at : at + 8]) != checksum:
                raise ProtocolViolation("a message of an event stream with a wrong checksum")
            if not LEAST + headers <= total <= MESSAGE_LIMIT:
                raise ProtocolViolation(
                    f"a message of an event stream that is not {LEAST} to {MESSAGE_LIMIT} bytes long"
                )
            following = at + total
            if following > end:
                self._needed = total
                break
            body = following - 4
            if crc32(data[at:body]) != CHECKSUM.unpack_from(data, body)[0]:
                raise ProtocolViolation("a message of an event stream with a wrong checksum")
            at += PRELUDE.size
            head = data[at : at + headers]
            if (name := self._known.get(head)) is None:
                name = self._name(head)
            messages.append(b"{%b:%b}" % (name, data[at + headers : body] or b"{}"))
            at = following
        self._rest[:] = data[at:]
        return messages

    def _name(self, head: bytes) -> bytes:
        """The member that a message with these headers is."""
        found = headers_of(head)
        if found.get(":message-type") == "error":
            error = {"code": found.get(":error-code"), "message": found.get(":error-message")}
            return b'"error":%b,"payload"' % dumps(error)
        name = dumps(found.get(":exception-type") or found.get(":event-type") or "")
        if len(self._known) < MOST_KNOWN:
            self._known[head] = name
        return name


def headers_of(data: bytes) -> dict[str, str]:
    """The headers that are strings. Raises ProtocolViolation."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind, at = data[at], at + 1
            size = SIZES.get(kind)
            if size is None:
                if kind not in {BYTES, STRING}:
                    raise ProtocolViolation("a header of an event stream of a type that there is not")
                size, at = int.from_bytes(data[at : at + 2], "big"), at + 2
            if kind == STRING:
                found[name] = data[at : at + size].decode()
            at += size
    except (IndexError, UnicodeDecodeError):
        raise ProtocolViolation("headers of an event stream that are none") from None
    return found
