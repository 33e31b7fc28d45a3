"""The socket as a client sees it: the events of an answer, in order and whole."""

from backends.events import Finished, ReasoningDelta, RefusalDelta, TextDelta, Usage
from backends.fake import FakeBackend
from tests.gateway import DONE, answers, client, gateway, text_of


async def test_every_event_of_a_text_answer_comes_in_order_and_whole() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.create(stream_id="main", temperature=0.5, metadata={"a": "b"}, instructions="Be brief.")
        events = await socket.until()
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    numbers = [event["sequence_number"] for event in events]
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert {event["stream_id"] for event in events} == {"main"}
    created, item_added, part_added, text_done = events[0], events[2], events[3], events[-4]
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert item_added["item"]["status"] == "in_progress"
    assert part_added["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert text_of(events) == text_done["text"] == "Hello wörld"
    for event in events[3:-2]:
        assert (event["item_id"], event["output_index"], event["content_index"]) == (item_added["item"]["id"], 0, 0)
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert response["output"] == [events[-2]["item"]]
    assert response["output"][0]["content"][0]["text"] == "Hello wörld"
    assert (response["temperature"], response["metadata"]) == (0.5, {"a": "b"})
    assert response["usage"]["input_tokens"] == 3
    assert response["usage"]["total_tokens"] == 5
    assert response["id"] == created["response"]["id"]


async def test_without_a_stream_id_no_event_has_one() -> None:
    async with gateway(backends=[answers()]) as started, client(started) as socket:
        await socket.create()
        assert all("stream_id" not in event for event in await socket.until())


async def test_reasoning_and_refusal_are_items_and_parts_of_their_own() -> None:
    script = [[ReasoningDelta("hm")], [TextDelta("I")], [RefusalDelta("no")], DONE]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started, client(started) as socket:
        await socket.create()
        response = (await socket.until())[-1]["response"]
    reasoning, message = response["output"]
    assert reasoning["type"] == "reasoning"
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][1]["refusal"] == "no"


async def test_an_answer_cut_at_its_limit_is_incomplete_and_says_why() -> None:
    script = [[TextDelta("Hel")], [Finished("length", Usage(1, 1))]]
    async with gateway(backends=[FakeBackend("fake", script=script)]) as started, client(started) as socket:
        await socket.create(max_output_tokens=1)
        response = (await socket.until("response.incomplete"))[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


async def test_what_the_client_asks_reaches_the_backend() -> None:
    backend = answers()
    async with gateway(backends=[backend]) as started, client(started) as socket:
        await socket.send(
            {
                "type": "response.create",
                "model": "fake",
                "instructions": "Be brief.",
                "input": [
                    {"role": "developer", "content": "D"},
                    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
                    {"type": "reasoning", "id": "rs_1", "summary": []},
                    {"role": "user", "content": "c"},
                ],
                "max_output_tokens": 7,
                "temperature": 0.25,
                "top_p": 0.5,
                "seed": 3,
                "stop": "x",
                "stream": True,
                "store": False,
                "prompt_cache_key": "k",
            }
        )
        await socket.until()
    [request] = backend.requests
    said = [(message.role, *(part.text for part in message.parts)) for message in request.messages]
    assert said == [("system", "Be brief."), ("system", "D"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    assert (request.max_output_tokens, request.stop, request.sampling.seed) == (7, ("x",), 3)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.25, 0.5)


async def test_a_default_bound_on_the_answer_always_exists() -> None:
    backend = answers()
    async with gateway("limits.default_max_output_tokens = 77", [backend]) as started, client(started) as socket:
        await socket.create()
        assert (await socket.until())[-1]["response"]["max_output_tokens"] == 77
    assert backend.requests[0].max_output_tokens == 77
