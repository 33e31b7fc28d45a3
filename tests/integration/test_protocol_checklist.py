"""What the protocol of the socket promises: one line each with the tests that show it, and the rest shown here."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from backends.events import TextDelta
from backends.fake import FakeBackend
from tests.gateway import DONE, client, gateway

HERE = "test_protocol_checklist.py"
PROMISES = {
    "the documented example in Python, sync and async": [
        "test_sdk.py::test_the_sync_example",
        "test_sdk.py::test_the_async_example",
        "test_sdk_versions.py::test_sockets_of_openai",  # the oldest SDK with lanes, and a newer websockets
    ],
    "the documented example in Node": [
        "test_node_sdk.py::test_it_streams_an_answer",
        "test_node_sdk.py::test_the_readmes_examples_answer_with_the_real_model",
        "test_node_sdk_versions.py::test_five_lanes_of_the_oldest_sdk_with_lanes",
    ],
    "five concurrent lanes": ["test_sdk.py::test_five_lanes_of_the_sdks_session_run_at_once"],
    "a warm-up, continued by previous_response_id": [
        "test_tools.py::test_a_warm_up_says_nothing_and_can_be_continued",
        "test_continuation.py::test_warming_up_asks_no_backend_and_can_be_continued",
    ],
    # websocket_connection_limit_reached is never said: a socket lives as long as its client likes.
    "each error code, alone and on its lane": [
        f"{HERE}::test_an_error_says_everything_and_leaves_other_lanes_alone",
        "test_bad_input.py::test_bad_frames_get_one_error_and_the_socket_lives_on",
        "test_continuation.py::test_a_failed_continuation_evicts_its_parent_and_a_failed_fork_does_not",
    ],
    "a fork": ["test_continuation.py::test_a_second_lane_forks"],
    "the 17th create is queued": ["test_lanes.py::test_sixteen_run_at_once_and_the_seventeenth_waits"],
    "the 33rd lane is refused": [f"{HERE}::test_the_33rd_lane_is_refused_and_the_others_end"],
    "cancel by event": ["test_lanes.py::test_cancel_ends_the_response_and_frees_the_backend"],
    "cancel by HTTP": ["test_responses_http.py::test_what_runs_on_a_socket_can_be_cancelled_by_http"],
    "cancel by closing": ["test_lanes.py::test_a_closed_socket_stops_its_responses_within_250_ms"],
    "connections that break at random: every token once, in order": [
        "test_resume_fuzz.py::test_every_token_comes_once",
        "test_resume_fuzz.py::test_every_token_comes_once_for_long",
    ],
    "a stalled reader is cut, and the others keep pace": [
        "test_stalled_readers.py::test_one_that_stalls_is_cut_and_comes_back_and_a_hundred_others_do_not_notice"
    ],
    "idle for longer than any proxy allows": [
        "test_nginx_clients.py::test_an_idle_socket_outlives_the_timeout_of_the_proxy"
    ],
    "drain": [
        "test_stop.py::test_what_runs_ends_what_waits_is_told_and_the_socket_closes_with_1012",
        "test_nginx_clients.py::test_a_reload_loses_no_token_of_clients_that_come_back",
    ],
    "the Agents SDK": ["test_sdk_versions.py::test_openai_agents_run_over_the_socket"],
    "Codex": ["test_node_sdk_versions.py::test_codex_works_over_the_socket"],
}


@pytest.mark.parametrize("promise", PROMISES)
def test_the_tests_named_here_exist(promise: str) -> None:
    for name in PROMISES[promise]:
        file, test = name.split("::")
        assert re.search(rf"^(async )?def {test}\(", (Path(__file__).parent / file).read_text("utf-8"), re.MULTILINE)


REFUSALS: dict[str, tuple[dict[str, Any], str | None]] = {
    "previous_response_not_found": ({"previous_response_id": "resp_none", "stream_id": "b"}, "previous_response_id"),
    "invalid_stream_id": ({"stream_id": "no spaces"}, "stream_id"),
    "websocket_stream_limit_reached": ({"stream_id": "c"}, "stream_id"),
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_an_error_says_everything_and_leaves_other_lanes_alone(code: str) -> None:
    fields, param = REFUSALS[code]
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    async with gateway("limits.lanes = 2", [backend]) as started, client(started) as socket:
        for lane in "ab":
            await socket.create(stream_id=lane)
            await socket.until("response.output_text.delta")
            if lane == "b":
                await socket.send({"type": "response.cancel", "stream_id": lane})
                await socket.until("response.incomplete")
        await socket.create(**fields)
        refused = await socket.next()
        gate.set()
        assert (await socket.until())[-1]["stream_id"] == "a"
    message = refused["error"].pop("message")
    assert message.endswith(".")
    assert refused == {
        "type": "error",
        "status": 400,
        **({"stream_id": fields["stream_id"]} if code != "invalid_stream_id" else {}),
        "error": {"type": "invalid_request_error", "code": code, "param": param, "headers": {}},
    }


async def test_the_33rd_lane_is_refused_and_the_others_end() -> None:
    gate = asyncio.Event()
    backend = FakeBackend("fake", script=[[TextDelta("x")], gate, DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        for number in range(33):
            await socket.create(stream_id=f"lane{number}")
        refused = (await socket.until("error"))[-1]
        assert (refused["stream_id"], refused["error"]["code"]) == ("lane32", "websocket_stream_limit_reached")
        gate.set()
        ended = [(await socket.until("response.completed"))[-1]["stream_id"] for _ in range(32)]
        assert sorted(ended) == sorted(f"lane{number}" for number in range(32))
        await socket.create()  # the default lane is none of them
        assert (await socket.until())[-1]["type"] == "response.completed"
