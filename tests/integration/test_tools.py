"""Tools, log probabilities and structured output through a socket, as an unmodified client meets them."""

from typing import Any

from openai import AsyncOpenAI

from backends.events import Finished, Logprob, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from backends.request import Message, NamedTool, Text, ToolCall, ToolResult, said
from tests.gateway import DONE, client, gateway

LOOK: Any = {
    "type": "function",
    "name": "look",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    "strict": True,
}
CALLS = [
    [ToolCallStart(0, "call_a", "look"), ToolCallStart(1, "call_b", "write")],
    [ToolCallDelta(0, '{"place":'), ToolCallDelta(1, '{"input":"two\\')],
    [ToolCallDelta(0, '"Rome"}'), ToolCallDelta(1, 'nlines"}')],
    DONE,
]


async def test_the_sdk_calls_tools_and_sends_back_what_they_gave() -> None:
    backend = FakeBackend("fake", script=CALLS)
    async with gateway(backends=[backend]) as started:
        sdk = AsyncOpenAI(base_url=started.base_url, api_key="sk-local")
        async with sdk.responses.connect() as connection:
            tools: Any = [LOOK, {"type": "custom", "name": "write"}]
            await connection.response.create(model="fake", input="Go.", tools=tools, tool_choice="required")
            heard = {"call_a": "", "call_b": ""}
            of: dict[str, str] = {}
            async for event in connection:
                if event.type == "response.output_item.added":
                    of[event.item.id] = event.item.call_id  # type: ignore[union-attr,index,assignment]
                elif event.type in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
                    heard[of[event.item_id]] += event.delta
                elif event.type == "response.completed":
                    response = event.response
                    break
            assert heard == {"call_a": '{"place":"Rome"}', "call_b": "two\nlines"}
            look, write = response.output
            assert (look.type, write.type) == ("function_call", "custom_tool_call")

            backend.script = [[TextDelta("Sunny.")], DONE]
            results: Any = [
                {"type": "function_call_output", "call_id": "call_a", "output": "sun"},
                {"type": "custom_tool_call_output", "call_id": "call_b", "output": "written"},
            ]
            named: Any = {"type": "function", "name": "look"}
            await connection.response.create(
                model="fake", input=results, previous_response_id=response.id, tools=tools, tool_choice=named
            )
            async for event in connection:
                if event.type == "response.completed":
                    assert event.response.output_text == "Sunny."
                    break
    first, second = backend.requests
    assert (first.tool_choice, second.tool_choice) == ("required", NamedTool("look"))
    assert [tool.name for tool in first.tools] == ["look", "write"]
    assert second.messages == (
        said("user", "Go."),
        Message(
            "assistant",
            (ToolCall("call_a", "look", '{"place":"Rome"}'), ToolCall("call_b", "write", '{"input":"two\\nlines"}')),
        ),
        Message("user", (ToolResult("call_a", (Text("sun"),)), ToolResult("call_b", (Text("written"),)))),
    )


async def test_log_probabilities_and_an_estimate_reach_the_client() -> None:
    likely = TextDelta("Yes", (Logprob("Yes", -0.5, (("Yes", -0.5), ("No", -1.0))),))
    backend = FakeBackend("fake", script=[[likely], [Finished("stop")]])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(top_logprobs=2, include=["message.output_text.logprobs"])
        events = await socket.until()
    [delta] = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [top["token"] for top in delta["logprobs"][0]["top_logprobs"]] == ["Yes", "No"]
    usage = events[-1]["response"]["usage"]
    assert (usage["output_tokens"], usage["sl_estimated"]) == (1, True)
    assert backend.requests[0].top_logprobs == 2


async def test_a_format_reaches_the_backend_and_stands_in_the_response() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("{}")], [Finished("stop", Usage(1, 1))]])
    form = {"type": "json_schema", "name": "thing", "schema": {"type": "object"}, "strict": True}
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(text="hi", reasoning={"effort": "low"})
        await socket.until()
        await socket.send({"type": "response.create", "model": "fake", "input": "hi", "text": {"format": form}})
        response = (await socket.until())[-1]["response"]
    plain, shaped = backend.requests
    assert (plain.format, plain.reasoning_effort) == (None, "low")
    assert shaped.format is not None
    assert (shaped.format.name, shaped.format.schema, shaped.format.strict) == ("thing", {"type": "object"}, True)
    assert {key: response["text"]["format"][key] for key in form} == form


async def test_a_warm_up_says_nothing_and_can_be_continued() -> None:
    backend = FakeBackend("fake", script=[[TextDelta("Yes.")], DONE])
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.create(text="First.", generate=False)
        events = await socket.until()
        assert [event["type"] for event in events if "item" in event] == []
        assert (events[-1]["type"], events[-1]["response"]["output"]) == ("response.completed", [])
        await socket.create(text="Second.", previous_response_id=events[-1]["response"]["id"])
        await socket.until()
    [request] = backend.requests
    assert request.messages == (said("user", "First."), said("user", "Second."))
