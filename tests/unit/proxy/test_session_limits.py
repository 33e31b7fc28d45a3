"""What bounds a session: its bytes, its number, its client's window and pauses; and what it may say."""

import json
from typing import Any

import pytest

from proxy.errors import TooManySessions
from tests.gateway import text_of
from tests.unit.proxy.session_world import KEY, OTHER, World, create, kinds, send


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
    world = World(max_total_bytes=60_000)
    for index in range(10):
        line, client = world.attach(key=f"{index:016d}")
        create(client)
        world.answers.all[-1].say("x" * 8_000)
        world.answers.all[-1].finish()
        if index < 5:
            client.leave(line)
    world.clock.wait(1.5)
    assert world.clients.held <= 60_000
    assert world.clients.sessions == {"attached": 5, "away": 0}


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
