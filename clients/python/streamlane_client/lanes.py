"""Which answer has which lane, and what has come of each. Pure: frames in, frames out.

Every answer gets a lane (`stream_id`) of its own, so that answers run at the same time on one socket; a lane that
became free is used again. What finds no free lane waits here.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

from streamlane_client.errors import Cancelled, StreamlaneError, failed, refused
from streamlane_client.events import Event, Response

Input: TypeAlias = str | Sequence[Mapping[str, Any]]

ACTIVE = 16  # ws-mode guide: responses that may run at once on one connection
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def body(model: str, input: Input, more: Mapping[str, Any]) -> bytes:  # noqa: A002  # the API's word
    """The members of a `response.create` as JSON. Raises TypeError or ValueError for what JSON cannot say."""
    if taken := {"type", "stream_id"} & more.keys():
        raise TypeError(f"{taken.pop()!r} is not for you to set: each answer has a lane of its own.")
    text = json.dumps({"model": model, "input": input, **more}, ensure_ascii=False, allow_nan=False)
    return text.encode()


class Record:
    """What has come of one answer so far. `wake` is called after each change."""

    def __init__(self, body: bytes, wake: Callable[[], None]) -> None:
        self.body = body
        self.id: str | None = None
        self.events: deque[Event] = deque()  # that nobody has taken yet
        self.said: list[str] = []  # the answer's text
        self.response: Response | None = None
        self.error: StreamlaneError | None = None
        self.ended = False
        self.cancelled = False
        self.dropped = False  # nobody looks at its events any more
        self._wake = wake

    def feed(self, event: dict[str, Any]) -> None:
        """One event of its lane."""
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            self.end(refused(event))
            return
        if isinstance(response, dict):
            self.id = self.id or response.get("id")
        if kind == "response.failed":
            self.end(failed(response if isinstance(response, dict) else {}))
            return
        if kind == "response.output_text.delta":
            self.said.append(str(event.get("delta", "")))
        if not self.dropped:
            self.events.append(cast(Event, event))  # what the gateway sends is not checked
        if kind in TERMINAL:
            self.response = cast(Response, response)
            self.end(None)
        else:
            self._wake()

    def end(self, error: StreamlaneError | None) -> None:
        """Nothing more will come."""
        self.error = error
        self.ended = True  # last: a reader in another thread may look at any moment
        self._wake()

    def drop(self) -> None:
        """Forget what has not been taken, and what will come."""
        self.dropped = True
        self.events.clear()
        self._wake()

    @property
    def ready(self) -> bool:
        """Whether `take` has something to say."""
        return bool(self.events) or self.ended or self.dropped

    def take(self) -> Event | None:
        """The next event; None at the end. Raises what ended it early, once all events are taken."""
        if self.events:
            return self.events.popleft()
        if self.error is not None and not self.dropped and not isinstance(self.error, Cancelled):
            raise self.error.with_traceback(None)
        return None

    def text(self) -> str:
        """All that was said, once it has ended. Raises what ended it early, unless that was a cancel."""
        if self.error is not None and not isinstance(self.error, Cancelled):
            raise self.error.with_traceback(None)
        return "".join(self.said)

    def final(self) -> Response:
        """The final response object, once it has ended. Raises what ended it early."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        assert self.response is not None
        return self.response


class Lanes:
    """The answers of one client. Methods that return frames want them sent, in that order."""

    def __init__(self) -> None:
        self._waiting: deque[Record] = deque()
        self._running: dict[str, Record] = {}
        self._free = [f"lane{number}" for number in reversed(range(ACTIVE))]

    @property
    def waiting(self) -> bool:
        """Whether something is to be sent as soon as that is possible."""
        return bool(self._waiting)

    def add(self, record: Record) -> None:
        """One more answer; `fill` gives it a lane."""
        self._waiting.append(record)

    def fill(self) -> list[bytes]:
        """Send what waits, as far as there are lanes."""
        frames = []
        while self._waiting and self._free:
            record, lane = self._waiting.popleft(), self._free.pop()
            self._running[lane] = record
            frames.append(b'{"type":"response.create","stream_id":"%b",%b' % (lane.encode(), record.body[1:]))
        return frames

    def cancel(self, record: Record) -> list[bytes]:
        """Stop an answer. What was not sent ends at once; what runs ends with its own last event."""
        if record.ended or record.cancelled:
            return []
        record.cancelled = True
        for lane, running in self._running.items():
            if running is record:
                return [b'{"type":"response.cancel","stream_id":"%b"}' % lane.encode()]
        if record in self._waiting:
            self._waiting.remove(record)
        record.end(Cancelled("The answer was cancelled before it was sent.", code="cancelled"))
        return []

    def receive(self, frame: str | bytes) -> list[bytes]:
        """One frame of the gateway's."""
        try:
            event: Any = json.loads(frame)
        except ValueError:
            return []
        if not isinstance(event, dict):
            return []
        lane: Any = event.get("stream_id")
        if lane is None and event.get("type") == "error":  # a frame that the gateway could not read at all
            lane = next((lane for lane, record in self._running.items() if record.id is None), None)
        record = self._running.get(lane) if isinstance(lane, str) else None
        if record is None:
            return []
        record.feed(event)
        if not record.ended:
            return []
        del self._running[lane]
        self._free.append(lane)
        return self.fill()

    def lost(self, error: StreamlaneError) -> None:
        """The socket is gone, and so is every answer that was on it."""
        while self._running:
            lane, record = self._running.popitem()
            self._free.append(lane)
            record.end(error)

    def refuse(self, error: StreamlaneError) -> None:
        """There is no socket for what waits."""
        while self._waiting:
            self._waiting.popleft().end(error)
