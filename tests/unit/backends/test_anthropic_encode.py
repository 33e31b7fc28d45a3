"""Anthropic's Messages: what we send, and that Anthropic takes it, by its SDK's types and by the fake's rules."""

import base64
from collections.abc import Iterable
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backends import bedrock_encode
from backends.anthropic_encode import encode, prompt_of
from backends.anthropic_models import generation
from backends.anthropic_schema import fitting
from backends.errors import UnsupportedFeature
from backends.json import dumps, loads
from backends.request import (
    Audio,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Opaque,
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
from tests.providers.anthropic_words import COUNTED, MEMBERS, request_of

OLD, NEW = "claude-sonnet-4-5-20250929", "claude-opus-5"
PARAMS = TypeAdapter(MessageCreateParamsStreaming)
PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9, "description": "A city."}}}
WEATHER = Tool("weather", "The weather.", SCHEMA)
SIGNED = Reasoning("Hm.", Opaque("anthropic", "c2ln"))


def ask(*messages: Message, **more: Any) -> Request:
    return Request(more.pop("model", NEW), messages or (said("user", "Hi"),), more.pop("most", 1000), **more)


def sent(*messages: Message, **more: Any) -> dict[str, Any]:
    """The body, once the SDK's types and the fake have taken it."""
    body = encode(ask(*messages, **more))
    accepted(body)
    return body


def accepted(body: dict[str, Any]) -> Request:
    consume(PARAMS.validate_python(loads(dumps(body)), strict=True))
    return request_of(loads(dumps(body)), MEMBERS)


def consume(value: object) -> None:
    """Pydantic checks iterables only as they are read."""
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, Iterable) and not isinstance(value, str):
        for each in value:
            consume(each)


def turns(*messages: Message, **more: Any) -> list[tuple[str, list[Any]]]:
    return [(turn["role"], turn["content"]) for turn in sent(*messages, **more)["messages"]]


# The conversation.


def test_a_conversation() -> None:
    body = sent(said("system", "Be brief."), said("user", "Hi"), said("assistant", "Hello."), said("user", "Go on."))
    assert body["system"] == "Be brief."
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert (body["model"], body["max_tokens"], body["stream"]) == (NEW, 1000, True)
    assert "temperature" not in body


def test_turns_alternate_and_none_is_empty() -> None:
    found = turns(
        said("assistant", "Hello."),
        said("user", "a"),
        said("system", "One"),
        said("user", "b"),
        said("assistant", " "),
        said("user", "\n"),
        Message("assistant", (Reasoning("others'"), Refusal("No. "))),
    )
    assert [role for role, _ in found] == ["user", "assistant", "user", "assistant"]
    assert [block["text"] for block in found[2][1]] == ["a", "b"]
    assert found[3][1] == [{"type": "text", "text": "No."}]


def test_a_system_prompt_alone_is_answered() -> None:
    body = sent(said("system", "Say hello."), said("system", "In French."))
    assert body["system"] == "Say hello.\n\nIn French."
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_results_of_tools_come_first_whatever_their_order() -> None:
    calls = (ToolCall("functions.a:0", "weather", '{"city":"Paris"}'), ToolCall("b", "weather", ""))
    found = turns(
        said("user", "Well?"),
        Message("assistant", calls),
        Message("user", (ToolResult("functions.a:0", (Text("Sunny."), Image("image/png", PIXEL))),)),
        Message("user", (Text("And?"), ToolResult("b", ()))),
        tools=(WEATHER,),
    )
    assert [block["type"] for block in found[2][1]] == ["tool_result", "tool_result", "text"]
    assert [block["id"] for block in found[1][1]] == ["functions_a_0", "b"]
    assert [block["input"] for block in found[1][1]] == [{"city": "Paris"}, {}]
    picture = found[2][1][0]["content"][1]
    assert picture == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert "content" not in found[2][1][1]


@pytest.mark.parametrize(("wrote", "given"), [("{not json", "{not json"), ("[1]", [1]), ('"x"', "x")])
def test_arguments_that_are_no_object_are_put_into_one(wrote: str, given: object) -> None:
    call = Message("assistant", (ToolCall("a", "weather", wrote),))
    found = turns(call, Message("user", (ToolResult("a", (Text("?"),)),)), tools=(WEATHER,))
    assert found[1][1][0]["input"] == {"arguments": given}


def test_documents() -> None:
    pdf, text = File("a.pdf", "application/pdf", "JVBERg=="), File(None, "text/csv", base64.b64encode(b"a,b").decode())
    [(_, blocks)] = turns(Message("user", (pdf, text)))
    assert blocks[0]["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    assert blocks[0]["title"] == "a.pdf"
    assert blocks[1] == {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}}


def test_own_thoughts_go_back_as_they_came_and_others_stay() -> None:
    hidden = Reasoning("", Opaque("anthropic", "redacted.aGlk"))
    theirs = Reasoning("x", Opaque("gemini", "y"))
    parts = (SIGNED, hidden, theirs, Reasoning("unsigned"), Text("So."), SIGNED)
    [_, (_, blocks), _] = turns(said("user", "Hi"), Message("assistant", parts), said("user", "And?"))
    assert blocks == [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "aGlk"},
        {"type": "text", "text": "So."},  # a turn must not end with a thought
    ]


# Tools, and the form of the answer.


@pytest.mark.parametrize(
    ("choice", "theirs"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        (NamedTool("weather"), {"type": "tool", "name": "weather"}),
    ],
)
def test_the_choice_of_a_tool(choice: Any, theirs: dict[str, Any]) -> None:
    body = sent(tools=(WEATHER, Tool("clock")), tool_choice=choice)
    assert body["tool_choice"] == theirs
    assert body["tools"][1] == {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
    alone = sent(tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=False)["tool_choice"]
    assert alone == (theirs if choice == "none" else theirs | {"disable_parallel_tool_use": True})


def test_a_strict_tool_has_a_closed_schema() -> None:
    [tool] = sent(tools=(Tool("weather", None, SCHEMA, strict=True),))["tools"]
    assert (tool["strict"], tool["input_schema"]["additionalProperties"]) == (True, False)


def test_what_was_called_is_declared_also_without_tools() -> None:
    call = Message("assistant", (SIGNED, ToolCall("a", "weather", "{}")))
    body = sent(said("user", "Hi"), call, Message("user", (ToolResult("a", (Text("Sunny."),)),)))
    assert [tool["name"] for tool in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "none"}


def test_a_schema_is_made_to_fit() -> None:
    schema = sent(format=JsonFormat(SCHEMA))["output_config"]["format"]["schema"]
    assert schema == {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city.\n\n{maxLength: 9}"}},
        "additionalProperties": False,
    }


def test_a_schema_inside_a_schema_is_made_to_fit() -> None:
    inner = {"type": "object", "properties": {"minimum": {"type": "integer", "minimum": 1}}}
    given = {"oneOf": [{"$ref": "#/$defs/a"}, {"type": "array", "items": inner, "minItems": 2}], "$defs": {"a": inner}}
    closed = {**inner, "additionalProperties": False}
    closed["properties"] = {"minimum": {"type": "integer", "description": "{minimum: 1}"}}
    array = {"type": "array", "items": closed, "description": "{minItems: 2}"}
    assert fitting(given, "x") == {"anyOf": [{"$ref": "#/$defs/a"}, array], "$defs": {"a": closed}}


OPEN = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": Prompt("Once")}, "prompt"),
        ({"top_logprobs": 0}, "top_logprobs"),
        ({"format": JsonFormat()}, "text.format"),
        ({"format": JsonFormat(OPEN)}, "text.format"),
        ({"stop": ("a", "\n")}, "stop"),
        ({"messages": (Message("user", (Audio("wav", "aa"),)),)}, "input"),
        ({"messages": (Message("user", (Image("image/tiff", "aa"),)),)}, "input"),
        ({"messages": (Message("user", (File("a", "application/zip", "aa"),)),)}, "input"),
    ],
)
def test_what_it_has_no_place_for_is_refused(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        encode(Request(**({"model": NEW, "messages": (said("user", "Hi"),), "max_output_tokens": 9} | asked)))
    assert refused.value.param == param


def test_extras_that_are_its_own_are_handed_on() -> None:
    body = sent(extras={"cache_control": {"type": "ephemeral"}, "cache_salt": "x"})
    assert body["cache_control"] == {"type": "ephemeral"}
    assert "cache_salt" not in body


def test_what_is_counted() -> None:
    body = prompt_of(encode(ask(tools=(WEATHER,), stop=("a",), reasoning_effort="low")))
    assert body.keys() == {"model", "messages", "tools", "tool_choice", "thinking", "output_config"}
    request_of(body, COUNTED)


# Models by their generation.


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-sonnet-4-5-20250929", (4, 5)),
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-opus-4@20250514", (4, 0)),
        ("claude-opus-4-1", (4, 1)),
        ("claude-3-7-sonnet-20250219", (3, 7)),
        ("claude-3-haiku@20240307", (3, 0)),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", (4, 5)),
        ("anthropic/claude-opus-4.6", (4, 6)),
        ("claude-opus-5-5", (5, 5)),
        ("claude-instant-1.2", (1, 2)),
        ("claude-mythos-preview", (99, 0)),
        ("fake", (99, 0)),
    ],
)
def test_the_generation_of_a_model(model: str, version: tuple[int, int]) -> None:
    assert generation(model) == version


@pytest.mark.parametrize(
    ("model", "effort", "most", "thinking", "level"),
    [
        (OLD, "high", 100_000, {"type": "enabled", "budget_tokens": 32_768}, None),
        (OLD, "medium", 100_000, {"type": "enabled", "budget_tokens": 16_384}, None),
        (OLD, "low", 4000, {"type": "enabled", "budget_tokens": 2000}, None),
        (OLD, "low", 2000, None, None),  # no room: the answer needs half of it
        (OLD, "none", 100_000, None, None),
        ("claude-3-5-haiku-20241022", "high", 100_000, None, None),
        ("claude-opus-4-6", "xhigh", 9, {"type": "adaptive", "display": "summarized"}, "high"),
        (NEW, "xhigh", 9, {"type": "adaptive", "display": "summarized"}, "xhigh"),
        (NEW, "minimal", 9, {"type": "adaptive", "display": "summarized"}, "low"),
        (NEW, "a new word", 9, {"type": "adaptive", "display": "summarized"}, "high"),
        (NEW, "none", 9, {"type": "disabled"}, None),
        ("claude-fable-5", "none", 9, {"type": "adaptive", "display": "summarized"}, "low"),
    ],
)
def test_how_hard_it_thinks(model: str, effort: str, most: int, thinking: Any, level: str | None) -> None:
    body = sent(model=model, reasoning_effort=effort, most=most)
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == level


def test_a_budget_is_left_out_where_it_would_be_refused() -> None:
    hard = {"model": OLD, "reasoning_effort": "high", "most": 9000, "tools": (WEATHER,)}
    assert "thinking" in sent(**hard)
    assert "thinking" not in sent(**hard, tool_choice="required")
    called, result = ToolCall("a", "weather", "{}"), Message("user", (ToolResult("a", (Text("Sunny."),)),))
    begun = said("user", "Hi")
    assert "thinking" not in sent(begun, Message("assistant", (called,)), result, **hard)
    assert "thinking" in sent(begun, Message("assistant", (SIGNED, called)), result, **hard)
    newer = hard | {"model": NEW}
    assert "thinking" in sent(begun, Message("assistant", (called,)), result, **newer, tool_choice="required")


def test_knobs_are_those_of_the_model() -> None:
    wanted = Sampling(temperature=1.7, top_p=0.9, top_k=5, seed=1, presence_penalty=1.0)

    def knobs(**more: Any) -> dict[str, Any]:
        body = encode(ask(sampling=wanted, **more))
        return {name: body[name] for name in ("temperature", "top_p", "top_k", "seed") if name in body}

    assert knobs(model=OLD) == knobs(model="claude-sonnet-4-6") == {"temperature": 1.0, "top_k": 5}
    assert knobs(model=OLD, reasoning_effort="high", most=9000) == {}
    assert knobs(model=NEW) == {}
    body = encode(ask(model=OLD, sampling=Sampling(top_p=0.9)))
    assert (body["top_p"], "temperature" in body) == (0.9, False)


# Whatever is said, Anthropic takes it.

words = st.sampled_from(["", " ", "\n", "Hello", "So. ", "é"])
texts = words.map(Text)
pictures = st.just(Image("image/png", PIXEL))
thoughts = st.builds(
    Reasoning,
    words,
    st.none() | st.builds(Opaque, st.sampled_from(["anthropic", "gemini"]), st.sampled_from(["c2ln", "redacted.aA=="])),
)
plain = st.one_of(
    st.builds(Message, st.just("system"), st.tuples(texts)),
    st.builds(Message, st.just("user"), st.lists(texts | pictures, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(texts | thoughts, max_size=3).map(tuple)),
).map(lambda message: (message,))


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Message, ...]:
    """Calls, and the results of all of them."""
    ids = draw(st.lists(st.text("ab:.", min_size=1, max_size=9), min_size=1, max_size=3, unique_by=len))
    calls = [ToolCall(each, "weather", draw(st.sampled_from(["", "{}", '{"a":1}', "{", "[]"]))) for each in ids]
    results = [Message("user", (ToolResult(each, tuple(draw(st.lists(texts, max_size=2)))),)) for each in ids]
    return (Message("assistant", (*draw(st.lists(texts | thoughts, max_size=2)), *calls)), *results)


requests = st.builds(
    Request,
    st.sampled_from([OLD, NEW, "claude-sonnet-4-6", "claude-3-opus-20240229", "claude-fable-5"]),
    st.lists(plain | exchanges(), max_size=5).map(lambda groups: tuple(each for group in groups for each in group)),
    st.sampled_from([1, 3000, 64_000]),
    sampling=st.just(Sampling(top_p=0.5)),
    tools=st.sampled_from([(), (WEATHER,), (Tool("weather", None, SCHEMA, strict=True), Tool("clock"))]),
    tool_choice=st.sampled_from(["auto", "none", "required", NamedTool("weather")]),
    reasoning_effort=st.none() | st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
)


def users_words(request: Request) -> list[str]:
    parts = [part for message in request.messages if message.role == "user" for part in message.parts]
    return [part.text for part in parts if isinstance(part, Text) and part.text.strip("\n .")]


@given(requests)
def test_every_conversation_is_accepted_and_no_word_is_lost(request: Request) -> None:
    found = accepted(encode(request))
    roles = [message.role for message in found.messages if message.role != "system"]
    assert roles == [("user", "assistant")[i % 2] for i in range(len(roles))]
    assert found.max_output_tokens == request.max_output_tokens
    assert users_words(found) == users_words(request)


@pytest.mark.parametrize("model", ["claude-opus-5", "anthropic.claude-opus-5"])
def test_every_call_has_an_id_of_its_own_also_where_a_server_counted_anew(model: str) -> None:
    """ "`tool_use` ids must be unique": an answer of another backend may have begun with call_0 again."""
    result = Message("user", (ToolResult("call_0", (Text("noon"),)),))
    call = Message("assistant", (ToolCall("call_0", "clock", "{}"),))
    messages = (said("user", "Hi"), call, result, call, result)
    sent = (bedrock_encode.encode if "." in model else encode)(Request(model, messages, 16))["messages"]
    blocks = [block.get("toolUse", block.get("toolResult", block)) for turn in sent[1:] for block in turn["content"]]
    ids = [block.get("id") or block.get("tool_use_id") or block["toolUseId"] for block in blocks]
    assert ids[0] == ids[1] == "call_0"
    assert ids[2] == ids[3] != "call_0"
