"""A create, as clients write it, becomes one request; what cannot be done is an error that names it."""

from copy import deepcopy
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.json import dumps, loads
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    said,
)
from proxy.create import Create
from proxy.errors import BadParameter, ProxyError, Unsupported
from proxy.wire.responses_input import messages_of
from proxy.wire.responses_object import response_object
from proxy.wire.responses_request import parse_create
from tests.unit.proxy.wire.openai_types import INPUT_ITEMS, INPUT_MESSAGE, check_response
from tests.unit.proxy.wire.responses_requests import LOOK, PATCH, PIXEL, REQUESTS

SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = st.sampled_from(
    [
        "message",
        "function_call",
        "custom",
        "function",
        "input_image",
        "allowed_tools",
        "json_schema",
        "data:;base64,",
        "",
    ]
)
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=3),
    max_leaves=6,
)


def parsed(**members: Any) -> Create:
    return parse_create({"model": "m", "input": "hi", **members})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@given(data=st.data(), name=st.sampled_from(sorted(REQUESTS)), http=st.booleans())
def test_a_real_request_that_was_damaged_is_read_or_refused_never_a_crash(
    data: st.DataObject, name: str, http: bool
) -> None:
    body = deepcopy(REQUESTS[name])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(body)))
        container[key] = data.draw(VALUES)
    try:
        create = parse_create(loads(dumps(body)), http=http)
    except ProxyError as error:
        assert str(error).endswith((".", "?"))
    else:
        assert messages_of(create.items) == create.request.messages
        dumps([*create.items, create.shown])


@pytest.mark.parametrize("name", REQUESTS)
def test_items_and_the_response_object_have_openais_types(name: str) -> None:
    create = parse_create(REQUESTS[name])
    assert messages_of(loads(dumps(create.items))) == create.request.messages
    assert len({item["id"] for item in create.items}) == len(create.items)
    for item in create.items:
        if item["type"] == "message" and any(part["type"] == "input_audio" for part in item["content"]):
            continue  # taken by OpenAI's chat completions; its Responses type does not show it
        kind = INPUT_ITEMS[item["type"]] if item.get("role") in (None, "assistant") else INPUT_MESSAGE
        kind.model_validate(item, strict=True)
    shown = response_object(create, create.request, "resp_1", 1_800_000_000)
    ended = {"status": "completed", "error": None, "incomplete_details": None, "output": [], "usage": None}
    check_response({**shown, **ended})


def test_a_conversation_with_tools() -> None:
    create = parse_create(REQUESTS["an agent on its socket"])
    assert create.request.messages == (
        said("user", "What is the weather in Rome and Oslo?"),
        Message(
            "assistant",
            (
                Text("I look."),
                ToolCall("call_1", "get_weather", '{"place": "Rome"}'),
                ToolCall("call_2", "get_weather", '{"place": "Oslo"}'),
            ),
        ),
        Message("user", (ToolResult("call_1", (Text("sunny"),)), ToolResult("call_2", (Text("snow"),)))),
    )
    [tool] = create.request.tools
    assert (tool.name, tool.parameters, tool.strict) == (LOOK["name"], LOOK["parameters"], True)
    assert create.request.reasoning_effort == "high"
    assert create.request.parallel_tool_calls is True
    assert (create.store, create.request.top_logprobs, create.shown["metadata"]) == (False, None, {"trace": "abc"})
    assert response_object(create, create.request, "resp_1", 1)["truncation"] == "disabled", "auto has no effect"


def test_a_custom_tool_is_a_function_of_one_string_to_the_model() -> None:
    create = parse_create(REQUESTS["a coding agent"])
    assert create.custom_tools == {"apply_patch"}
    [tool] = create.request.tools  # the other one is not allowed
    assert tool.parameters is not None
    assert tool.parameters["required"] == ["input"]
    assert "start: /.+/" in (tool.description or "")
    assert create.request.tool_choice == "required"
    assert [shown["name"] for shown in create.shown["tools"]] == ["apply_patch", "get_weather"]
    call = create.request.messages[2].parts[0]
    assert isinstance(call, ToolCall)
    assert loads(call.arguments) == {"input": '*** Begin\n"x"'}
    assert create.request.messages[0] == said("system", "Be brief.")
    assert (create.previous_response_id, create.shown["max_tool_calls"]) == ("resp_1", 3)


def test_tools_in_a_namespace_have_its_name_before_theirs() -> None:
    create = parse_create(REQUESTS["an agent whose tools are in namespaces"])
    assert [tool.name for tool in create.request.tools] == ["get_weather", "crew__get_weather", "crew__apply_patch"]
    assert create.custom_tools == {"crew__apply_patch"}
    assert create.namespaces == {"crew__get_weather": "crew", "crew__apply_patch": "crew"}
    assert [tool["name"] for tool in create.shown["tools"]] == ["get_weather", "crew"]
    assert [tool["name"] for tool in create.shown["tools"][1]["tools"]] == ["get_weather", "apply_patch"]
    assert create.request.messages[1].parts == (ToolCall("c1", "crew__get_weather", "{}"),)


@pytest.mark.parametrize("inside", [{"type": "web_search"}, {"type": "namespace", "name": "n", "tools": []}])
def test_a_namespace_holds_tools_of_the_client_alone(inside: dict[str, Any]) -> None:
    space = {"type": "namespace", "name": "crew", "tools": [inside]}
    with pytest.raises(Unsupported) as refused:
        parse_create({"model": "m", "input": "hi", "tools": [space]})
    assert refused.value.param == "tools[0].tools[0]"


def test_pictures_papers_and_sound_are_inside_the_request() -> None:
    first, second, _ = parse_create(REQUESTS["pictures, papers and sound"]).request.messages
    assert first.parts == (
        Text("What is this?"),
        Image("image/png", PIXEL, "low"),
        File("a.pdf", "application/pdf", "JVBERg=="),
        File("b.PDF", "application/pdf", "JVBERg=="),
        Audio("wav", "UklGRg=="),
    )
    assert second.parts == (Refusal("I cannot say."),)


def test_reasoning_is_kept_where_it_can_be_read_and_something_follows_it() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    answer = {"role": "assistant", "content": "Yes."}
    question = {"role": "user", "content": "Sure?"}
    assert parsed(input=[thought, answer, question, thought, question]).request.messages == (
        Message("assistant", (Reasoning("Hm."), Text("Yes."))),
        said("user", "Sure?"),
        said("user", "Sure?"),
    )


def test_a_call_that_was_cut_is_left_out_unless_somebody_ran_it() -> None:
    cut = {"id": "fc", "type": "function_call", "call_id": "c", "name": "f", "arguments": "{", "status": "incomplete"}
    ran = {"id": "o", "type": "function_call_output", "call_id": "c", "output": "1", "status": "completed"}
    assert messages_of([cut]) == ()
    assert [type(message.parts[0]) for message in messages_of([cut, ran])] == [ToolCall, ToolResult]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, "auto"), ("none", "none"), ("required", "required"),
        ({"type": "function", "name": "get_weather"}, NamedTool("get_weather")),
        ({"type": "function", "function": {"name": "get_weather"}}, NamedTool("get_weather")),
        ({"type": "custom", "name": "apply_patch"}, NamedTool("apply_patch")),
    ],
)  # fmt: skip
def test_tool_choice(choice: Any, wanted: Any) -> None:
    assert parsed(tools=[LOOK, PATCH], tool_choice=choice).request.tool_choice == wanted


def test_the_shown_choice_is_what_was_checked() -> None:
    tools = [{"type": "function", "name": "get_weather", "more": {"than": "needed"}}]
    shown = parsed(tools=[LOOK], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": tools}).shown
    assert shown["tool_choice"]["tools"] == [{"type": "function", "name": "get_weather"}]


def test_formats() -> None:
    assert parsed(text={"format": {"type": "text"}}).request.format is None
    assert parsed(text={"format": {"type": "json_object"}}).request.format == JsonFormat()
    assert parse_create(REQUESTS["a structured extraction"]).request.format == JsonFormat(
        {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}, "person", None, True
    )


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ({}, None), ({"top_logprobs": 0}, None), ({"top_logprobs": 5}, 5),
        ({"include": ["message.output_text.logprobs"]}, 0),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, 3),
    ],
)  # fmt: skip
def test_log_probabilities(members: dict[str, Any], asked: int | None) -> None:
    assert parsed(**members).request.top_logprobs == asked


def test_items_without_an_id_are_given_one() -> None:
    numbers = count(1)
    body = {"model": "m", "input": [{"role": "user", "content": "a", "id": "mine"}, {"role": "user", "content": "b"}]}
    create = parse_create(body, new_id=lambda prefix: f"{prefix}_{next(numbers)}")
    assert [item["id"] for item in create.items] == ["mine", "msg_1"]


def test_a_turn_may_be_empty_where_something_is_continued_or_warmed_up() -> None:
    assert parsed(input=None, previous_response_id="resp_1").request.messages == ()
    assert parsed(input=[], generate=False).generate is False
    with pytest.raises(BadParameter, match="'input' is missing"):
        parsed(input=[])


def test_background_is_for_http() -> None:
    assert parse_create({"model": "m", "input": "hi", "background": True}, http=True).background
    with pytest.raises(Unsupported, match="POST /v1/responses"):
        parsed(background=True)
    with pytest.raises(BadParameter, match="'store'"):
        parse_create({"model": "m", "input": "hi", "background": True, "store": False}, http=True)


def content(part: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [part]}]}


DEEP: dict[str, Any] = {}
for _ in range(50):
    DEEP = {"properties": {"x": DEEP}}


@pytest.mark.parametrize(
    ("members", "error", "param", "words"),
    [
        ({"tools": [{"type": "web_search"}]}, Unsupported, "tools[0]", "web_search"),
        ({"tools": [LOOK, {"type": "mcp", "server_label": "x"}]}, Unsupported, "tools[1]", "mcp"),
        ({"tools": [LOOK, LOOK]}, BadParameter, "tools", "get_weather"),
        ({"tools": [{**LOOK, "name": "a b"}]}, BadParameter, "tools[0].name", "1 to 128"),
        ({"tools": [{**LOOK, "parameters": DEEP}]}, BadParameter, "tools[0].parameters", "deeper"),
        ({"tools": [{**LOOK, "parameters": {"x": "y" * 200_000}}]}, BadParameter, "tools[0].parameters", "longer"),
        ({"tools": [{**LOOK, "name": f"t{n}"} for n in range(129)]}, BadParameter, "tools", "128"),
        ({"tools": [{"type": "custom", "name": "x", "format": {"type": "grammar"}}]}, BadParameter, "tools[0].format",
         "syntax"),
        ({"tool_choice": "required"}, BadParameter, "tool_choice", "no 'tools'"),
        ({"tool_choice": "maybe"}, BadParameter, "tool_choice", "maybe"),
        ({"tool_choice": {"type": "file_search"}}, Unsupported, "tool_choice", "file_search"),
        ({"tools": [LOOK], "tool_choice": {"type": "function", "name": "x"}}, BadParameter, "tool_choice", "'x'"),
        ({"text": {"format": {"type": "yaml"}}}, Unsupported, "text.format", "yaml"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, BadParameter, "text.format.schema", "missing"),
        ({"include": ["everything"]}, BadParameter, "include[0]", "everything"),
        ({"metadata": {"a": "x" * 513}}, BadParameter, "metadata", "512"),
        ({"metadata": {"x" * 65: ""}}, BadParameter, "metadata", "Invalid key in 'metadata': expected"),
        ({"input": [{"id": "a", "content": "x", "role": "user"}] * 2}, BadParameter, "input[1].id", "Two items"),
        ({"metadata": {f"{n}": "" for n in range(17)}}, BadParameter, "metadata", "16"),
        ({"top_logprobs": 21}, BadParameter, "top_logprobs", "20"),
        ({"stop": ""}, BadParameter, "stop", "empty"),
        ({"tempurature": 1}, BadParameter, "tempurature", "'temperature'"),
        ({"input": [{"id": "msg_1"}]}, Unsupported, "input[0]", "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, Unsupported, "input[0]", "item itself"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, Unsupported, "input[0]", "web_search_call"),
        ({"input": [{"content": "hi"}]}, BadParameter, "input[0].role", "'input[0].role' is missing."),
        ({"input": ["hi"]}, BadParameter, "input[0]", "an object"),
        ({"input": [{"type": "reasoning", "summary": []}]}, BadParameter, "input", "no message"),
        (content({"type": "input_image", "image_url": "https://x.example/a.png"}), Unsupported,
         "input[0].content[0].image_url", "data itself"),
        (content({"type": "input_image", "image_url": "data:image/png,abc"}), BadParameter,
         "input[0].content[0].image_url", "base64"),
        (content({"type": "input_image", "image_url": "data:image/png;base64,a b="}), BadParameter,
         "input[0].content[0].image_url", "not valid"),
        (content({"type": "input_image", "file_id": "file_1"}), Unsupported, "input[0].content[0].file_id", "stored"),
        (content({"type": "input_file", "file_url": "https://x.example"}), Unsupported,
         "input[0].content[0].file_url", "file_data"),
        (content({"type": "input_video"}), Unsupported, "input[0].content[0]", "input_video"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_named(members: dict[str, Any], error: type[ProxyError], param: str, words: str) -> None:
    with pytest.raises(error) as raised:
        parsed(**members)
    assert raised.value.param == param
    assert words in str(raised.value)
