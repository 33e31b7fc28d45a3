"""A session, one rule at a time: what a client finds when it comes back."""

import pytest

from proxy.errors import BadSessionKey
from tests.gateway import text_of
from tests.unit.proxy.session_world import OTHER, World, create, kinds, numbers, send


def test_every_frame_has_the_next_number_as_its_last_member() -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a")
    create(client, model="none", stream_id="b")
    world.answers.all[0].say("Hel")
    world.answers.all[0].say("lo")
    world.answers.all[0].finish()
    events = line.next()
    assert numbers(events) == list(range(1, len(events) + 1))
    assert all(list(event)[-1] == "sl_seq" for event in events)
    assert all(event["type"].startswith("response.") or event["type"] == "error" for event in events)  # no extension


def test_what_did_not_arrive_comes_again_merged_and_nothing_else() -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a")
    [answer] = world.answers.all
    for word in ("one ", "two ", "three "):
        answer.say(word)
    got = line.next(5)  # up to and with "one "
    assert text_of(got) == "one "
    client.leave(line)
    answer.say("four")
    answer.finish()
    line, _ = world.attach(after=got[-1]["sl_seq"])
    rest = line.next()
    assert kinds(rest)[0] == "output_text.delta"
    assert text_of(got + rest) == "one two three four"
    assert kinds(got + rest).count("completed") == 1
    assert numbers(got + rest) == list(range(1, len(got + rest) + 1))


def test_zero_replays_everything_and_so_does_no_number_under_new_ones() -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a")
    world.answers.all[0].say("done")
    world.answers.all[0].finish()
    create(client, stream_id="b")
    world.answers.all[1].say("half")
    before = line.next()
    client.leave(line)
    line, client = world.attach(after=0)
    again = line.next()
    assert text_of(again) == "donehalf"
    assert kinds(again).count("completed") == 1
    client.leave(line)
    world.answers.all[1].finish()
    line, client = world.attach()
    last = line.next()
    assert [event["stream_id"] for event in last if event["type"] == "response.created"] == ["a", "b"]
    assert text_of(last) == "donehalf"
    assert min(numbers(last)) > max(numbers(before + again))


def test_a_lane_goes_on_without_its_client_and_in_order() -> None:
    world = World()
    line, client = world.attach()
    for number in range(2):
        create(client, stream_id="a", metadata={"n": str(number)})
    client.leave(line)
    world.answers.all[0].say("first")
    world.answers.all[0].finish()
    world.answers.all[1].say("second")  # began when the first had ended, though nobody had read it
    line, client = world.attach(after=0)
    events = line.next()
    assert [event["delta"] for event in events if "delta" in event] == ["first", "second"]
    world.answers.all[1].finish()
    assert kinds(line.next())[-1] == "completed"
    assert client.idle


def test_a_finished_response_comes_again_before_the_lanes_next_one() -> None:
    world = World()
    line, client = world.attach()
    create(client)
    world.answers.all[0].say("first")
    world.answers.all[0].finish()
    create(client)
    world.answers.all[1].say("second")
    client.leave(line)
    line, _ = world.attach(after=3)
    line.blocked = False
    world.answers.all[1].say(" more")
    events = line.next()
    assert [event["delta"] for event in events if "delta" in event] == ["first", "second", " more"]


def test_errors_come_again_too_with_their_lane() -> None:
    world = World()
    line, client = world.attach()
    create(client, model="none", stream_id="a")
    [lost] = line.written
    client.leave(line)
    line, client = world.attach(after=0)
    assert line.next() == [lost]
    client.leave(line)
    line, _ = world.attach(after=1)
    assert line.next() == []


def test_a_create_that_is_sent_again_is_executed_once() -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a", event_id="e1")
    client.leave(line)
    line, client = world.attach(after=0)
    create(client, stream_id="a", event_id="e1")
    create(client, stream_id="b", event_id="e1")  # another lane, another create
    world.answers.all[0].finish()
    create(client, stream_id="a", event_id="e1")  # also after its end
    assert len(world.answers.all) == 2
    assert kinds(line.next()).count("created") == 2


def test_a_create_that_was_refused_may_be_sent_again() -> None:
    world = World()
    _, client = world.attach()
    create(client, model="none", event_id="e1")
    create(client, event_id="e1")
    assert len(world.answers.all) == 1


def test_gaps_are_said_and_what_is_held_follows() -> None:
    world = World(undo=64)
    line, client = world.attach()
    create(client)
    for _ in range(200):
        world.answers.all[0].say("x")
    client.leave(line)
    line, client = world.attach(after=3)
    gap, *rest = line.next()
    assert (gap["status"], gap["error"]["code"], gap["error"]["param"]) == (409, "sl_resume_gap", "sl_after")
    assert 0 < len(text_of(rest)) < 200
    assert world.clients.resumes == {"new": 1, "gap": 1}


def test_what_was_acknowledged_is_not_held_and_cannot_come_again() -> None:
    world = World()
    line, client = world.attach()
    create(client)
    world.answers.all[0].say("x" * 10_000)
    world.answers.all[0].finish()
    held = world.clients.held
    send(client, type="streamlane:session.ack", sl_seq=1)
    assert kinds(line.next())[-1] == "error"  # who did not ask for extensions has none
    client.leave(line)
    line, client = world.attach(after=len(line.written), extended=True)
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    assert world.clients.held < held / 10
    client.leave(line)
    line, _ = world.attach(after=1)
    assert line.next()[0]["error"]["code"] == "sl_resume_gap"


def test_a_session_that_is_not_known_any_more_is_a_gap_and_a_new_epoch() -> None:
    world = World(resume_ttl=600)
    line, client = world.attach(extended=True)
    [created] = line.next()
    assert created["type"] == "streamlane:session.created"
    assert created["limits"] == {"active": 3, "lanes": 4, "window": 0, "max_frame": 1 << 20}
    client.leave(line)
    world.clock.wait(601)
    assert not world.clients.sessions["away"]
    line, client = world.attach(after=7, extended=True)
    gap, new = line.next()
    assert gap["error"]["code"] == "sl_resume_gap"
    assert new["type"] == "streamlane:session.created"
    assert new["epoch"] != created["epoch"]
    client.leave(line)
    line, client = world.attach(after=7, extended=True)  # nothing of that arrived
    assert kinds(line.next()) == ["streamlane:session.resumed", "error"]
    client.leave(line)
    line, _ = world.attach(after=7, epoch=created["epoch"])
    assert line.next()[0]["error"]["code"] == "sl_resume_gap"


def test_the_resumed_event_says_where_each_response_is() -> None:
    world = World()
    line, client = world.attach(extended=True)
    create(client, stream_id="a")
    world.answers.all[0].say("Hel")
    got = line.next()
    world.answers.all[0].say("lo")
    world.answers.all[0].say("!")
    client.leave(line)
    line, _ = world.attach(after=got[-1]["sl_seq"], extended=True)
    resumed = line.next()[0]
    assert resumed["type"] == "streamlane:session.resumed"
    assert (resumed["after"], resumed["rewound"]) == (got[-1]["sl_seq"], 2)
    [live] = resumed["live"]
    assert live == {"response_id": "resp_1", "stream_id": "a", "sequence_number": got[-1]["sequence_number"]}


def test_too_long_away_cancels_what_runs_and_refuses_what_waits() -> None:
    world = World(detach_ttl=60)
    line, client = world.attach()
    create(client)
    create(client, event_id="waits")
    client.leave(line)
    world.clock.wait(59)
    assert len(world.answers.running) == 1
    world.clock.wait(2)
    assert world.answers.all[0].cancelled
    assert len(world.answers.all) == 1
    line, client = world.attach(after=0)
    events = line.next()
    assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["session_away"]
    assert events[-1]["response"]["status"] == "cancelled"
    create(client, event_id="waits")
    assert len(world.answers.all) == 2


def test_who_comes_back_in_time_is_not_cancelled() -> None:
    world = World(detach_ttl=60)
    line, client = world.attach()
    create(client)
    client.leave(line)
    world.clock.wait(59)
    world.attach(after=0)
    world.clock.wait(1000)
    assert len(world.answers.running) == 1


def test_a_newer_connection_takes_over_and_the_older_gets_nothing_more() -> None:
    world = World()
    old, client = world.attach()
    create(client)
    got = old.next()
    new, _ = world.attach(after=got[-1]["sl_seq"])
    assert old.replaced
    world.answers.all[0].say("x")  # a replaced Line that is written to fails the test
    client.leave(old)  # the old socket's end is no news
    world.answers.all[0].finish()
    assert text_of(new.next()) == "x"


def test_another_key_has_a_session_of_its_own_under_the_same_name() -> None:
    world = World()
    mine, client = world.attach()
    create(client)
    theirs, other = world.attach(after=0, principal=OTHER)
    assert not mine.replaced
    assert theirs.next() == []
    create(other)
    assert len(world.answers.all) == 2


@pytest.mark.parametrize("key", ["short", "x" * 129, "a b" * 10, "ä" * 20, ""])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadSessionKey):
        World().attach(key=key)


def test_an_older_page_that_comes_back_after_a_newer_one_is_told_of_the_gap() -> None:
    world = World()
    line, client = world.attach()
    create(client)
    world.answers.all[0].say("x")
    client.leave(line)
    line, client = world.attach()  # a new page, which knows nothing
    assert text_of(line.next()) == "x"
    client.leave(line)
    line, _ = world.attach(after=5)  # all that the old one was sent
    assert line.next()[0]["error"]["code"] == "sl_resume_gap"


def test_what_was_acknowledged_does_not_come_again_without_a_number() -> None:
    world = World()
    line, client = world.attach(extended=True)
    create(client, stream_id="a")
    world.answers.all[0].finish()
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    create(client, stream_id="b")
    world.answers.all[1].finish()
    client.leave(line)
    line, _ = world.attach()
    assert {event["stream_id"] for event in line.next()} == {"b"}


def test_a_create_whose_answer_was_lost_is_answered_when_a_page_that_knows_nothing_sends_it_again() -> None:
    world = World()
    line, client = world.attach()
    create(client, event_id="e1")
    world.answers.all[0].say("hi")
    world.answers.all[0].finish()
    client.leave(line)  # nothing of it arrived
    line, client = world.attach()
    create(client, event_id="e1")
    events = line.next()
    assert (text_of(events), kinds(events).count("completed")) == ("hi", 1)
    assert len(world.answers.all) == 1


def test_a_create_whose_answer_is_not_held_any_more_is_refused_by_name_when_it_comes_again() -> None:
    world = World()
    line, client = world.attach(extended=True)
    create(client, stream_id="a", event_id="e1")
    create(client, stream_id="b", event_id="e2")
    world.answers.all[0].finish()
    send(client, type="streamlane:session.ack", sl_seq=line.next()[-1]["sl_seq"])
    create(client, stream_id="b", event_id="e2")  # it still runs
    assert line.next() == []
    create(client, stream_id="a", event_id="e1")
    [refused] = line.next()
    assert (refused["stream_id"], refused["status"], refused["error"]["code"]) == ("a", 409, "already_answered")
    assert world.answers.all[0].id in refused["error"]["message"]
    assert len(world.answers.all) == 2


@pytest.mark.parametrize("after", [0, 3, None])
def test_what_was_deleted_is_not_sent_again_and_that_is_said(after: int | None) -> None:
    world = World()
    line, client = world.attach()
    create(client, stream_id="a", event_id="e1")
    create(client, stream_id="b")
    for answer in world.answers.all:
        answer.say(f"said by {answer.id}")
        answer.finish()
    world.answers.all[0].log.gone = True
    client.leave(line)
    for _ in range(2):  # also if the first return gets lost
        line, client = world.attach(after)
        events = line.next()
        assert "resp_1" not in str(events)
        assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["sl_resume_gap"]
        assert text_of(events) == f"said by {world.answers.all[1].id}"
        client.leave(line)
        after = 0 if after is None else after


def test_what_was_deleted_after_it_arrived_is_no_gap() -> None:
    world = World()
    line, client = world.attach()
    create(client)
    world.answers.all[0].finish()
    world.answers.all[0].log.gone = True
    client.leave(line)
    line, client = world.attach(after=line.next()[-1]["sl_seq"])
    assert line.next() == []
    create(client)
    assert kinds(line.next())[0] == "created"


def test_one_that_is_deleted_while_it_runs_frees_its_lane() -> None:
    world = World()
    line, client = world.attach()
    create(client)
    create(client)
    client.leave(line)
    world.answers.all[0].log.gone = True
    line, client = world.attach(after=0)
    world.answers.all[0].cancel()
    assert kinds(line.next()).count("created") == 2


def test_steering_with_much_input_is_refused_in_few_words() -> None:
    world = World()
    line, client = world.attach()
    send(client, type="response.steer", previous_response_id="r", input="x")
    send(client, type="response.steer", previous_response_id="r", input="x" * 2_000_000)
    small, large = line.next()
    assert small["steer"] == {"previous_response_id": "r", "input": "x"}
    assert large["type"] == "response.steer.failed"
    assert len(str(large)) < 1_000
