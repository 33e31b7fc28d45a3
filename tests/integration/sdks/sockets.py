"""What any OpenAI SDK for Python with lanes does on the socket: sockets.py BASE_URL CUTTABLE_BASE_URL. Prints JSON.

Its first line is "half", when half an answer came over the second address: the connection may be cut then.
"""

import asyncio
import json
import sys
from uuid import uuid4

from openai import AsyncOpenAI, OpenAI

LANES = [f"lane{number}" for number in range(5)]
ENDS = {"response.completed", "response.incomplete", "response.failed", "error"}


def synchronous(base_url):
    said = ""
    with OpenAI(base_url=base_url, api_key="sk-local").responses.connect() as connection:
        connection.response.create(model="fake", input="Say hello.", stream_id="main")
        for event in connection:
            if event.type == "response.output_text.delta":
                said += event.delta
            elif event.type in ENDS:
                return [said, event.type, event.response.output_text, event.response.usage.output_tokens]
    raise SystemExit("the socket closed before the answer was complete")


async def asynchronous(base_url):
    said = ""
    async with AsyncOpenAI(base_url=base_url, api_key="sk-local").responses.connect() as connection:
        await connection.response.create(model="fake", input="Say hello.")
        async for event in connection:
            if event.type == "response.output_text.delta":
                said += event.delta
            elif event.type in ENDS:
                return [said, event.type, event.response.output_text, event.response.usage.output_tokens]
    raise SystemExit("the socket closed before the answer was complete")


async def five_lanes(base_url):
    said, ended = dict.fromkeys(LANES, ""), []
    async with AsyncOpenAI(base_url=base_url, api_key="sk-local").responses.connect() as connection:
        for lane in LANES:
            await connection.response.create(model="fake", input="hi", stream_id=lane)
        async for event in connection:
            if event.type == "response.output_text.delta":
                said[event.stream_id] += event.delta
            elif event.type in ENDS:
                ended.append(event.type)
                if len(ended) == len(LANES):
                    return [list(said.values()), sorted(set(ended))]
    raise SystemExit("the socket closed before the answer was complete")


async def five_lanes_of_the_helper(base_url):
    try:
        from openai.lib.responses_websocket import AsyncResponsesWebSocketSession, ResponsesWebSocketLimits
    except ImportError:
        return None  # a version before the helper
    limits = ResponsesWebSocketLimits(
        max_lanes=8, max_events_per_lane=100, max_events=1000, max_bytes_per_lane=1 << 20, max_bytes=1 << 22
    )
    sdk = AsyncOpenAI(base_url=base_url, api_key="sk-local")
    async with sdk.responses.connect() as connection, AsyncResponsesWebSocketSession(connection, limits=limits) as all_:
        lanes = [all_.lane(name) for name in LANES]
        for lane in lanes:
            await lane.send({"type": "response.create", "model": "fake", "input": "hi"})
        return [final.output_text for final in await asyncio.gather(*(lane.get_final_response() for lane in lanes))]


async def resumed(base_url):
    """Tells whoever cuts that half came, and comes back where it was."""
    key, last, said, times = uuid4().hex, 0, "", 0

    def again(_):
        nonlocal times
        times += 1
        return {"extra_query": {"sl_session": key, "sl_after": str(last)}}

    async with AsyncOpenAI(base_url=base_url, api_key="sk-local").responses.connect(
        extra_query={"sl_session": key}, on_reconnecting=again, initial_delay=0.05
    ) as connection:
        await connection.send(
            {"type": "response.create", "model": "long", "input": "hi", "stream_id": "chat1", "event_id": "e1"}
        )
        async for event in connection:
            last = getattr(event, "sl_seq", last)
            if event.type == "response.output_text.delta":
                half = len(said) < 200
                said += event.delta
                if half and len(said) >= 200:
                    print("half", flush=True)
            elif event.type in ENDS:
                return [said, event.type, times > 0]
    raise SystemExit("the socket closed before the answer was complete")


async def main(base_url, cuttable):
    found = {
        "resumed": await resumed(cuttable),
        "async": await asynchronous(base_url),
        "lanes": await five_lanes(base_url),
        "helper": await five_lanes_of_the_helper(base_url),
        "sync": await asyncio.to_thread(synchronous, base_url),
    }
    print(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
