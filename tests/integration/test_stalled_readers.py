"""A client of a session that stops reading: cut in its time, it can come back; the others do not notice."""

import asyncio
import time

import aiohttp
import psutil

from backends.events import TextDelta
from backends.fake import FakeBackend
from proxy.app import Gateway
from tests.gateway import DONE, Client, connected, gateway, text_of

GOOD, TOKENS, PAUSE = 100, 20, 0.02
FLOOD, PIECE = 400, "x" * 20_000  # 8 MB: more than all buffers between two ends hold
SEND = 0.5  # seconds
CONFIG = f"deadlines.send = {SEND}\nlimits.log_ahead_bytes = 65536\nsession.max_session_bytes = 67108864"
KEY = "the-key-of-a-stalled-reader"


async def latencies(sockets: list[Client]) -> list[float]:
    """The times between the tokens of an answer for each socket, all at once."""
    gaps = []

    async def one(socket: Client) -> None:
        await socket.create("steady")
        await socket.until("response.output_text.delta")
        last = time.monotonic()
        while (await socket.next())["type"] == "response.output_text.delta":
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
        await socket.until()

    await asyncio.gather(*map(one, sockets))
    return sorted(gaps)


async def away(started: Gateway) -> bool:
    """Whether a session has lost its connection."""
    async with aiohttp.ClientSession() as http, http.get(f"{started.ops_url}/metrics") as answer:
        return 'streamlane_sessions{state="away"} 1.0' in await answer.text()


async def test_one_that_stalls_is_cut_and_comes_back_and_a_hundred_others_do_not_notice() -> None:
    flood = FakeBackend("flood", models=("flood",), script=[*([[TextDelta(PIECE)]] * FLOOD), DONE])
    steady = FakeBackend("steady", models=("steady",), script=[*([[TextDelta("x")], PAUSE] * TOKENS), DONE])
    async with gateway(CONFIG, [flood, steady]) as started:
        sockets = [connected(started.base_url) for _ in range(GOOD)]
        good = [await each.__aenter__() for each in sockets]
        calm = await latencies(good)
        memory = psutil.Process().memory_info().rss
        async with connected(started.base_url, f"?sl_session={KEY}", max_queue=1) as stalled:
            await stalled.create("flood")
            got = await stalled.next()
            began = time.monotonic()
            gaps = await latencies(good)
            async with asyncio.timeout(20 * SEND):
                while not await away(started):
                    await asyncio.sleep(0.02)
            assert time.monotonic() - began >= SEND / 2  # it was given time
            stalled.connection.transport.abort()
        assert psutil.Process().memory_info().rss - memory < 64 << 20
        async with connected(started.base_url, f"?sl_session={KEY}&sl_after={got['sl_seq']}") as back:
            events = await back.until()
        for each in sockets:
            await each.__aexit__(None, None, None)
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == PIECE * FLOOD
    assert [event["sl_seq"] for event in events] == list(range(2, len(events) + 2))
    # Both times on the same noisy machine: what counts is their ratio, above what no client would notice.
    assert gaps[len(gaps) * 99 // 100] < max(5 * calm[len(calm) * 99 // 100], 0.25)
