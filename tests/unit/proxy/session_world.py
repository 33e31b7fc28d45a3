"""A world for tests of sessions without sockets: answers that speak when told, a network that loses, a clock."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from backends.events import Event, Finished, TextDelta
from proxy.client import Client, Outlet
from proxy.clients import Bounds, Clients
from proxy.create import Create
from proxy.errors import UnknownModel
from proxy.generation import Reader
from proxy.outcome import Notice, Principal
from proxy.response_log import Entry, ResponseLog
from proxy.session import Limits, Resume
from proxy.wire.responses_composer import Composer

ME, OTHER = Principal("me"), Principal("other")
KEY = "k" * 16
AHEAD = 16


class CountingLog(ResponseLog):
    """Knows how many events were looked at, merged ones too, and how often it was weighed."""

    __slots__ = ("looked_at", "weighed")

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.looked_at = self.weighed = 0

    @property
    def weight(self) -> int:
        self.weighed += 1
        return super().weight

    def entries(self, position: int) -> Iterator[Entry]:
        for entry in super().entries(position):
            self.looked_at += entry[0] + 1 - position
            position = entry[0] + 1
            yield entry


class Answer:
    """Stands for a generation: what it says is decided by the test."""

    turn = None

    def __init__(self, response_id: str, create: Create, new_id: Callable[[str], str]) -> None:
        self.id, self.previous_id = response_id, create.previous_response_id
        self.log = CountingLog(1 << 20)
        self._composer = Composer(self.log, {"id": response_id, "metadata": {}}, new_id)
        self._composer.start()
        self._readers: tuple[Reader, ...] = ()
        self.said = ""
        self.cancelled = False

    def follow(self, reader: Reader) -> None:
        self._readers += (reader,)
        reader.wake()
        self.say_again(reader)

    def say_again(self, reader: Reader) -> None:
        reader.notice(Notice("route", {"queue_position": 0}))

    def leave(self, reader: Reader) -> None:
        self._readers = tuple(each for each in self._readers if each is not reader)

    def caught_up(self) -> None:
        pass

    @property
    def waits(self) -> bool:
        """Whether a reader is so far behind that a backend would have to wait."""
        return not self.log.ended and any(reader.behind > AHEAD for reader in self._readers)

    def say(self, *words: str) -> None:
        self.said += "".join(words)
        self._feed([TextDelta(word) for word in words])

    def finish(self) -> None:
        self._feed([Finished("stop", None)])

    def cancel(self) -> None:
        if not self.log.ended:
            self.cancelled = True
            self._composer.stop("cancelled", status="cancelled")
            self._wake()

    def _feed(self, batch: Sequence[Event]) -> None:
        self._composer.feed(batch)
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.wake()


class Answers:
    """Stands for the generations."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self.all: list[Answer] = []

    def start(self, principal: Principal, create: Create) -> Answer:
        if create.model == "none":
            raise UnknownModel(create.model, [])
        answer = Answer(f"resp_{next(self._numbers)}", create, lambda prefix: f"{prefix}_{next(self._numbers)}")
        self.all.append(answer)
        return answer

    def cancel(self, response_id: str, principal: Principal) -> None:
        next(answer for answer in self.all if answer.id == response_id).cancel()

    @property
    def running(self) -> list[Answer]:
        return [answer for answer in self.all if not answer.log.ended]


class Line:
    """A connection: what was written to it, and how much of that its client has read. It is blocked when more than
    `room` bytes were written since `drained`, as a socket is.
    """

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.waiting = 0
        self.blocked = False
        self.written: list[dict[str, Any]] = []
        self.read = 0
        self.replaced = False
        self.settled = 0

    def write(self, frames: list[bytes]) -> None:
        assert not self.replaced
        self.written += map(json.loads, frames)
        self.waiting += sum(map(len, frames))
        self.blocked |= self.waiting > self.room

    def tell(self, frame: bytes) -> None:
        self.write([frame])

    def drained(self, client: Client) -> None:
        """All of it is on its way to the client."""
        self.blocked, self.waiting = False, 0
        client.drained()

    def resume(self, wanted: Resume) -> None:
        raise AssertionError

    def settle(self) -> None:
        self.settled += 1

    def replace(self) -> None:
        self.replaced = True

    def next(self, most: int = 1 << 30) -> list[dict[str, Any]]:
        """What the client reads now."""
        events = self.written[self.read : self.read + most]
        self.read += len(events)
        return events


class Clock:
    """Time goes on when a test says so."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[Timer] = []

    def call_later(self, seconds: float, what: Callable[[], None]) -> "Timer":
        timer = Timer(self._now + seconds, what)
        self._timers.append(timer)
        return timer

    def wait(self, seconds: float) -> None:
        until = self._now + seconds
        while due := [timer for timer in self._timers if timer.at <= until]:
            first = min(due, key=lambda timer: timer.at)
            self._timers.remove(first)
            self._now = first.at
            if not first.cancelled:
                first.what()
        self._now = until


class Timer:
    def __init__(self, at: float, what: Callable[[], None]) -> None:
        self.at, self.what, self.cancelled = at, what, False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """Clients, what they ask of, and the time."""

    def __init__(self, **bounds: Any) -> None:
        self.answers = Answers()
        self.clock = Clock()
        self.refused: list[Exception] = []
        self.lives = 0  # sessions that were made
        self.clients = Clients(
            generations=self.answers,
            limits=Limits(active=3, lanes=4, queued=5),
            bounds=Bounds(**bounds),
            ahead=AHEAD,
            connection_bytes=1 << 20,
            max_frame_bytes=1 << 20,
            spawn=lambda _: None,
            call_later=self.clock.call_later,
            new_epoch=self._new_epoch,
            on_refused=self.refused.append,
        )

    def _new_epoch(self) -> str:
        self.lives += 1
        return f"e{self.lives}"

    def attach(
        self,
        after: int | None = None,
        *,
        key: str = KEY,
        principal: Principal = ME,
        extended: bool = False,
        epoch: str | None = None,
        room: int = 1 << 30,
    ) -> tuple[Line, Client]:
        """A new connection of a session."""
        self.clients.admit(principal, key)
        line = Line(room)
        return line, self.clients.attach(principal, Resume(key, after, epoch), outlet(line), extended)


def outlet(line: Line) -> Outlet:
    """Mypy checks here that a Line is one."""
    return line


def send(client: Client, **event: Any) -> None:
    """One frame of a client."""
    client.receive(json.dumps(event))


def create(client: Client, **members: Any) -> None:
    send(client, **{"type": "response.create", "model": "m", "input": "hi", **members})


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Their types, without "response."."""
    return [event["type"].removeprefix("response.") for event in events]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """Their numbers in the session."""
    return [event["sl_seq"] for event in events]
