"""One socket: its frames become commands, its lanes keep their order. Pure; opens nothing, waits for nothing.

A lane is a `stream_id`; the default lane has none. What a lane may do:

    idle ──create──▸ waiting ──a place among the active──▸ running ──done──▸ idle, or waiting for its next create
"""

import re
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from msgspec import Struct

from backends.json import JsonError, loads
from proxy.create import NOTHING_BROUGHT, Brought, Create
from proxy.errors import (
    BadFrame,
    BadStreamId,
    Draining,
    ProxyError,
    SessionAway,
    TooManyLanes,
    TooManyQueued,
    Unsupported,
)
from proxy.wire.responses_request import parse_create

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")  # ws-mode guide: the charset of stream_id
CLIENT_EVENTS = ("response.create", "response.cancel", "response.steer", "response.processed")
EXTENSIONS = ("streamlane:ping", "streamlane:session.resume", "streamlane:session.ack", "streamlane:flow.set")
EVENT_IDS = 1024  # creates that a session remembers, so that a repeat is known for one
MAX_EVENT_ID = 512  # characters, of four bytes at most
EVENT_ID = 256  # bytes that one takes beside its characters, about
MAX_ECHO = 4096  # bytes of a frame that is told again in its refusal
MAX_NUMBER = 2**53 - 1  # what JavaScript can count to


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection. OpenAI's WebSocket mode: 16 active responses, 32 named lanes."""

    active: int = 16
    lanes: int = 32
    queued: int = 64


class Start(Struct, frozen=True):
    """Begin this response now."""

    create: Create
    stream_id: str | None


class Cancel(Struct, frozen=True):
    """Abort: the response of that id, else the one that runs on the lane."""

    response_id: str | None
    stream_id: str | None


class Refuse(Struct, frozen=True):
    """Answer with an `error` event."""

    error: ProxyError
    stream_id: str | None


class Answer(Struct, frozen=True):
    """Send this event as it is."""

    event: Mapping[str, object]


class Resume(Struct, frozen=True):
    """Make this connection that of a session. `after` is the last number that the client has; None when it has none."""

    key: str
    after: int | None
    epoch: str | None


class Ack(Struct, frozen=True):
    """The client has every frame up to this number."""

    number: int


class Window(Struct, frozen=True):
    """At most so many frames may be unacknowledged; 0 for no bound."""

    frames: int


class Pause(Struct, frozen=True):
    """Hold this lane's events back, or no longer."""

    stream_id: str | None
    paused: bool


class Repeated(Struct, frozen=True):
    """A create came again whose response has ended."""

    stream_id: str | None
    event_id: str


Command: TypeAlias = Start | Cancel | Refuse | Answer | Resume | Ack | Window | Pause | Repeated


class State(Enum):
    """What a lane is doing."""

    IDLE = "idle"
    WAITING = "waiting"
    RUNNING = "running"


@dataclass(slots=True)
class Lane:
    """Creates in the order they came. The first of them waits for a place when the lane is WAITING."""

    creates: deque[tuple[Create, str | None, int]] = field(default_factory=deque)  # with their event_id, and bytes
    state: State = State.IDLE
    event_id: str | None = None  # of the create that runs
    size: int = 0  # bytes of the create that runs


class Session:
    """Feed it frames with `receive` and ends of responses with `done`; do what the commands say, in order.

    `extended`: the client asked for our extensions. `resumable`: frames have numbers, and creates are remembered by
    their `event_id`, so that a client that lost its connection may send them again.
    """

    def __init__(self, limits: Limits, *, extended: bool = False, resumable: bool = False) -> None:
        self.extended = extended
        self._resumable = resumable
        self._fresh = True  # nothing was received yet
        self._event_ids: OrderedDict[tuple[str | None, str], int] = OrderedDict()  # and their bytes
        self._limits = limits
        self._lanes: dict[str | None, Lane] = {None: Lane()}
        self._waiting: deque[str | None] = deque()  # lanes in the order in which they get a place
        self._active = 0
        self._draining = False
        self._size = 0  # bytes of the frame that is looked at
        self.held = 0  # about how many bytes its creates take, and the event ids

    def receive(self, frame: bytes | str, brought: Brought = NOTHING_BROUGHT) -> list[Command]:
        """One text frame. `brought` came with its connection, for what it creates: a session may have others later."""
        first, self._fresh = self._fresh, False
        self._size = len(frame)
        try:
            event = loads(frame)
        except JsonError as error:
            return [Refuse(BadFrame(f"The frame is not valid JSON: {error.msg}."), None)]
        if not isinstance(event, dict):
            return [Refuse(BadFrame("The frame must be a JSON object with a 'type'."), None)]
        stream_id = event.get("stream_id")
        if stream_id is not None and not (isinstance(stream_id, str) and STREAM_ID.fullmatch(stream_id)):
            return [Refuse(BadStreamId(), None)]
        try:
            return self._event(event, stream_id, first, brought)
        except ProxyError as error:
            return [Refuse(error, stream_id)]

    def receive_binary(self) -> list[Command]:
        """A binary frame: never part of this protocol."""
        return [Refuse(BadFrame("Binary frames are not part of this protocol. Send JSON in text frames."), None)]

    def done(self, stream_id: str | None, *, refused: bool = False) -> list[Command]:
        """The lane's response has ended, or was `refused` before it began: then its create may be sent again."""
        lane = self._lanes[stream_id]
        assert lane.state is State.RUNNING
        lane.state = State.IDLE
        self.held -= lane.size
        if refused:
            self._forget(stream_id, lane.event_id)
        lane.event_id, lane.size = None, 0
        self._active -= 1
        if lane.creates:
            self._wait(lane, stream_id)
        return self._fill()

    def drain(self) -> list[Command]:
        """Nothing new from now on: creates that wait are refused, responses that run go on."""
        self._draining = True
        return self._refuse_waiting(Draining())

    def abandon(self) -> list[Command]:
        """The client was away for too long: creates that wait are refused. If it comes back, it may send new ones."""
        return self._refuse_waiting(SessionAway())

    def lanes(self) -> Counter[State]:
        """How many lanes do what."""
        return Counter(lane.state for lane in self._lanes.values())

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._active == 0 and not self._waiting

    def _refuse_waiting(self, error: ProxyError) -> list[Command]:
        refused: list[Command] = []
        for stream_id, lane in self._lanes.items():
            for _, event_id, size in lane.creates:
                refused.append(Refuse(error, stream_id))
                self.held -= size
                self._forget(stream_id, event_id)
            lane.creates.clear()
            if lane.state is State.WAITING:
                lane.state = State.IDLE
        self._waiting.clear()
        return refused

    def _forget(self, stream_id: str | None, event_id: str | None) -> None:
        """A create that has not begun may be sent again."""
        if event_id is not None:
            self.held -= self._event_ids.pop((stream_id, event_id), 0)

    def _event(self, event: dict[str, Any], stream_id: str | None, first: bool, brought: Brought) -> list[Command]:
        match event.get("type"):
            case "response.create":
                return self._create(event, stream_id, brought)
            case "response.cancel":
                response_id = event.get("response_id")
                if response_id is not None and not isinstance(response_id, str):
                    raise BadFrame("'response_id' must be a string.", "response_id")
                return [Cancel(response_id, stream_id)]
            case "response.processed":  # CODEX says so after each response; nothing to do
                return []
            case "response.steer":
                return [Answer(steering_refused(event if self._size <= MAX_ECHO else {}))]
            case "response.inject":
                raise Unsupported("The event 'response.inject'", "type")
            case str(kind) if self.extended and kind in EXTENSIONS:
                return self._extension(kind, event, stream_id, first)
            case str(kind):
                raise BadFrame(f"Unknown event type '{kind[:100]}'. Known: {self._known()}.", "type")
            case _:
                raise BadFrame(f"'type' is missing. Known: {self._known()}.", "type")

    def _known(self) -> str:
        return ", ".join(CLIENT_EVENTS + EXTENSIONS if self.extended else CLIENT_EVENTS)

    def _extension(self, kind: str, event: dict[str, Any], stream_id: str | None, first: bool) -> list[Command]:
        if kind == "streamlane:ping":
            ping = event.get("id")
            if isinstance(ping, list | dict) or (isinstance(ping, str) and len(ping) > MAX_EVENT_ID):
                raise BadFrame(f"'id' must be a number or a string of at most {MAX_EVENT_ID} characters.", "id")
            return [Answer({"type": "streamlane:pong", "id": ping})]
        if kind == "streamlane:session.resume":
            if self._resumable or not first:
                raise BadFrame(f"'{kind}' must be the first event of a connection without 'sl_session'.", "type")
            key, epoch = event.get("sl_session"), event.get("epoch")
            if not isinstance(key, str) or not isinstance(epoch, str | None):
                raise BadFrame("'sl_session' must be a string, and 'epoch' one if it is there.", "sl_session")
            return [Resume(key, number(event, "sl_after"), epoch)]
        if not self._resumable:
            raise BadFrame(f"'{kind}' needs a session. Connect with ?sl_session=KEY.", "type")
        if kind == "streamlane:session.ack":
            acked = number(event, "sl_seq")
            if acked is None:
                raise BadFrame("'sl_seq' is missing: the number of the last frame that you have.", "sl_seq")
            return [Ack(acked)]
        window, paused = number(event, "window"), event.get("pause")
        if not isinstance(paused, bool | None) or (window is None and paused is None):
            raise BadFrame("Give 'window', a number, or 'pause', true or false, for one lane; or both.", "window")
        if paused is not None and stream_id not in self._lanes:
            raise BadFrame("Nothing was created on this lane yet.", "stream_id")
        flow: list[Command] = [] if window is None else [Window(window)]
        return flow if paused is None else [*flow, Pause(stream_id, paused)]

    def _create(self, event: dict[str, Any], stream_id: str | None, brought: Brought) -> list[Command]:
        event_id = event.get("event_id") if self._resumable else None
        if event_id is not None:
            if not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID:
                raise BadFrame(f"'event_id' must be a string of at most {MAX_EVENT_ID} characters.", "event_id")
            if (stream_id, event_id) in self._event_ids:
                known = self._lanes[stream_id]
                under_way = event_id == known.event_id or any(event_id == waits for _, waits, _ in known.creates)
                return [] if under_way else [Repeated(stream_id, event_id)]
        if self._draining:
            raise Draining
        create = parse_create(event).bringing(brought)
        lane = self._lanes.get(stream_id)
        if lane is None:
            if len(self._lanes) > self._limits.lanes:  # the default lane is not counted
                raise TooManyLanes(self._limits.lanes)
            lane = self._lanes[stream_id] = Lane()
        starts_now = lane.state is State.IDLE and self._active < self._limits.active and not self._waiting
        if not starts_now and sum(len(lane.creates) for lane in self._lanes.values()) >= self._limits.queued:
            raise TooManyQueued(self._limits.queued)
        lane.creates.append((create, event_id, self._size))
        self.held += self._size
        if event_id is not None:
            size = self._event_ids[stream_id, event_id] = EVENT_ID + 4 * len(event_id)
            self.held += size
            if len(self._event_ids) > EVENT_IDS:
                self.held -= self._event_ids.popitem(last=False)[1]
        if lane.state is State.IDLE:
            self._wait(lane, stream_id)
        return self._fill()

    def _wait(self, lane: Lane, stream_id: str | None) -> None:
        lane.state = State.WAITING
        self._waiting.append(stream_id)

    def _fill(self) -> list[Command]:
        """Start what waits while there are places, in the order in which the lanes began to wait."""
        started: list[Command] = []
        while self._waiting and self._active < self._limits.active:
            stream_id = self._waiting.popleft()
            lane = self._lanes[stream_id]
            lane.state = State.RUNNING
            self._active += 1
            create, lane.event_id, lane.size = lane.creates.popleft()
            started.append(Start(create, stream_id))
        return started


def number(event: Mapping[str, Any], name: str) -> int | None:
    """A member that counts. Raises BadFrame."""
    value = event.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER):
        return value
    raise BadFrame(f"'{name}' must be a whole number from 0 to 2^53 - 1.", name)


def steering_refused(event: Mapping[str, Any]) -> dict[str, object]:
    """Steering is part of the protocol, but not of ours: said in the protocol's own way, which repeats the event."""
    return {
        "type": "response.steer.failed",
        "error": {
            "code": "steering_not_supported",
            "message": "This gateway cannot steer a running response. Cancel it and create another.",
            "type": "invalid_request_error",
        },
        "steer": {"previous_response_id": event.get("previous_response_id"), "input": event.get("input")},
    }
