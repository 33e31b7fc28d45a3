"""What bounds a session: its bytes, its number, its client's window and pauses; and what it may say."""

import json
from typing import Any

import pytest

from proxy.errors import TooManySessions
from proxy.session_client import CHECK
from proxy.turns import Turn
from tests.gateway import text_of
from tests.unit.proxy.session_world import KEY, ME, OTHER, Line, World, create, kinds, send


def test_sessions_are_bounded_and_who_left_first_is_forgotten() -> None:
    world = World(max_sessions=3, max_sessions_per_key=2)
    first, away = world.attach(key="a" * 16)
    create(away)
    world.attach(key="b" * 16)
    with pytest.raises(TooManySessions):
        world.attach(key="c" * 16)
    away.leave(first)
    world.attach(key="c" * 16)
    assert world.answers.all[0].cancelled
    world.attach(principal=OTHER)
    with pytest.raises(TooManySessions):
        world.attach(principal=OTHER, key="d" * 16)


def test_one_sessions_bytes_are_bounded_also_while_it_is_away() -> None:
    world = World(max_session_bytes=20_000)
    line, client = world.attach()
    for _ in range(10):
        create(client)
        world.answers.all[-1].say("x" * 4_000)
        world.answers.all[-1].finish()
    assert world.clients.held <= 20_000
    create(client)
    client.leave(line)
    for _ in range(200):
        world.answers.all[-1].say("x" * 1_000)
    assert world.answers.all[-1].cancelled


def test_all_sessions_bytes_are_bounded() -> None:
    world = World(max_total_bytes=150_000)
    _, large = world.attach(key="a" * 16)
    for _ in range(10):  # sent, and perhaps not arrived
        create(large)
        world.answers.all[-1].say("x" * 8_000)
        world.answers.all[-1].finish()
    away = []
    for principal, key, size in [(ME, "b" * 16, 50), (OTHER, "c" * 16, 20_000), (OTHER, "d" * 16, 20_000)]:
        line, client = world.attach(principal=principal, key=key)
        create(client)
        away.append(world.answers.all[-1])
        away[-1].say("x" * size)
        client.leave(line)
    assert world.clients.held > 150_000
    world.clock.wait(1.5)
    assert world.clients.held <= 150_000
    assert not any(answer.cancelled for answer in away)  # what was sent goes first
    for _ in range(3):
        away[-1].say("x" * 20_000)
        away[-1].say(*["x"] * CHECK)
    world.clock.wait(1.5)
    assert world.clients.held <= 150_000
    assert [answer.cancelled for answer in away] == [False, True, True]  # of the key that takes most
    assert world.clients.sessions == {"attached": 1, "away": 1}


def test_the_sum_of_all_bytes_is_right_after_everything() -> None:
    world = World(detach_ttl=5, resume_ttl=10)
    for index in range(6):
        line, client = world.attach(key=f"{index:016d}", extended=True)
        create(client, event_id="e1")
        create(client, event_id="e2", metadata={"x": "y" * 500})
        world.answers.all[-1].say("x" * 1_000)
        if index % 2:
            world.answers.all[-1].finish()
            send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
        client.leave(line)
    assert world.clients.held > 6_000
    world.clock.wait(11)
    assert world.clients.sessions == {"attached": 0, "away": 0}
    assert world.clients.held == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_bytes_are_counted_however_a_backend_speaks(batch: int) -> None:
    world = World(max_session_bytes=40_000)
    line, client = world.attach()
    create(client)
    [answer] = world.answers.all
    answer.say("a")
    client.leave(line)
    while not answer.cancelled:
        answer.say(*["x" * 100] * batch)
        assert len(answer.said) < 40_000 + CHECK * batch * 100


def test_a_large_answer_survives_a_takeover_and_a_short_absence() -> None:
    world = World(max_session_bytes=20_000)
    line, client = world.attach()
    create(client)
    [answer] = world.answers.all
    answer.say("x" * 15_000)
    last = line.written[-1]["sl_seq"]
    line, client = world.attach(last)
    client.leave(line)
    line, client = world.attach(last)
    assert not answer.cancelled
    answer.finish()
    assert kinds(line.next())[-1] == "completed"


def test_what_was_acknowledged_does_not_count() -> None:
    world = World(max_session_bytes=40_000)
    line, client = world.attach(extended=True)
    create(client)
    [answer] = world.answers.all
    for _ in range(100):
        answer.say("x" * 1_000)
    answer.say("y")
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    client.leave(line)
    answer.say(*["x"] * 2 * CHECK)
    assert not answer.cancelled


def test_creates_that_wait_and_event_ids_count_and_are_let_go() -> None:
    world = World()
    line, client = world.attach(extended=True)
    empty = world.clients.held
    for index in range(4):
        create(client, event_id=f"e{index}", input="z" * 100_000)
    assert world.clients.held > empty + 400_000
    for index in range(4):
        world.answers.all[index].finish()
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    held = world.clients.held
    assert held < empty + 5_000
    create(client, event_id="\U0001f600" * 512)
    world.answers.all[-1].finish()
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    assert world.clients.held >= held + 2_048


def test_what_can_be_continued_counts_and_goes_last() -> None:
    world = World(max_total_bytes=100_000)
    line, client = world.attach()
    create(client)
    [answer] = world.answers.all
    answer.turn = Turn("resp_1", ME.id, (), 200_000, None)
    answer.finish()
    assert world.clients.held > 200_000
    world.clock.wait(1.5)
    assert world.clients.held <= 100_000
    assert kinds(line.next())[-1] == "completed"


def test_a_look_at_the_bytes_of_all_looks_at_no_session() -> None:
    world = World()
    for index in range(20):
        _, client = world.attach(key=f"{index:016d}")
        create(client)
    before = [answer.log.weighed for answer in world.answers.all]
    world.clock.wait(5)
    assert [answer.log.weighed for answer in world.answers.all] == before


def test_who_is_only_admitted_puts_nobody_out() -> None:
    world = World(max_sessions=1)
    line, client = world.attach()
    create(client)
    client.leave(line)
    world.clients.admit(ME, "z" * 16)
    assert not world.answers.all[0].cancelled
    world.attach(key="z" * 16)
    assert world.answers.all[0].cancelled


def test_a_full_window_costs_a_token_nothing() -> None:
    world = World()
    line, client = world.attach(extended=True)
    send(client, type="streamlane:flow.set", window=1)
    create(client)
    [answer] = world.answers.all
    for _ in range(100):
        answer.say("x")
    assert answer.log.looked_at < 10
    for _ in range(100):  # one frame at a time
        send(client, type="streamlane:session.ack", sl_seq=line.written[-1]["sl_seq"])
    assert text_of(line.written) == "x" * 100
    assert answer.log.looked_at < 210


@pytest.mark.parametrize("remembered", [True, False], ids=["session", "plain"])
def test_a_slow_reader_gets_all_its_lanes(remembered: bool) -> None:
    world = World()
    line: Line
    if remembered:
        line, client = world.attach(room=5_000)
    else:
        line, client = Line(5_000), world.clients.plain(ME, extended=False)
        client.outlet = line
    create(client, stream_id="a")
    create(client, stream_id="b")
    for _ in range(10):
        for answer in world.answers.all:
            answer.say("x" * 6_000)
        line.drained(client)
    sent = [sum(len(e.get("delta", "")) for e in line.written if e["stream_id"] == lane) for lane in ("a", "b")]
    assert min(sent) > max(sent) / 2


def test_a_lane_that_waits_for_its_place_can_be_paused() -> None:
    world = World()
    line, client = world.attach(extended=True)
    for lane in ("a", "b", "c", "d"):  # three may run
        create(client, stream_id=lane)
    send(client, type="streamlane:flow.set", stream_id="d", pause=True)
    world.answers.all[0].finish()
    events = line.next()
    assert not any(event["type"] == "error" for event in events)
    assert not any(event["type"].startswith("response.") and event["stream_id"] == "d" for event in events)


def test_a_window_holds_back_until_it_is_acknowledged() -> None:
    world = World()
    line, client = world.attach(extended=True)
    send(client, type="streamlane:flow.set", window=5)
    create(client)
    [answer] = world.answers.all
    for number in range(50):
        answer.say(f"{number} ")
    assert len([event for event in line.written if not event["type"].startswith("streamlane:")]) <= 5
    assert answer.waits
    stalled = [event for event in line.written if event["type"] == "streamlane:flow.stalled"]
    assert len(stalled) == 1
    assert stalled[0]["unacked"] >= 5
    events = line.next()
    answer.finish()
    while not client.idle:
        send(client, type="streamlane:session.ack", sl_seq=events[-1]["sl_seq"])
        events += line.next()
    assert text_of(events) == "".join(f"{number} " for number in range(50))
    assert kinds(events)[-1] == "completed"


def test_a_paused_lane_waits_and_others_do_not() -> None:
    world = World()
    line, client = world.attach(extended=True)
    create(client, stream_id="a")
    create(client, stream_id="b")
    send(client, type="streamlane:flow.set", stream_id="a", pause=True)
    line.next()
    for answer in world.answers.all:
        answer.say("x")
        answer.say("y")
    assert text_of(line.next()) == "xy"
    send(client, type="streamlane:flow.set", stream_id="a", pause=False)
    [merged] = line.next()[-1:]
    assert (merged["stream_id"], merged["delta"]) == ("a", "xy")


def test_ping_is_answered() -> None:
    world = World()
    line, client = world.attach(extended=True)
    line.next()
    send(client, type="streamlane:ping", id=7)
    assert line.next() == [{"type": "streamlane:pong", "id": 7, "sl_seq": 2}]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "streamlane:session.ack"},
        {"type": "streamlane:session.ack", "sl_seq": "1"},
        {"type": "streamlane:session.ack", "sl_seq": -1},
        {"type": "streamlane:session.ack", "sl_seq": True},
        {"type": "streamlane:session.ack", "sl_seq": 99},
        {"type": "streamlane:flow.set"},
        {"type": "streamlane:flow.set", "pause": "yes"},
        {"type": "streamlane:flow.set", "pause": True, "stream_id": "nobody"},
        {"type": "streamlane:session.resume", "sl_session": KEY, "sl_after": 0},
        {"type": "streamlane:what"},
        {"type": "streamlane:ping", "id": "x" * 513},
        {"type": "streamlane:ping", "id": []},
        {"type": "response.create", "model": "m", "input": "hi", "event_id": 7},
    ],
    ids=json.dumps,
)
def test_what_makes_no_sense_is_refused_alone(event: dict[str, Any]) -> None:
    world = World()
    line, client = world.attach(extended=True)
    line.next()
    send(client, **event)
    [error] = line.next()
    assert error["error"]["code"] == "invalid_event"
    create(client)
    assert kinds(line.next())[0] == "created"
