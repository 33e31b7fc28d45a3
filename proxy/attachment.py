"""What one client has been sent, and how to take it back when it did not arrive. Pure.

Each frame of a session gets a number as it leaves, `sl_seq`, one higher than the one before, whatever its lane, and the
undo log knows where each began. A client that comes back says the last number that it got; what was sent after that is
undone, and leaves again, numbered from there. One number does for all lanes.
"""

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from proxy.response_log import ResponseLog
from proxy.wire.responses_frames import Frames

LOOSE = 1024 * 1024  # bytes of sent frames of no response that are kept, so that they can leave again
ENTRY = 8  # bytes of one number in the undo log
PLACE = 40  # bits of an entry that say where in its response's log a frame began; those above say of which delivery
NO_WINDOW = 1 << 62


class Delivery:
    """One response on its way to one client. `position` is the next event to send; `ended` once the last one was taken.

    Events that pile up while the client does not read leave as one delta, so a backlog costs its text and no more.
    """

    __slots__ = ("acked", "ended", "frames", "log", "number", "position", "response_id", "stream_id")

    def __init__(
        self,
        log: ResponseLog,
        stream_id: str | None,
        response_id: str = "",
        extended: Callable[[], bool] = lambda: False,
    ) -> None:
        self.log = log
        self.stream_id = stream_id
        self.response_id = response_id
        self.number = 0  # among the deliveries of its session
        self.position = 0
        self.acked = 0  # up to here it need not be sent again
        self.ended = False
        self.frames = Frames(log, stream_id, extended)

    def take(self) -> list[bytes]:
        """The frames that are due now."""
        log, position = self.log, self.position
        self.position = log.head
        if position + 1 == log.head and log.last is not None:  # a reader that keeps up reads token by token
            return [self.frames.delta(position, log.last_part, log.last)]
        self.ended = log.ended
        return [self.frames.frame(entry) for entry in log.read(position)]

    @property
    def behind(self) -> int:
        """Bytes of text not taken yet."""
        return self.log.behind(self.position)

    @property
    def held(self) -> int:
        """About how many bytes its log takes, without the text that the client has for certain."""
        log, text = self.log, self.log.size - self.log.behind(self.acked)
        return log.weight - 2 * text  # a log weighs its text twice


@dataclass(frozen=True, slots=True)
class Rewound:
    """What a rewind has undone: so many frames. `loose` are those of no response, to be sent again, in order.

    `lost`: some of it was deleted, and cannot be sent again.
    """

    frames: int
    loose: list[bytes]
    lost: bool


class Sent:
    """The numbers of one session. `last` is the newest, `limit` the highest that may be given now.

    `undo` bounds how many frames can be taken back. `start` is the number after which to begin.
    """

    def __init__(self, undo: int, start: int = 0) -> None:
        self._undo = undo
        self.last = self.acked = start
        self._start = start  # what a client has that got nothing of this life
        self._first = start + 1  # the oldest number in the undo log
        self._entries = array("Q")  # by number: delivery and place; 0 for a loose frame
        self._loose: dict[int, bytes] = {}  # by number: the frames of no response that are worth a second sending
        self._loose_bytes = 0
        self._known: dict[int, Delivery] = {}  # by delivery number: what has to be sent, or sent again some day
        self._unsent: dict[int, Delivery] = {}  # those of them that are not wholly sent, in order
        self._finished: deque[tuple[int, int, Delivery]] = deque()  # wholly sent: number of the last frame, its bytes
        self._finished_bytes = 0
        self._numbered = 0
        self._window = 0
        self.limit = NO_WINDOW

    def add(self, delivery: Delivery) -> None:
        """A response that will be sent."""
        self._numbered += 1
        delivery.number = self._numbered
        self._known[delivery.number] = self._unsent[delivery.number] = delivery

    def take(self, delivery: Delivery) -> list[bytes]:
        """The frames of `delivery` that are due now and fit into the window. Reads no more of the log than that."""
        if self.last >= self.limit:
            return []
        log, position = delivery.log, delivery.position
        if position + 1 == log.head and log.last is not None:
            delivery.position = position + 1
            return [
                self._number(
                    delivery.frames.delta(position, log.last_part, log.last), delivery.number << PLACE | position
                )
            ]
        frames = []
        for entry in log.entries(position):
            frames.append(self._number(delivery.frames.frame(entry), delivery.number << PLACE | position))
            position = entry[0] + 1
            if self.last >= self.limit:
                break
        delivery.position = position
        if log.ended and position == log.head and not delivery.ended:
            delivery.ended = True
            del self._unsent[delivery.number]
            self._finished.append((self.last, weight := delivery.log.weight, delivery))
            self._finished_bytes += weight
        return frames

    def loose(self, frame: bytes, keep: bool) -> bytes:
        """Number a frame of no response. `keep` it if it must not get lost; it is not held back by the window."""
        numbered = self._number(frame, 0)
        if keep:
            self._loose[self.last] = frame
            self._loose_bytes += len(frame)
            while self._loose_bytes > LOOSE:
                self._forget(next(iter(self._loose)))
        return numbered

    def window(self, frames: int) -> None:
        """At most so many frames may be unacknowledged; 0 for no bound."""
        self._window = frames
        self.limit = self.acked + frames if frames else NO_WINDOW

    def ack(self, number: int) -> None:
        """The client has everything up to `number`, which was sent."""
        if number > self.acked:
            self.acked = number
            self.window(self._window)
            self._forget(number)

    def rewind(self, after: int) -> Rewound | None:
        """Undo what was sent after number `after`. None when that is not held any more, or was never sent.

        0 means that nothing of this life arrived. Whoever calls this sends again what `unsent` lists.
        """
        if after == 0:
            after = self._start
        if not self._first - 1 <= after <= self.last:
            return None
        kept = after - self._first + 1
        undone = self.last - after
        lost = False
        for entry in self._entries[kept:]:
            if entry and (delivery := self._known.get(entry >> PLACE)) is not None:
                delivery.position = min(delivery.position, entry & (1 << PLACE) - 1)
                delivery.ended = False
            elif entry:
                lost = True
        del self._entries[kept:]
        lost |= self._take_back(after)
        loose = [(number, frame) for number, frame in self._loose.items() if number > after]
        for number, frame in loose:
            del self._loose[number]
            self._loose_bytes -= len(frame)
        self.last = after
        self.acked = max(self.acked, after)
        self.window(0)
        return Rewound(undone, [frame for _, frame in loose], lost)

    def restart(self, after: int = 0) -> bool:
        """A client that knows nothing: all that it has not acknowledged is sent from its beginning, if it was not
        deleted; whether some was. Older numbers are void.

        New ones are higher than `after` and than any that was ever given.
        """
        lost = self._take_back(self.acked)
        self._forget(self.last)
        # One number is left out, so that whoever has the last of the old ones is not taken for who has none of the new.
        self.last = self.acked = self._start = max(self.last + 1, after)
        self._first = self.last + 1
        for delivery in self._unsent.values():
            delivery.position = delivery.acked = 0
            delivery.ended = False
        self.window(0)
        return lost

    def shrink(self, most: int) -> None:
        """Forget responses that were wholly sent, the oldest first, until `held` is at most `most`."""
        while self._finished and self.held > most:
            self._forget(self._finished[0][0])

    def holds(self, response_id: str) -> bool:
        """Whether a response will be sent, or can be sent again."""
        return any(each.response_id == response_id and not each.log.gone for each in self._known.values())

    @property
    def oldest(self) -> int:
        """The earliest number from which a rewind is possible."""
        return self._first - 1

    @property
    def unsent(self) -> list[Delivery]:
        """The responses that are not wholly sent, in the order in which they began."""
        return list(self._unsent.values())

    @property
    def held(self) -> int:
        """About how many bytes it takes to undo: the responses that were sent, loose frames, the undo log."""
        return self._finished_bytes + self._loose_bytes + ENTRY * len(self._entries)

    @property
    def finished(self) -> int:
        """How many bytes of that `shrink` can free at most, about."""
        return self._finished_bytes

    def _number(self, frame: bytes, entry: int) -> bytes:
        self.last = number = self.last + 1
        self._entries.append(entry)
        if number - self._first > self._undo + self._undo // 8:  # now and then many at once: it moves the others
            self._forget(number - self._undo)
        return b'%b,"sl_seq":%d}' % (frame[:-1], number)

    def _take_back(self, after: int) -> bool:
        """What was wholly sent, but not before number `after`, is unsent; whether some of that was deleted."""
        while self._finished and self._finished[-1][0] > after:
            _, weight, delivery = self._finished.pop()
            self._finished_bytes -= weight
            self._unsent[delivery.number] = delivery
        self._unsent = dict(sorted(self._unsent.items()))
        # One that is deleted while it runs says its end in a moment, which its lane waits for.
        gone = [each.number for each in self._unsent.values() if each.log.gone and each.log.ended]
        for number in gone:
            del self._unsent[number], self._known[number]
        return bool(gone)

    def _forget(self, number: int) -> None:
        """`number` and what came before it cannot be undone any more."""
        dropped = number - self._first + 1
        if dropped <= 0:
            return
        for entry in self._entries[:dropped]:
            if entry and (delivery := self._known.get(entry >> PLACE)) is not None:
                delivery.acked = entry & (1 << PLACE) - 1
        del self._entries[:dropped]
        self._first = number + 1
        while self._finished and self._finished[0][0] <= number:
            _, weight, delivery = self._finished.popleft()
            self._finished_bytes -= weight
            del self._known[delivery.number]
        while self._loose and (oldest := next(iter(self._loose))) <= number:
            self._loose_bytes -= len(self._loose.pop(oldest))
