"""The events of a response as server-sent messages: the objects of the socket's frames, without `stream_id`. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming. No `[DONE]` follows: the terminal event is the end.
"""

from collections.abc import Sequence

from backends.json import dumps
from proxy.response_log import Entry, Mark, ResponseLog
from proxy.wire.responses_frames import Frames
from proxy.wire_errors import sentence, wire


class ResponseEvents:
    """Encodes one log for one stream, whose reader has asked for our extensions or not."""

    def __init__(self, log: ResponseLog, *, extended: bool = False) -> None:
        self._log = log
        self._frames = Frames(log, None, lambda: extended)

    def frames(self, index: int, entries: Sequence[Entry]) -> bytes:
        """Each entry is one message."""
        return b"".join([self._message(entry) for entry in entries])

    def end(self) -> bytes:
        """Nothing: the terminal event was the end."""
        return b""

    def failed(self, error: Exception) -> bytes:
        """An `error` event, in the flat form that OpenAI's streams have."""
        event = {
            "type": "error",
            "sequence_number": self._log.head,
            "code": wire(error).code,
            "message": sentence(error),
            "param": None,
        }
        return b"event: error\ndata: %b\n\n" % dumps(event)

    def _message(self, entry: Entry) -> bytes:
        _, part, event = entry
        kind = event.type if isinstance(event, Mark) else self._log.parts[part - 1].type
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), self._frames.frame(entry))
