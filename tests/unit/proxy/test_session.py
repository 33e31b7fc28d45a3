"""The session: lanes in order, limits kept, whatever a client sends and whenever responses end."""

import json
from collections import defaultdict, deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.errors import BadFrame, Draining, TooManyLanes, TooManyQueued
from proxy.session import Answer, Cancel, Command, Limits, Refuse, Session, Start

LIMITS = Limits(active=3, lanes=4, queued=5)
LANES = [None, "a", "b", "c", "d", "e"]


def create(number: int, stream_id: str | None) -> bytes:
    lane = {} if stream_id is None else {"stream_id": stream_id}
    return json.dumps({"type": "response.create", "model": f"m{number}", "input": "hi", **lane}).encode()


class SessionMachine(RuleBasedStateMachine):
    """Against a naive model: per lane a queue, and the set of lanes that run."""

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(LIMITS)
        self.accepted: defaultdict[str | None, deque[str]] = defaultdict(deque)
        self.running: dict[str | None, str] = {}
        self.lanes: set[str] = set()
        self.count = 0
        self.drained = False

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            assert isinstance(command, Start)
            assert command.stream_id not in self.running, "a lane overlaps itself"
            assert command.create.model == self.accepted[command.stream_id].popleft(), "a lane lost its order"
            self.running[command.stream_id] = command.create.model

    @rule(stream_id=st.sampled_from(LANES))
    def create(self, stream_id: str | None) -> None:
        self.count += 1
        waiting = sum(map(len, self.accepted.values()))
        at_once = stream_id not in self.running and len(self.running) < LIMITS.active and not waiting
        commands = self.session.receive(create(self.count, stream_id))
        if commands and isinstance(commands[0], Refuse):
            [refused] = commands
            assert isinstance(refused, Refuse)
            assert refused.stream_id == stream_id
            if self.drained:
                assert isinstance(refused.error, Draining)
            elif stream_id is not None and stream_id not in self.lanes and len(self.lanes) == LIMITS.lanes:
                assert isinstance(refused.error, TooManyLanes)
            else:
                assert isinstance(refused.error, TooManyQueued)
                assert waiting == LIMITS.queued
                if stream_id is not None:
                    self.lanes.add(stream_id)
            return
        assert not self.drained
        if stream_id is not None:
            self.lanes.add(stream_id)
        self.accepted[stream_id].append(f"m{self.count}")
        self.obey(commands)
        assert not at_once or stream_id in self.running, "a create waited without need"

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        stream_id = data.draw(st.sampled_from(sorted(self.running, key=str)))
        del self.running[stream_id]
        self.obey(self.session.done(stream_id))

    @precondition(lambda self: not self.drained)
    @rule()
    def drain(self) -> None:
        self.drained = True
        refused = self.session.drain()
        assert len(refused) == sum(map(len, self.accepted.values())), "each create that waited is told"
        assert all(isinstance(each, Refuse) and isinstance(each.error, Draining) for each in refused)
        self.accepted.clear()

    @rule(frame=st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode), st.just(b'{"type":"x"}')))
    def rubbish(self, frame: bytes) -> None:
        [refused] = self.session.receive(frame)
        assert isinstance(refused, Refuse)
        assert isinstance(refused.error, BadFrame)

    @invariant()
    def limits_hold(self) -> None:
        assert len(self.running) <= LIMITS.active
        assert sum(map(len, self.accepted.values())) <= LIMITS.queued

    @invariant()
    def nobody_waits_while_there_is_a_place(self) -> None:
        idle = [lane for lane, waiting in self.accepted.items() if waiting and lane not in self.running]
        assert not idle or len(self.running) == LIMITS.active

    @invariant()
    def idle_means_nothing_to_do(self) -> None:
        assert self.session.idle == (not self.running and not any(self.accepted.values()))


TestSession = SessionMachine.TestCase


def test_cancel_names_a_response_or_a_lane() -> None:
    session = Session(LIMITS)
    assert session.receive(b'{"type":"response.cancel"}') == [Cancel(None, None)]
    assert session.receive(b'{"type":"response.cancel","stream_id":"a"}') == [Cancel(None, "a")]
    assert session.receive(b'{"type":"response.cancel","response_id":"r"}') == [Cancel("r", None)]


def test_steering_is_answered_in_the_protocols_own_way() -> None:
    [answer] = Session(LIMITS).receive(b'{"type":"response.steer","previous_response_id":"r","input":[]}')
    assert isinstance(answer, Answer)
    assert answer.event["type"] == "response.steer.failed"
