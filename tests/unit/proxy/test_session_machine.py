"""A session under everything that can happen to it, in any order: what a client has is right at every moment.

What holds, whatever happens:

- each response's text is what its backend said: every token once, in order (a gap is said before it shows);
- a response has one terminal event, and nothing after it; its numbers rise;
- a lane's responses come one after the other, in the order of their creates;
- numbers of frames go up by one, over all connections of one life;
- a create that is sent again is executed once;
- who is away is waited for by nobody, what is held is bounded, a connection that was replaced gets nothing more;
- an event is looked at once for each time that it is sent, or lost;
- somebody else's session of the same name sees nothing of all this.
"""

from collections import defaultdict
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.proxy.session_world import AHEAD, OTHER, Line, World, create, send

LANES = [None, "a", "b"]
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
UNDO = 64
BYTES = 60_000
ROOM = 3_000  # bytes that a connection takes before its client reads


class Known:
    """What a client knows of one response."""

    def __init__(self, lane: str | None) -> None:
        self.lane, self.text, self.number, self.ended, self.whole = lane, "", -1, False, True


class Machine(RuleBasedStateMachine):
    gap = False

    @initialize()
    def begin(self) -> None:
        self.world = World(undo=UNDO, detach_ttl=60, resume_ttl=600, max_session_bytes=BYTES)
        self.others, _ = self.world.attach(principal=OTHER)
        self.sent: dict[str, str | None] = {}  # event ids and their lanes
        self.connections = 0
        self.lives = 0
        self.connect(None)

    def connect(self, after: int | None) -> None:
        """A connection; without a number the client has forgotten everything."""
        self.line, self.client = self.world.attach(after, extended=True, room=ROOM)
        self.attached = True
        self.connections += 1
        if self.lives != self.world.lives:  # a session that is new knows nothing of what the old one did
            self.lives, self.before = self.world.lives, len(self.world.answers.all)
            self.asked: set[str] = set()
        if after is None:
            self.torn: set[str | None] = set()  # lanes whose response may go on in the middle, after a gap
            self.last: int | None = None
            self.known: dict[str, Known] = {}
            self.items: dict[str, str] = {}
            self.running: dict[str | None, str] = {}
            self.begun: defaultdict[str | None, list[str]] = defaultdict(list)

    @rule(most=st.integers(1, 12))
    def read(self, most: int) -> None:
        if self.attached:
            for event in self.line.next(most):
                self.take(event)
            if self.line.waiting > ROOM and self.line.read == len(self.line.written):
                self.line.drained(self.client)

    def take(self, event: dict[str, Any]) -> None:
        number, kind = event["sl_seq"], event["type"]
        lost = kind == "error" and event["error"]["code"] == "sl_resume_gap"
        if lost:
            for each in self.known.values():
                each.whole = False
            self.running.clear()
            self.torn = set(LANES)
        elif self.last is not None and not self.gap:
            assert number == self.last + 1
        self.gap = lost
        self.last = number
        if not kind.startswith("response."):
            return
        lane = event.get("stream_id")
        if kind == "response.created":
            assert lane not in self.running, "a lane overlaps itself"
            name = event["response"]["id"]
            assert name not in self.known or not self.known[name].whole, "a response came twice"
            self.torn.discard(lane)
            self.known[name] = Known(lane)
            self.running[lane] = name
            self.begun[lane].append(name)
            ids = [int(each.removeprefix("resp_")) for each in self.begun[lane]]
            assert ids == sorted(set(ids)), "a lane lost its order"
        elif lane not in self.running:
            assert lane in self.torn, "an event of nothing"
            if kind in TERMINAL:
                self.torn.discard(lane)
            return
        known = self.known[self.running[lane]]
        assert not known.ended
        assert event["sequence_number"] > known.number
        known.number = event["sequence_number"]
        known.text += event.get("delta", "")
        if kind in TERMINAL:
            known.ended = True
            name = self.running.pop(lane)
            [whole] = [each for each in self.world.answers.all if each.id == name]
            if known.whole:
                assert known.text == whole.said

    @precondition(lambda self: self.attached)
    @rule(lane=st.sampled_from(LANES), bad=st.booleans())
    def create(self, lane: str | None, bad: bool) -> None:
        event_id = f"e{len(self.sent)}"
        self.sent[event_id] = lane
        self.ask(event_id, lane, "none" if bad else "m")

    @precondition(lambda self: self.attached and self.sent)
    @rule(data=st.data())
    def create_again(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.sent)))
        self.ask(event_id, self.sent[event_id], "m")

    def ask(self, event_id: str, lane: str | None, model: str) -> None:
        self.asked.add(event_id)
        create(self.client, event_id=event_id, model=model, **({} if lane is None else {"stream_id": lane}))

    @rule(data=st.data(), words=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
    def say(self, data: st.DataObject, words: list[str]) -> None:
        if running := self.world.answers.running:
            data.draw(st.sampled_from(running)).say(*words)

    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        if running := self.world.answers.running:
            data.draw(st.sampled_from(running)).finish()

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if ended := [answer for answer in self.world.answers.all if answer.log.ended]:
            data.draw(st.sampled_from(ended)).log.gone = True

    @precondition(lambda self: self.attached)
    @rule(lane=st.sampled_from(LANES))
    def cancel(self, lane: str | None) -> None:
        send(self.client, type="response.cancel", **({} if lane is None else {"stream_id": lane}))

    @precondition(lambda self: self.attached)
    @rule(blocked=st.booleans())
    def back_pressure(self, blocked: bool) -> None:
        self.line.blocked = blocked
        if not blocked:
            self.line.drained(self.client)

    @precondition(lambda self: self.attached and self.last)
    @rule()
    def ack(self) -> None:
        send(self.client, type="streamlane:session.ack", sl_seq=self.last)

    @precondition(lambda self: self.attached)
    @rule(frames=st.integers(0, 20))
    def window(self, frames: int) -> None:
        send(self.client, type="streamlane:flow.set", window=frames)

    @precondition(lambda self: self.attached)
    @rule(lane=st.sampled_from(LANES), paused=st.booleans())
    def pause(self, lane: str | None, paused: bool) -> None:
        place = {} if lane is None else {"stream_id": lane}
        send(self.client, type="streamlane:flow.set", pause=paused, **place)

    @precondition(lambda self: self.attached)
    @rule()
    def cut(self) -> None:
        self.client.leave(self.line)
        self.attached = False

    @rule()
    def come_back(self) -> None:
        """Also while the old connection seems to be there: the server need not have noticed that it is gone."""
        old, attached, at = self.line, self.attached, len(self.line.written)
        self.connect(self.last or 0)
        assert not attached or old.replaced
        assert len(old.written) == at

    @rule()
    def reload(self) -> None:
        self.connect(None)

    @rule(seconds=st.sampled_from([1, 61, 601]))
    def wait(self, seconds: int) -> None:
        self.world.clock.wait(seconds)

    @invariant()
    def nobody_waits_for_who_is_away(self) -> None:
        assert self.attached or not any(answer.waits for answer in self.world.answers.all)

    @invariant()
    def a_backend_waits_only_for_who_reads_nothing_and_is_told(self) -> None:
        if self.attached and not self.line.blocked and any(answer.waits for answer in self.world.answers.running):
            assert any(event["type"] == "streamlane:flow.stalled" for event in self.line.written)

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        assert self.world.clients.held < BYTES + 3 * 30_000

    @invariant()
    def a_create_is_executed_once(self) -> None:
        assert len(self.world.answers.all) - self.before <= len(self.asked)

    @invariant()
    def an_event_is_looked_at_once_for_each_sending(self) -> None:
        logs = [answer.log for answer in self.world.answers.all]
        assert sum(log.looked_at for log in logs) <= sum(log.head for log in logs) * self.connections

    @invariant()
    def others_see_nothing(self) -> None:
        assert [event["type"] for event in self.others.written] == []

    def teardown(self) -> None:
        """Whatever happened: a client that comes back once more and reads gets all of it."""
        if not hasattr(self, "world"):
            return
        self.connect(self.last or 0)
        while not self.client.idle or self.line.read < len(self.line.written):
            running, unread = self.world.answers.running, len(self.line.written) - self.line.read
            assert running or unread, "nothing happens any more"
            for answer in running:
                answer.finish()
            self.read(1 << 30)
        assert not self.running, "a response has no end"


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestMachine = Machine.TestCase


def test_the_numbers_of_the_machine_make_back_pressure_and_gaps_likely() -> None:
    world = World(undo=UNDO)
    line: Line
    line, client = world.attach(extended=True)
    create(client)
    line.blocked = True
    world.answers.all[0].say("x" * (AHEAD + 1))
    assert world.answers.all[0].waits
