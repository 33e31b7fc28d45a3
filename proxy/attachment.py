"""What one client has been sent, response by response. Pure."""

from proxy.response_log import ResponseLog
from proxy.wire.responses_frames import Frames


class Delivery:
    """One response on its way to one client. `position` is the next event to send; `ended` once the last one was taken.

    Events that pile up while the client does not read leave as one delta, so a backlog costs its text and no more.
    """

    __slots__ = ("_frames", "ended", "log", "position", "stream_id")

    def __init__(self, log: ResponseLog, stream_id: str | None) -> None:
        self.log = log
        self.stream_id = stream_id
        self.position = 0
        self.ended = False
        self._frames = Frames(log, stream_id)

    def take(self) -> list[bytes]:
        """The frames that are due now."""
        log, position = self.log, self.position
        self.position = log.head
        if position + 1 == log.head and log.last is not None:  # a reader that keeps up reads token by token
            return [self._frames.delta(position, *log.last)]
        self.ended = log.ended
        return [self._frames.frame(entry) for entry in log.read(position)]

    @property
    def behind(self) -> int:
        """Bytes of text not taken yet."""
        return self.log.behind(self.position)
