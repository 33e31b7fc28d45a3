"""Notices of where a request goes say why it goes there, and why not elsewhere."""

from proxy.explaining import explained, passing_by
from proxy.outcome import Notice
from tests.unit.proxy.free_world import World

ROUTE = Notice("route", {"backend": "b", "model": "m", "queue_position": 0})
UNABLE = {"backend": "blind", "model": "m", "reason": "does not support images"}


def test_all_reasons_are_told_and_none_hides_another() -> None:
    world, heard = World(), list[Notice]()
    world.daily("a", 10, 0)
    world.daily("b", 10, 9)
    tell = explained(world.select(), passing_by([UNABLE], heard.append))
    tell(ROUTE)
    tell(Notice("queue", {"position": 1}))
    route, queue = heard
    assert route.data["reason"] == "90% of its quota is left, and lost in 12 h if nobody uses it."
    assert [each["backend"] for each in route.data["passed_over"]] == ["a", "blind"]  # type: ignore[attr-defined]  # a list of objects
    assert queue.data == {"position": 1}


def test_a_candidate_that_nobody_chose_has_no_reason() -> None:
    world, heard = World(), list[Notice]()
    world.daily("a", 10, 5)
    explained(world.select(), heard.append)(ROUTE)
    assert heard == [ROUTE]
