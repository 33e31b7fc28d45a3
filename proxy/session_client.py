"""The client of a session: it may lose its connection and come back for what it missed. Knows no socket.

While it is away its responses go on, and its lanes do not wait for it. What it was not sent, or may not have got, is in
the logs of its responses; `Sent` knows how much of each left under which number.

    attached ──connection gone──▸ away ──comes back──▸ attached     a newer connection takes the place of an older one
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.json import dumps
from proxy.attachment import Delivery, Rewound, Sent
from proxy.client import Client, Outlet, Stream
from proxy.create import NOTHING_BROUGHT, Brought
from proxy.errors import AlreadyAnswered, BadFrame, ResumeGap
from proxy.generation import Generation
from proxy.session import EVENT_IDS, Ack, Pause, Repeated, Window
from proxy.wire_errors import error_event

CHECK = 64  # events of a response between two counts of the bytes that its session takes


@dataclass(slots=True)
class Line:
    """What one lane has to send: `queue` in order, the last of it perhaps `stream`, which still runs."""

    queue: deque[Delivery] = field(default_factory=deque)
    stream: "SessionStream | None" = None
    paused: bool = False
    stalled: bool = False  # the client was told that its lane's backend waits for it
    checked: int = 0  # the event of the stream at which the bytes are counted again


class SessionStream(Stream):
    """One generation on its way to one session."""

    __slots__ = ("_line", "_owner")

    def __init__(self, client: "SessionClient", generation: Generation, stream_id: str | None, line: Line) -> None:
        super().__init__(client, generation, stream_id)
        self._owner = client
        self._line = line

    @property
    def behind(self) -> int:
        """Nobody is waited for who is away."""
        return 0 if self._owner.outlet is None else self.delivery.behind

    def wake(self) -> bool:
        """Send what is new, after what the lane has to send before it."""
        return self._owner.advance(self._line)


class SessionClient(Client):
    """One session, for as long as it is remembered. `max_bytes` bounds what it takes, roughly; a generation waits for
    an attached client that is more than `ahead` bytes behind. `shown` is told to the client, and `on_weighed` is told
    by how much `held` has changed. `members` are Client's.
    """

    def __init__(
        self,
        *,
        epoch: str,
        sent: Sent,
        max_bytes: int,
        ahead: int,
        shown: Mapping[str, object],
        on_left: Callable[[], None],
        on_weighed: Callable[[int], None],
        **members: Any,
    ) -> None:
        super().__init__(**members)
        self._epoch = epoch
        self._sent = sent
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._shown = shown
        self._on_left = on_left
        self._on_weighed = on_weighed
        self.held = 0  # about how many bytes it takes beside its connection, when they were last counted
        self._lines: dict[str | None, Line] = {}
        self._answered: OrderedDict[tuple[str | None, str], str] = OrderedDict()  # by create: its response's id
        self._pending: list[bytes] = []  # frames of no response, for a client that is away
        self._known = False  # was attached before

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits, or has to be sent."""
        return super().idle and not any(line.queue for line in self._lines.values())

    @property
    def finished(self) -> int:
        """How many bytes of it `trim` can free, about."""
        return self._sent.finished

    def attach(self, outlet: Outlet, after: int | None, epoch: str | None, extended: bool) -> str:
        """Go on with `outlet`, from number `after`: "new", "resumed", or "gap" when not all that follows is held."""
        assert self.outlet is None
        fresh, self._known = not self._known, True
        if fresh:
            result, rewound = "gap" if after else "new", None
        else:
            result, rewound = self._rewind(after, epoch)
        hello = self._hello(fresh, rewound.frames if rewound else 0)
        self.outlet = outlet
        self._session.extended = extended
        if result == "gap":
            error = ResumeGap()
            self._on_refused(error)
            keep = rewound is None or rewound.lost  # otherwise a second return finds the same gap
            self._say(error_event(error), keep)
        if extended:
            self.tell(hello)
        pending, self._pending = self._pending, []
        for frame in (rewound.loose if rewound else []) + pending:
            outlet.tell(self._sent.loose(frame, keep=True))
        for line in self._lines.values():
            line.queue.clear()
        for delivery in self._sent.unsent:
            self._lines[delivery.stream_id].queue.append(delivery)
        self._advance_all()
        for line in tuple(self._lines.values()):
            if line.stream is not None:
                line.stream.generation.say_again(line.stream)
        self._weigh()
        return result

    def receive(self, frame: bytes | str, brought: Brought = NOTHING_BROUGHT) -> None:
        """One text frame, by the connection that it has now."""
        super().receive(frame, brought)
        self._weigh()

    def leave(self, outlet: Outlet) -> None:
        """Its connection is gone; what runs goes on. Nothing is cancelled yet: it may be back at once."""
        if self.outlet is not outlet:
            return
        self.outlet = None
        for line in tuple(self._lines.values()):
            line.paused = line.stalled = False
            if (stream := line.stream) is not None:
                if stream.generation.log.ended:  # the lane does not wait until that was sent
                    self.ended(stream)
                else:
                    stream.generation.caught_up()
        self._on_left()

    def stop(self) -> None:
        """It was away for too long, or has become too large: what waits is refused, what runs is cancelled."""
        self._obey(self._session.abandon())
        for lane in self._beginning:
            self._beginning[lane] = True
        for stream in tuple(self._streams.values()):
            stream.generation.cancel()

    def trim(self) -> None:
        """Forget what was sent: should it get lost, the client is told of a gap."""
        self._sent.shrink(0)
        self._weigh()

    def forget_turns(self) -> None:
        """What was not stored cannot be continued any more."""
        self._kept.shrink(0)
        self._weigh()

    def drained(self) -> None:
        """The outlet takes frames again."""
        self._advance_all()
        self._weigh()

    def tell(self, event: Mapping[str, object]) -> None:
        """An event of no response. Only errors are said again later: somebody may wait for what they refuse."""
        self._say(event, keep=event["type"] == "error")

    def ended(self, stream: Stream) -> None:
        """The lane is free."""
        self._lines[stream.delivery.stream_id].stream = None
        super().ended(stream)
        self._weigh()

    def advance(self, line: Line) -> bool:
        """Send what is due on a lane; whether all of it was. Once per token."""
        outlet = self.outlet
        if outlet is None:
            return self._go_on(line)
        if outlet.blocked:
            return False
        if line.paused:
            return self._hold(line)
        queue = line.queue
        while queue:
            delivery = queue[0]
            outlet.write(self._sent.take(delivery))
            if not delivery.ended:
                head = delivery.log.head
                if head >= line.checked:
                    self._check(line, head)
                if delivery.position < head:
                    return self._hold(line)
                line.stalled = False
                return True
            queue.popleft()
            if line.stream is not None and line.stream.delivery is delivery:
                self.ended(line.stream)
            else:  # sent before, and sent again
                outlet.settle()
            if outlet.blocked:
                return not queue
        return True

    def _rewind(self, after: int | None, epoch: str | None) -> tuple[str, Rewound | None]:
        if after is None:
            return "gap" if self._sent.restart() else "resumed", None
        if after and (after > self._sent.last or epoch not in (None, self._epoch)):  # numbers of another life
            self._sent.restart(after)
            return "gap", None
        rewound = self._sent.rewind(after)
        if rewound is not None:
            return "gap" if rewound.lost else "resumed", rewound
        return "gap", self._sent.rewind(self._sent.oldest)

    def _hello(self, fresh: bool, rewound: int) -> Mapping[str, object]:
        if fresh:
            return {"type": "streamlane:session.created", "epoch": self._epoch, **self._shown}
        live = []
        for delivery in self._sent.unsent:
            lane = {} if delivery.stream_id is None else {"stream_id": delivery.stream_id}
            live.append({"response_id": delivery.response_id, **lane, "sequence_number": delivery.position - 1})
        return {
            "type": "streamlane:session.resumed",
            "epoch": self._epoch,
            "after": self._sent.last,
            "rewound": rewound,
            "live": live,
        }

    def _say(self, event: Mapping[str, object], keep: bool) -> None:
        frame = dumps(event)
        if self.outlet is not None:
            self.outlet.tell(self._sent.loose(frame, keep))
        elif keep:
            self._pending.append(frame)

    def _follow(self, generation: Generation, lane: str | None, event_id: str | None) -> None:
        line = self._lines.setdefault(lane, Line())
        stream = self._streams[lane] = line.stream = SessionStream(self, generation, lane, line)
        self._sent.add(stream.delivery)
        if event_id is not None:
            self._answered[lane, event_id] = generation.id
            if len(self._answered) > EVENT_IDS:
                self._answered.popitem(last=False)
        line.queue.append(stream.delivery)
        line.checked = 0
        generation.follow(stream)

    def _flow(self, command: Ack | Window | Pause | Repeated) -> None:
        match command:
            case Ack(number):
                if number > self._sent.last:
                    self.refuse(BadFrame("'sl_seq' is higher than any number that was sent.", "sl_seq"))
                    return
                self._sent.ack(number)
            case Window(frames):
                self._sent.window(frames)
            case Pause(stream_id, paused):
                self._lines.setdefault(stream_id, Line()).paused = paused
            case Repeated(stream_id, event_id):
                response_id = self._answered.get((stream_id, event_id))
                if response_id is not None and not self._sent.holds(response_id):
                    self.refuse(AlreadyAnswered(response_id), stream_id)
                return
        self._advance_all()

    def _advance_all(self) -> None:
        """Each lane in turn. Those that were served come last the next time, or a slow client would see only one."""
        for lane, line in tuple(self._lines.items()):
            before = self._sent.last
            self.advance(line)
            if self._sent.last > before:
                self._lines[lane] = self._lines.pop(lane)
            if line.stream is not None:
                line.stream.generation.caught_up()

    def _hold(self, line: Line) -> bool:
        """The client wants nothing more of this lane now. Should its backend have to wait, it is told, once."""
        stream = line.stream
        if stream is not None and not line.stalled and stream.delivery.behind > self._ahead and self.extended:
            line.stalled = True
            lane = stream.delivery.stream_id
            placed = {} if lane is None else {"stream_id": lane}
            self.tell({"type": "streamlane:flow.stalled", **placed, "unacked": self._sent.last - self._sent.acked})
        return False

    def _go_on(self, line: Line) -> bool:
        """Nobody is there. The lane's next create begins when this response has ended, not when it was sent."""
        stream = line.stream
        if stream is not None:
            log = stream.delivery.log
            if log.ended:
                self.ended(stream)
            elif log.head >= line.checked:
                self._check(line, log.head)
            else:
                return True
            if self.held > self._max_bytes:
                self.stop()
        return True

    def _check(self, line: Line, head: int) -> None:
        line.checked = head + CHECK
        self._weigh()

    def _weigh(self) -> None:
        """Count its bytes. What was wholly sent is forgotten if they are too many."""
        rest = self._session.held + self._kept.size + sum(map(len, self._pending))
        rest += sum(delivery.held for delivery in self._sent.unsent)
        self._sent.shrink(max(0, self._max_bytes - rest))
        before, self.held = self.held, rest + self._sent.held
        self._on_weighed(self.held - before)
