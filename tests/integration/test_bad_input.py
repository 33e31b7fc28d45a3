"""Bad frames and bad clients: one clear error each, and the socket lives on."""

import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.gateway import answers, client, gateway

BAD = [
    ('{"type":', "invalid_event", None),
    ("[1]", "invalid_event", None),
    ("7", "invalid_event", None),
    ("{}", "invalid_event", "type"),
    ('{"type":"response.crate"}', "invalid_event", "type"),
    ('{"type":7}', "invalid_event", "type"),
    (json.dumps({"type": "x", "a": json.loads("[" * 200 + "]" * 200)}), "invalid_event", None),
    ('{"type":"response.create","input":"hi"}', "invalid_parameter", "model"),
    ('{"type":"response.create","model":"","input":"hi"}', "invalid_parameter", "model"),
    ('{"type":"response.create","model":7,"input":"hi"}', "invalid_parameter", "model"),
    ('{"type":"response.create","model":"fake"}', "invalid_parameter", "input"),
    ('{"type":"response.create","model":"fake","input":[]}', "invalid_parameter", "input"),
    ('{"type":"response.create","model":"fake","input":"hi","temprature":1}', "invalid_parameter", "temprature"),
    ('{"type":"response.create","model":"fake","input":"hi","temperature":"1"}', "invalid_parameter", "temperature"),
    ('{"type":"response.create","model":"fake","input":"hi","temperature":3}', "invalid_parameter", "temperature"),
    ('{"type":"response.create","model":"fake","input":"hi","max_output_tokens":0}', "invalid_parameter",
     "max_output_tokens"),
    ('{"type":"response.create","model":"fake","input":[{"role":"bob","content":"x"}]}', "invalid_parameter",
     "input[0].role"),
    ('{"type":"response.create","model":"fake","input":[{"role":"user","content":[{"type":"input_image"}]}]}',
     "invalid_parameter", "input[0].content[0].image_url"),
    ('{"type":"response.create","model":"fake","input":[{"role":"user","content":[{"type":"input_text"}]}]}',
     "invalid_parameter", "input[0].content[0]"),
    ('{"type":"response.create","model":"fake","input":"hi","tools":[{"type":"function"}]}', "invalid_parameter",
     "tools[0]"),
    ('{"type":"response.create","model":"fake","input":"hi","tools":[{"type":"web_search"}]}', "unsupported_feature",
     "tools[0]"),
    ('{"type":"response.create","model":"fake","input":"hi","background":true}', "unsupported_feature", "background"),
    ('{"type":"response.create","model":"fake","input":"hi","text":{"format":{"type":"grammar"}}}',
     "unsupported_feature", "text.format"),
    ('{"type":"response.create","model":"fake","input":"hi","stream_id":""}', "invalid_stream_id", "stream_id"),
    ('{"type":"response.create","model":"fake","input":"hi","stream_id":"a b"}', "invalid_stream_id", "stream_id"),
    ('{"type":"response.create","model":"fake","input":"hi","stream_id":7}', "invalid_stream_id", "stream_id"),
    ('{"type":"response.create","model":"fkae","input":"hi"}', "model_not_found", "model"),
    ('{"type":"response.cancel","response_id":"resp_nobody"}', "response_not_found", "response_id"),
    ('{"type":"response.cancel","response_id":7}', "invalid_event", "response_id"),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "code", "param"), BAD)
async def test_bad_frames_get_one_error_and_the_socket_lives_on(frame: str, code: str, param: str | None) -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.connection.send(frame)
        await socket.create(stream_id="after")
        events = await socket.until("response.completed")
    [error] = [event for event in events if event["type"] == "error"]
    rest = [event for event in events if event is not error]
    assert (error["type"], error["error"]["code"]) == ("error", code)
    assert error["status"] == (404 if code.endswith("_not_found") and "previous" not in code else 400)
    if param:
        assert (error["error"]["param"] or "").startswith(param)
    assert error["error"]["message"].endswith((".", "?"))
    assert {event["stream_id"] for event in rest} == {"after"}


async def test_a_binary_frame_is_refused_and_bytes_that_are_not_utf8_end_the_connection() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.connection.send(b'{"type":"response.create","model":"fake","input":"hi"}')
        assert "Binary" in (await socket.next())["error"]["message"]
        await socket.connection.send(b'{"type":"\xff"}', text=True)
        with pytest.raises(ConnectionClosed) as closed:  # RFC 6455 8.1 asks for it
            await socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


async def test_an_error_on_a_lane_names_the_lane() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.create("nope", stream_id="main")
        error = await socket.next()
    assert (error["status"], error["stream_id"], error["error"]["param"]) == (404, "main", "model")


async def test_a_frame_that_is_too_large_closes_with_1009() -> None:
    async with gateway("limits.max_frame_bytes = 2048", [answers()]) as started, client(started) as socket:
        await socket.create(text="x" * 4096)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


async def test_steering_is_declined_and_processed_is_accepted() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.send({"type": "response.processed", "response_id": "resp_1"})
        await socket.send({"type": "response.steer", "previous_response_id": "resp_1", "input": []})
        declined = await socket.next()
    assert declined["type"] == "response.steer.failed"
    assert declined["error"]["code"] == "steering_not_supported"


async def test_many_creates_of_one_lane_that_are_all_refused_do_no_harm() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        for _ in range(50):
            await socket.create("nope", stream_id="a")
        await socket.create(stream_id="a")
        events = await socket.until("response.completed")
    assert [event["type"] for event in events[:50]] == ["error"] * 50


async def test_keys_origin_and_host_are_checked_before_the_upgrade() -> None:
    key = "sk-sl-aaaaaaaaaaaaaaaa"
    cases: list[tuple[dict[str, str], int | None]] = [
        ({"Authorization": f"Bearer {key}"}, None),
        ({}, 401),
        ({"Authorization": f"Bearer {key}x"}, 401),
        ({"Authorization": f"Basic {key}"}, 401),
        ({"Authorization": f"Bearer {key}", "Origin": "https://evil.example"}, 403),
        ({"Authorization": f"Bearer {key}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {key}", "Origin": "https://chat.example"}, None),
    ]
    text = f'server.api_keys = ["{key}"]\nserver.allowed_origins = ["https://chat.example"]'
    async with gateway(text, [answers()]) as started:
        for headers, status in cases:
            try:
                async with client(started, additional_headers=headers) as socket:
                    await socket.create()
                    await socket.until("response.completed")
                    got = None
            except InvalidStatus as refused:
                got = refused.response.status_code
                assert b'"error"' in (refused.response.body or b"")
            assert got == status, headers
