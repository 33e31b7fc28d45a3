"""Which answer has which lane, and what has come of each. Pure: frames in, frames out.

Every answer gets a lane (`stream_id`) of its own, so that answers run at the same time on one socket; a lane that
became free is used again. What finds no free lane waits here. Lanes outlive sockets, as the gateway's session does.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias, cast

from streamlane_client.errors import Cancelled, ConnectionLost, StreamlaneError, failed, refused
from streamlane_client.events import Event, Response
from streamlane_client.session import code

Input: TypeAlias = str | Sequence[Mapping[str, Any]]

ACTIVE = 16  # ws-mode guide: responses that may run at once on one connection
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
OURS = {"type", "stream_id", "event_id"}
UNDER_WAY = ("queued", "in_progress")  # statuses of a response that has not ended


def body(model: str, input: Input, more: Mapping[str, Any]) -> bytes:  # noqa: A002  # the API's word
    """The members of a `response.create` as JSON. Raises TypeError or ValueError for what JSON cannot say."""
    if taken := OURS & more.keys():
        raise TypeError(f"{taken.pop()!r} is not for you to set: each answer has a lane and a name of its own.")
    text = json.dumps({"model": model, "input": input, **more}, ensure_ascii=False, allow_nan=False)
    return text.encode()


class Record:
    """What has come of one answer so far. `wake` is called after each change."""

    def __init__(self, body: bytes, wake: Callable[[], None]) -> None:
        self.body = body
        self.name = ""  # its event_id: by that the gateway knows a create that comes again
        self.id: str | None = None
        self.events: deque[Event] = deque()  # that nobody has taken yet
        self.said: list[str] = []  # the answer's text
        self.response: Response | None = None
        self.error: StreamlaneError | None = None
        self.ended = False
        self.cancelled = False
        self.dropped = False  # nobody looks at its events any more
        self.fetched = False  # its end is asked for over HTTP
        self._wake = wake

    def feed(self, event: dict[str, Any]) -> None:
        """One event of its lane."""
        kind, response = event.get("type"), event.get("response")
        if isinstance(response, dict):
            self.id = self.id or response.get("id")
        if self.ended:  # cancelled while there was no socket
            return
        if kind == "error":
            self.end(refused(event))
            return
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

    def catch_up(self, response: Mapping[str, Any]) -> bool:
        """The response as the gateway holds it now, instead of events that are lost. Whether it has ended.

        What is missing of the text comes as one delta.
        """
        text, said = _text(response), "".join(self.said)
        status = response.get("status")
        under_way = status in UNDER_WAY
        if text.startswith(said):
            if missing := text[len(said) :]:
                delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": missing}
                self.feed(delta)
        elif status != "failed" and not (under_way and said.startswith(text)):
            self.end(gone("The gateway holds another answer than the one that came so far."))
            return True
        if not under_way:
            end = status if status in ("completed", "failed") else "incomplete"
            self.feed({"type": f"response.{end}", "response": response})
        return not under_way

    def end(self, error: StreamlaneError | None) -> None:
        """Nothing more will come."""
        if self.ended:
            return
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
        if self.dropped:
            return None
        if self.events:
            return self.events.popleft()
        if self.error is not None and not isinstance(self.error, Cancelled):
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
        self._numbers = count(1)
        self._before: dict[str, str | None] = {}  # by lane: the response that was there last
        self._unsure: list[str] = []  # lanes whose create was sent on an earlier socket, and may not have arrived
        self.held = False  # the gateway stops: what is asked now waits for the next one

    @property
    def waiting(self) -> bool:
        """Whether something is to be sent as soon as that is possible."""
        return bool(self._waiting)

    @property
    def running(self) -> bool:
        """Whether something was sent that has not ended."""
        return bool(self._running)

    def add(self, record: Record) -> None:
        """One more answer; `fill` gives it a lane."""
        record.name = f"create{next(self._numbers)}"
        self._waiting.append(record)

    def fill(self) -> list[bytes]:
        """Send what waits, as far as there are lanes."""
        frames = []
        while self._waiting and self._free and not self.held:
            record, lane = self._waiting.popleft(), self._free.pop()
            self._running[lane] = record
            frames.append(_create(lane, record))
        return frames

    def reopened(self) -> list[bytes]:
        """There is another socket."""
        self.held = False
        self._unsure = [lane for lane, record in self._running.items() if record.id is None]
        return [_cancel(lane) for lane, record in self._running.items() if record.cancelled and record.id is not None]

    def again(self) -> list[bytes]:
        """After a cut: send what may not have arrived. The gateway knows each create, and runs it once."""
        frames = []
        for lane in self._unsure:
            record = self._running.get(lane)
            if record is not None and record.id is None:
                frames += [_create(lane, record)] + ([_cancel(lane)] if record.cancelled else [])
        self._unsure = []
        return frames

    def cancel(self, record: Record, *, connected: bool) -> list[bytes]:
        """Stop an answer. What runs ends with its own last event; what nobody can be told of now, at once."""
        if record.ended or record.cancelled:
            return []
        record.cancelled = True
        frames = [_cancel(lane) for lane, running in self._running.items() if running is record]
        if frames and connected:
            return frames
        if record in self._waiting:
            self._waiting.remove(record)
        when = "while there was no connection" if frames else "before it was sent"
        record.end(Cancelled(f"The answer was cancelled {when}.", code="cancelled"))
        return []

    def cancel_all(self) -> list[bytes]:
        """Nobody wants what runs."""
        return [_cancel(lane) for lane in self._running]

    def receive(self, event: dict[str, Any]) -> list[bytes]:
        """One event of the gateway's."""
        kind = event.get("type")
        lane: Any = event.get("stream_id")
        if lane is None and kind == "error":  # a frame that the gateway could not read at all
            lane = next((lane for lane, record in self._running.items() if record.id is None), None)
        record = self._running.get(lane) if isinstance(lane, str) else None
        if record is None or record.fetched or (record.id is None and self._is_tail(event, lane)):
            return []
        if kind == "error" and code(event) == "session_away":  # it never began, and is sent again
            return []
        record.feed(event)
        return self._release(record) if kind in TERMINAL or kind == "error" else []

    def lost(self, error: StreamlaneError, *, resumable: bool, too_big: bool) -> None:
        """The socket is gone. Unless the gateway keeps our session, so is every answer that had begun on it."""
        for record in self._running.values():
            if record.cancelled:  # its last event may be long in coming
                record.end(Cancelled("The answer was cancelled, and then the connection was lost.", code="cancelled"))
        ended = [] if resumable else [record for record in self._running.values() if record.id is not None]
        if too_big:  # the longest, which it must have meant
            unread = [record for record in self._running.values() if record.id is None]
            ended += sorted(unread, key=lambda record: len(record.body))[-1:]
        for record in ended:
            self._release(record, fill=False)
            record.end(error)

    def to_fetch(self) -> list[Record]:
        """The answers of which events are lost; their end is asked for over HTTP from now on."""
        records = [record for record in self._running.values() if record.id is not None and not record.fetched]
        for record in records:
            record.fetched = True
        return records

    def fetched(self, record: Record) -> list[bytes]:
        """Its end came over HTTP, or never will."""
        return self._release(record) if record in self._running.values() else []

    def end(self, error: StreamlaneError) -> None:
        """Nothing more will come of anything that was sent."""
        while self._running:
            lane, record = self._running.popitem()
            self._free.append(lane)
            record.end(error)

    def refuse(self, error: StreamlaneError) -> None:
        """There is no socket for what waits."""
        while self._waiting:
            self._waiting.popleft().end(error)

    def _release(self, record: Record, *, fill: bool = True) -> list[bytes]:
        lane = next(lane for lane, running in self._running.items() if running is record)
        del self._running[lane]
        self._before[lane] = record.id
        self._free.append(lane)
        return self.fill() if fill else []

    def _is_tail(self, event: Mapping[str, Any], lane: str) -> bool:
        """What comes on a lane before its response began is the end of the one before.

        That one may have been fetched meanwhile, and then its last event is late.
        """
        kind, response = str(event.get("type")), event.get("response")
        if kind == "response.created" or kind in TERMINAL:
            return isinstance(response, dict) and response.get("id") == self._before.get(lane, "")
        return kind.startswith("response.")


def gone(message: str) -> ConnectionLost:
    """For an answer that cannot go on where it was."""
    return ConnectionLost(message, code="resume_gap")


def _create(lane: str, record: Record) -> bytes:
    head = b'{"type":"response.create","stream_id":"%b","event_id":"%b",' % (lane.encode(), record.name.encode())
    return head + record.body[1:]


def _cancel(lane: str) -> bytes:
    return b'{"type":"response.cancel","stream_id":"%b"}' % lane.encode()


def _text(response: Mapping[str, Any]) -> str:
    items: list[dict[str, Any]] = response.get("output") or []
    parts = [part for item in items if item.get("type") == "message" for part in item.get("content") or []]
    return "".join(str(part.get("text", "")) for part in parts if part.get("type") == "output_text")
