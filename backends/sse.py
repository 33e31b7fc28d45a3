"""Bytes to server-sent messages (HTML standard, 9.2.6), however the network split them. Pure.

Only `data` is kept: every dialect that we speak repeats in it what its `event` field says.
"""

from backends.errors import ProtocolViolation

MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes
CR, LF = b"\r\n"
BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """`feed` it what came, get the data of the messages that this completed. A comment completes none."""

    __slots__ = (
        "_after_cr",
        "_data",
        "_first",
        "_line",
        "_size",
    )

    def __init__(self) -> None:
        self._line = bytearray()  # a line without its end
        self._data: list[bytes] = []  # the data lines of a message without its end
        self._size = 0  # bytes in _data
        self._first = True  # no line yet: it may begin with a BOM
        self._after_cr = False  # a LF that comes next belongs to the CR before it

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ProtocolViolation when a message grows beyond MESSAGE_LIMIT."""
        # The usual case: one read is one message of one line of data.
        start = 6 if data[:6] == b"data: " else after_event(data)
        if start and data[-1] == LF and not self._line and not self._data:
            # Google ends lines with CRLF.
            message = data[start:-2] if data[-2] == LF else data[start:-4] if data[-4:] == b"\r\n\r\n" else data
            if LF not in message and CR not in message:
                self._first = self._after_cr = False
                return [message]
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data[-1] == CR
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = data.split(b"\n")
        self._line += first
        if not others:
            self._check_size()
            return []
        *lines, rest = bytes(self._line), *others
        self._line[:] = rest
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(BOM)
        messages: list[bytes] = []
        pending, size = self._data, self._size
        for line in lines:
            if line[:5] == b"data:":
                value = line[6:] if line[5:6] == b" " else line[5:]
                pending.append(value)
                size += len(value) + 1
            elif not line:
                if pending:
                    messages.append(b"\n".join(pending))
                    pending.clear()
                    size = 0
            elif line == b"data":
                pending.append(b"")
                size += 1
        self._size = size
        self._check_size()
        return messages

    def _check_size(self) -> None:
        if self._size + len(self._line) > MESSAGE_LIMIT:
            raise ProtocolViolation(f"a server-sent message longer than {MESSAGE_LIMIT} bytes")


def after_event(data: bytes) -> int:
    """Where the data begins in a message that names its event first, as Anthropic and Cohere do; 0 where it is none."""
    if data[:7] != b"event: ":
        return 0
    end = data.find(b"\n") + 1
    return end + 6 if data[end : end + 6] == b"data: " and CR not in data[:end] else 0
