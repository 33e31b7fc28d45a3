"""A thousand clients that leave: nothing stays behind, and the upstream notices each one within 250 ms."""

import asyncio
import gc
import random
import sys
from itertools import product

import psutil
import pytest

from tests.gateway import Client, client, gateway
from tests.upstream import HOLD, SSE_HEAD, Script, Seen, Upstream, token

ROUNDS, WARM_UP, AT_ONCE = 1000, 200, 20
NOTICED = 0.25  # seconds
SCRIPTS: dict[str, Script] = {
    "before the head": [HOLD],
    "before a token": [SSE_HEAD, HOLD],
    "after a token": [SSE_HEAD, token("x"), HOLD],
}
WAYS = list(product(("close", "reset", "cancel"), SCRIPTS))


def script(seen: Seen) -> Script:
    """What the user says is what the upstream plays; the system message tells one round from another."""
    return SCRIPTS[seen.json()["messages"][1]["content"]]


async def leave(socket: Client, how: str) -> None:
    if how == "close":
        await socket.connection.close()
    elif how == "reset":
        socket.connection.transport.abort()
    else:
        await socket.send({"type": "response.cancel"})
        assert (await socket.until())[-1]["response"]["status"] == "cancelled"


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors as Linux does")
async def test_a_thousand_aborts_leave_nothing_behind() -> None:
    loop = asyncio.get_running_loop()
    left: dict[str, float] = {}  # by round: when its client left

    async with Upstream(default=script) as upstream:
        text = f'[[backends]]\nname = "up"\nkind = "openai_compatible"\nbase_url = "{upstream.url}"\nmodels = ["m"]'
        text += "\n[responses]\nstore_bytes = 1024\nlog_bytes = 1024\n"  # what is kept on purpose is not left behind
        async with gateway(text) as started:

            async def one(number: int) -> None:
                how, when = random.choice(WAYS)
                async with client(started) as socket:
                    await socket.create("m", when, instructions=f"round {number}")
                    await socket.until("response.in_progress")
                    if when == "after a token":
                        await socket.until("response.output_text.delta")
                    left[f"round {number}"] = loop.time()
                    await leave(socket, how)

            async def many(first: int, rounds: int) -> None:
                for start in range(first, first + rounds, AT_ONCE):
                    await asyncio.gather(*(one(start + number) for number in range(AT_ONCE)))
                for seen in upstream.requests:
                    await seen.gone.wait()

            await many(0, WARM_UP)  # pools and caches reach their size
            gc.collect()
            process = psutil.Process()
            tasks, files, memory = len(asyncio.all_tasks()), process.num_fds(), process.memory_info().rss
            await many(WARM_UP, ROUNDS)
            gc.collect()

            async with asyncio.timeout(10):  # the last sockets' ends take a few turns of the loop
                while started.generations.running or len(asyncio.all_tasks()) > tasks or process.num_fds() > files:
                    await asyncio.sleep(0.01)
            assert process.memory_info().rss - memory < 16 << 20
        late = sorted(seen.gone_at - left[seen.json()["messages"][0]["content"]] for seen in upstream.requests)
        assert len(late) > ROUNDS / 2  # who left at once may never have reached the upstream
        # Clients, gateway and upstream share one loop here: a machine that stops it for a moment delays a few.
        assert late[len(late) * 99 // 100] < NOTICED
        assert late[-1] < 10 * NOTICED
