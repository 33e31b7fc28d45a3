"""Bytes to lines of JSON (newline-delimited JSON), however the network split them. Pure."""

from backends.errors import ProtocolViolation

LINE_LIMIT = 4 * 1024 * 1024  # bytes


class LineDecoder:
    """`feed` it what came, get the lines that this completed, without their ends. An empty line is none."""

    def __init__(self) -> None:
        self._line = bytearray()  # a line without its end

    def feed(self, data: bytes) -> list[bytes]:
        """Raises ProtocolViolation when a line grows beyond LINE_LIMIT."""
        # The usual case: one read is one line.
        if not self._line and data.find(b"\n") == len(data) - 1 and len(data) > 2:
            return [data[:-1]] if data[-2] != 13 else [data[:-2]]
        first, *others = data.split(b"\n")
        self._line += first
        if not others:
            if len(self._line) > LINE_LIMIT:
                raise ProtocolViolation(f"a line longer than {LINE_LIMIT} bytes")
            return []
        *lines, rest = bytes(self._line), *others
        self._line[:] = rest
        return [line for each in lines if (line := each.removesuffix(b"\r"))]
