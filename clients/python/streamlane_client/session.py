"""How far the gateway's frames have come, so that another socket goes on behind the last of them. Pure.

The gateway numbers each frame of a session (`sl_seq`), keeps what was sent until we acknowledge it, and sends it again
to whoever comes back with the session's key.
"""

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any
from uuid import uuid4

WINDOW = 256  # frames that the gateway may send beyond the last that we acknowledged
ACK_FRAMES = 64  # so many are acknowledged at once
ACK_AFTER = 1.0  # or those of so many seconds
SHORTEST = 60.0  # seconds; a gateway that forgets a session sooner still holds the responses, mostly


class News(Enum):
    """What a frame means for the session."""

    NONE = "none"  # it came before, or concerns the session alone
    EVENT = "event"  # it is one of the answers'
    FOUND = "found"  # the session is there
    LOST = "lost"  # it is there, but events are not: what the answers have become must be asked for
    SETTLED = "settled"  # what we asked before has been read, and what it was told before has come
    DRAINING = "draining"  # the gateway stops, and takes nothing new


class Session:
    """One client's session, over all of its sockets. `key` opens it, for the principal that began it."""

    def __init__(self) -> None:
        self.key = uuid4().hex
        self.after = 0
        self.epoch: str | None = None  # what the gateway calls its log; None until it said that it keeps one
        self.lifetime = SHORTEST  # seconds that it is worth coming back
        self.come_back: float | None = None  # seconds, as a gateway that stops said
        self.unacked = 0  # frames

    @property
    def query(self) -> str:
        """What the next socket asks with."""
        return f"sl_session={self.key}&sl_after={self.after}"

    def receive(self, event: Mapping[str, Any]) -> News:
        """One frame of the gateway's."""
        kind = event.get("type")
        gap = kind == "error" and code(event) == "sl_resume_gap"
        if gap or kind == "streamlane:session.created":
            self.after = 0  # its numbers begin anew
        number = event.get("sl_seq")
        if isinstance(number, int):
            if number <= self.after:
                return News.NONE
            self.after = number
            self.unacked += 1
        if gap:
            return News.LOST
        if kind in ("streamlane:session.created", "streamlane:session.resumed"):
            lost = self.epoch not in (None, event.get("epoch"))
            self.epoch = str(event.get("epoch"))
            self.lifetime = max(SHORTEST, _seconds(event.get("resume_ttl_s")))
            return News.LOST if lost else News.FOUND
        if kind == "streamlane:pong":
            return News.SETTLED
        if kind == "streamlane:session.draining":
            self.come_back = _seconds(event.get("retry_after_ms")) / 1000
            return News.DRAINING
        return News.EVENT

    def ack(self) -> bytes:
        """Tell the gateway what came."""
        self.unacked = 0
        return b'{"type":"streamlane:session.ack","sl_seq":%d}' % self.after

    def hello(self) -> list[bytes]:
        """Ask it not to run ahead of us, and to say when it has read that: then all that it kept for us has come."""
        flow = {"type": "streamlane:flow.set", "window": WINDOW}
        return [json.dumps(event).encode() for event in (flow, {"type": "streamlane:ping", "id": self.after})]


def code(event: Mapping[str, Any]) -> object:
    """Of an `error` event."""
    error = event.get("error")
    return error.get("code") if isinstance(error, dict) else None


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
