"""One socket: its frames become commands, its lanes keep their order. Pure; opens nothing, waits for nothing.

A lane is a `stream_id`; the default lane has none. What a lane may do:

    idle ──create──▸ waiting ──a place among the active──▸ running ──done──▸ idle, or waiting for its next create
"""

import re
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from backends.json import JsonError, loads
from proxy.create import Create
from proxy.errors import BadFrame, BadStreamId, Draining, ProxyError, TooManyLanes, TooManyQueued, Unsupported
from proxy.wire.responses_request import parse_create

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")  # ws-mode guide: the charset of stream_id
CLIENT_EVENTS = ("response.create", "response.cancel", "response.steer", "response.processed")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection. OpenAI's WebSocket mode: 16 active responses, 32 named lanes."""

    active: int = 16
    lanes: int = 32
    queued: int = 64


@dataclass(frozen=True, slots=True)
class Start:
    """Begin this response now."""

    create: Create
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Abort: the response of that id, else the one that runs on the lane."""

    response_id: str | None
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an `error` event."""

    error: ProxyError
    stream_id: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Send this event as it is."""

    event: Mapping[str, object]


Command: TypeAlias = Start | Cancel | Refuse | Answer


class State(Enum):
    """What a lane is doing."""

    IDLE = "idle"
    WAITING = "waiting"
    RUNNING = "running"


@dataclass(slots=True)
class Lane:
    """Creates in the order they came. The first of them waits for a place when the lane is WAITING."""

    creates: deque[Create] = field(default_factory=deque)
    state: State = State.IDLE


class Session:
    """Feed it frames with `receive` and ends of responses with `done`; do what the commands say, in order."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lanes: dict[str | None, Lane] = {None: Lane()}
        self._waiting: deque[str | None] = deque()  # lanes in the order in which they get a place
        self._active = 0
        self._draining = False

    def receive(self, frame: bytes | str) -> list[Command]:
        """One text frame."""
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
            return self._event(event, stream_id)
        except ProxyError as error:
            return [Refuse(error, stream_id)]

    def receive_binary(self) -> list[Command]:
        """A binary frame: never part of this protocol."""
        return [Refuse(BadFrame("Binary frames are not part of this protocol. Send JSON in text frames."), None)]

    def done(self, stream_id: str | None) -> list[Command]:
        """The lane's response has ended, or was refused before it began."""
        lane = self._lanes[stream_id]
        assert lane.state is State.RUNNING
        lane.state = State.IDLE
        self._active -= 1
        if lane.creates:
            self._wait(lane, stream_id)
        return self._fill()

    def drain(self) -> list[Command]:
        """Nothing new from now on: creates that wait are refused, responses that run go on."""
        self._draining = True
        refused: list[Command] = []
        for stream_id, lane in self._lanes.items():
            refused += [Refuse(Draining(), stream_id) for _ in lane.creates]
            lane.creates.clear()
            if lane.state is State.WAITING:
                lane.state = State.IDLE
        self._waiting.clear()
        return refused

    def lanes(self) -> Counter[State]:
        """How many lanes do what."""
        return Counter(lane.state for lane in self._lanes.values())

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return self._active == 0 and not self._waiting

    def _event(self, event: dict[str, Any], stream_id: str | None) -> list[Command]:
        match event.get("type"):
            case "response.create":
                return self._create(event, stream_id)
            case "response.cancel":
                response_id = event.get("response_id")
                if response_id is not None and not isinstance(response_id, str):
                    raise BadFrame("'response_id' must be a string.", "response_id")
                return [Cancel(response_id, stream_id)]
            case "response.processed":  # CODEX says so after each response; nothing to do
                return []
            case "response.steer":
                return [Answer(steering_refused(event))]
            case "response.inject":
                raise Unsupported("The event 'response.inject'", "type")
            case str(kind):
                raise BadFrame(f"Unknown event type '{kind[:100]}'. Known: {', '.join(CLIENT_EVENTS)}.", "type")
            case _:
                raise BadFrame(f"'type' is missing. Known: {', '.join(CLIENT_EVENTS)}.", "type")

    def _create(self, event: dict[str, Any], stream_id: str | None) -> list[Command]:
        if self._draining:
            raise Draining
        create = parse_create(event)
        lane = self._lanes.get(stream_id)
        if lane is None:
            if len(self._lanes) > self._limits.lanes:  # the default lane is not counted
                raise TooManyLanes(self._limits.lanes)
            lane = self._lanes[stream_id] = Lane()
        starts_now = lane.state is State.IDLE and self._active < self._limits.active and not self._waiting
        if not starts_now and sum(len(lane.creates) for lane in self._lanes.values()) >= self._limits.queued:
            raise TooManyQueued(self._limits.queued)
        lane.creates.append(create)
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
            started.append(Start(lane.creates.popleft(), stream_id))
        return started


def steering_refused(event: Mapping[str, Any]) -> dict[str, object]:
    """Steering is part of the protocol, but not of ours: said in the protocol's own way."""
    return {
        "type": "response.steer.failed",
        "error": {
            "code": "steering_not_supported",
            "message": "This gateway cannot steer a running response. Cancel it and create another.",
            "type": "invalid_request_error",
        },
        "steer": {"previous_response_id": event.get("previous_response_id"), "input": event.get("input")},
    }
