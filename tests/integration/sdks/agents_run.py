"""The OpenAI Agents SDK over its WebSocket model: agents_run.py BASE_URL. Prints JSON."""

import asyncio
import json
import sys

from agents import Agent, function_tool, responses_websocket_session, set_tracing_disabled

CALLED = []


@function_tool
def weather(place: str) -> str:
    """The weather at a place."""
    CALLED.append(place)
    return f"sunny in {place}"


async def main(base_url):
    set_tracing_disabled(disabled=True)  # it would be sent to OpenAI
    agent = Agent(name="Assistant", instructions="Be brief.", model="fake", tools=[weather])
    async with responses_websocket_session(base_url=base_url, api_key="sk-local") as session:
        whole = await session.run(agent, "How is the weather?")
        streamed = session.run_streamed(agent, "And now?", previous_response_id=whole.last_response_id)
        deltas = [
            event.data.delta
            async for event in streamed.stream_events()
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
        ]
    usage = whole.context_wrapper.usage
    print(
        json.dumps(
            {
                "whole": whole.final_output,
                "called": CALLED,
                "requests": usage.requests,
                "tokens": usage.output_tokens,
                "streamed": "".join(deltas),
                "final": streamed.final_output,
            }
        )
    )


asyncio.run(main(*sys.argv[1:]))
