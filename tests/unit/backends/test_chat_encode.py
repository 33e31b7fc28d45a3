"""Chat and raw completions: how parts, tools and formats are written down."""

from typing import Any

import pytest

from backends.chat_encode import encode
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Part,
    Prompt,
    Reasoning,
    Refusal,
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)

CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')
THEIR_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
}
PICTURE = Image("image/png", "aGk=")
THEIR_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def messages(*messages: Message) -> Any:
    return encode(Request("m", messages, 16))["messages"]


def body(**more: Any) -> dict[str, Any]:
    return encode(Request("m", (said("user", "Hi"),), 16, **more))


@pytest.mark.parametrize(
    ("part", "theirs"),
    [
        (PICTURE, THEIR_PICTURE),
        (
            Image("image/webp", "aGk=", "low"),
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,aGk=", "detail": "low"}},
        ),
        (Audio("wav", "aGk="), {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}),
        (
            File("a.pdf", "application/pdf", "aGk="),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        ),
        (File(None, "text/plain", "aGk="), {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}}),
    ],
)
def test_parts_that_are_not_text(part: Part, theirs: dict[str, Any]) -> None:
    assert messages(Message("user", (Text("Look:"), part))) == [
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, theirs]}
    ]


@pytest.mark.parametrize(
    ("parts", "content"),
    [((), ""), ((Text(""),), ""), ((Text("a"), Text("b")), "a\nb"), ((Reasoning("hm"), Text("a")), "a")],
)
def test_text_alone_stays_a_plain_string(parts: tuple[Part, ...], content: str) -> None:
    for role in ("system", "user", "assistant"):
        assert messages(Message(role, parts)) == [{"role": role, "content": content}]


def test_what_was_refused_is_what_was_said() -> None:
    assert messages(Message("assistant", (Refusal("No."),))) == [{"role": "assistant", "content": "No."}]


def test_what_was_only_thought_is_left_out() -> None:
    assert messages(said("user", "Hi"), Message("assistant", (Reasoning("Hm"),))) == [{"role": "user", "content": "Hi"}]


def test_calls_and_their_results_in_order() -> None:
    second = ToolCall("call_2", "clock", "{}")
    found = messages(
        Message("assistant", (Reasoning("hm"), Text("Let me see."), CALL, second)),
        Message("user", (ToolResult("call_1", (Text("Sunny"),)), ToolResult("call_2", ()), Text("And now?"))),
    )
    assert found == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                THEIR_CALL,
                {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": ""},
        {"role": "user", "content": "And now?"},
    ]


def test_calls_without_words() -> None:
    assert messages(Message("assistant", (CALL,))) == [
        {"role": "assistant", "content": None, "tool_calls": [THEIR_CALL]}
    ]


def test_words_before_a_result_stay_before_it() -> None:
    found = messages(Message("user", (Text("Here:"), ToolResult("call_1", (Text("Sunny"),)))))
    assert [message["role"] for message in found] == ["user", "tool"]


def test_a_picture_in_a_result_follows_the_results() -> None:
    result = ToolResult("call_1", (Text("A photo"), PICTURE))
    assert messages(Message("user", (result, ToolResult("call_2", (Text("b"),))))) == [
        {"role": "tool", "tool_call_id": "call_1", "content": "A photo"},
        {"role": "tool", "tool_call_id": "call_2", "content": "b"},
        {"role": "user", "content": [THEIR_PICTURE]},
    ]


@pytest.mark.parametrize(
    ("choice", "theirs"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        (NamedTool("weather"), {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools(choice: Any, theirs: Any) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = (Tool("weather", "Of a city.", schema, strict=True), Tool("clock"))
    found = body(tools=tools, tool_choice=choice, parallel_tool_calls=False)
    assert found["tool_choice"] == theirs
    assert found["parallel_tool_calls"] is False
    assert found["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "Of a city.", "parameters": schema, "strict": True},
        },
        {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
    ]


def test_without_tools_nothing_is_said_of_them() -> None:
    assert body(parallel_tool_calls=True, tool_choice="none").keys() == body().keys()


@pytest.mark.parametrize(
    ("form", "theirs"),
    [
        (JsonFormat({"type": "object"}), {"name": "answer", "schema": {"type": "object"}}),
        (
            JsonFormat({}, "x", "An x.", strict=False),
            {"name": "x", "schema": {}, "description": "An x.", "strict": False},
        ),
    ],
)
def test_formats(form: JsonFormat, theirs: dict[str, Any]) -> None:
    assert body(format=form)["response_format"] == {"type": "json_schema", "json_schema": theirs}
    assert body(format=JsonFormat())["response_format"] == {"type": "json_object"}


def test_effort_and_log_probabilities() -> None:
    found = body(reasoning_effort="low", top_logprobs=0)
    # One more than was asked for: with none, llama.cpp's server says nothing of the chosen tokens either.
    assert (found["reasoning_effort"], found["logprobs"], found["top_logprobs"]) == ("low", True, 1)


def test_a_raw_prompt() -> None:
    request = Request("m", (), 16, ("END",), Sampling(seed=7), prompt=Prompt("Once", " end."), top_logprobs=2)
    assert encode(request) == {
        "model": "m",
        "prompt": "Once",
        "suffix": " end.",
        "max_tokens": 16,
        "stop": ["END"],
        "seed": 7,
        "logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "suffix" not in encode(Request("m", (), 16, prompt=Prompt("Once")))
