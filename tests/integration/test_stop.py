"""Stopping: no new sockets, what runs ends in its time, then 1012; and the process leaves in order."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.gateway import Client, Process, connected, process, text_of


def speaking(tokens_per_second: float) -> str:
    return f"""
[[backends]]
name = "f"
kind = "fake"
text = "one two three four five six"
tokens_per_second = {tokens_per_second}
"""


@asynccontextmanager
async def stopping(tokens_per_second: float) -> AsyncIterator[tuple[Process, Client]]:
    """A gateway that was told to stop while a response runs on its one socket."""
    async with process(speaking(tokens_per_second)) as started, connected(started.base_url) as socket:
        await socket.create(stream_id="a")
        await socket.create(stream_id="a", metadata={"queued": "yes"})
        await socket.until("response.output_text.delta")
        started.process.send_signal(signal.SIGTERM)
        yield started, socket


async def test_what_runs_ends_what_waits_is_told_and_the_socket_closes_with_1012() -> None:
    async with stopping(20) as (started, socket):
        refused = await socket.until("error")
        assert (refused[-1]["status"], refused[-1]["error"]["code"]) == (503, "server_draining")
        with pytest.raises(InvalidStatus) as turned_away:
            async with connected(started.base_url):
                pass
        assert turned_away.value.response.status_code == 503
        assert turned_away.value.response.headers["Retry-After"]
        await socket.create(stream_id="b")
        events = await socket.until("response.completed")
        assert [event["error"]["code"] for event in events if event["type"] == "error"] == ["server_draining"]
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one two three four five six"
        assert text_of(events).endswith("six")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await started.process.wait() == 0


async def test_what_does_not_end_in_time_is_cancelled_and_says_so() -> None:
    async with process("deadlines.drain = 0.2\n" + speaking(0.1)) as started, connected(started.base_url) as socket:
        await socket.create()
        await socket.until("response.in_progress")
        began = time.monotonic()
        started.process.send_signal(signal.SIGTERM)
        end = (await socket.until())[-1]
        assert end["response"]["status"] == "cancelled"
        with pytest.raises(ConnectionClosed) as closed:
            await socket.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await started.process.wait() == 0
        assert time.monotonic() - began < 3


async def test_a_second_signal_stops_at_once() -> None:
    async with stopping(0.1) as (started, _):
        while "draining" not in started.stderr:
            await asyncio.sleep(0.01)
        started.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(3):
            assert await started.process.wait() == 130


async def test_ctrl_c_with_nobody_connected_ends_quietly() -> None:
    async with process(speaking(20)) as started:
        started.process.send_signal(signal.SIGINT)
        assert await started.process.wait() == 0
        assert "Traceback" not in started.stderr
