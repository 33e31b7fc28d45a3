"""The Responses API as we ask it: what is sent, what is left out, and that our own gateway reads the same request."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import UnsupportedFeature
from backends.openai_encode import encode as encode_chat
from backends.openai_models import classic, reasons
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
from backends.responses_encode import encode, expressible, kept
from proxy.wire.responses_request import parse_create

HI = said("user", "Hi")
PIXEL = "iVBORw0KGgo="
SEALED = kept("rs_1", "gAAAAAB")
CALL, RESULT = ToolCall("call_1", "weather", "{}"), ToolResult("call_1", (Text("Sunny."),))


def ask(*messages: Message, model: str = "gpt-4.1", **more: Any) -> Request:
    return Request(model, messages or (HI,), 100, **more)


def items(*messages: Message) -> list[dict[str, Any]]:
    return encode(ask(*messages))["input"]


def test_a_plain_request_says_only_what_it_must() -> None:
    assert encode(ask()) == {
        "model": "gpt-4.1",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        "max_output_tokens": 100,
        "store": False,
    }


def test_what_was_chosen_is_sent_and_what_it_has_no_place_for_is_left_out() -> None:
    body = encode(ask(sampling=Sampling(0.0, 0.9, 40, 0.1, 0.1, 0.1, 7), top_logprobs=2, parallel_tool_calls=False))
    assert (body["temperature"], body["top_p"], body["top_logprobs"]) == (0.0, 0.9, 2)
    assert body["include"] == ["message.output_text.logprobs"]
    assert not {"top_k", "min_p", "presence_penalty", "frequency_penalty", "seed", "parallel_tool_calls"} & set(body)


def test_a_model_that_reasons_is_asked_for_what_it_wants_back() -> None:
    body = encode(ask(model="gpt-5", reasoning_effort="low", sampling=Sampling(0.5, 0.9)), "auto")
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert not {"temperature", "top_p"} & set(body)
    assert not {"reasoning", "include"} & set(encode(ask(reasoning_effort="low"), "auto")), "others refuse both"


@pytest.mark.parametrize(
    ("model", "thinks", "old"),
    [
        ("gpt-4o", False, True),
        ("gpt-4.1-mini", False, True),
        ("chatgpt-4o-latest", False, True),
        ("ft:gpt-4.1:org::id", False, True),
        ("gpt-35-turbo", False, True),
        ("gpt-5-chat-latest", False, False),
        ("gpt-5", True, False),
        ("gpt-5.1", True, False),
        ("gpt-6-sol", True, False),
        ("o1", True, False),
        ("o4-mini-2025-04-16", True, False),
        ("codex-mini-latest", True, False),
        ("my-deployment", False, False),
        ("o", False, False),
    ],
)
def test_models_are_known_by_their_names(model: str, thinks: bool, old: bool) -> None:
    assert (reasons(model), classic(model)) == (thinks, old)


def test_what_more_than_tunes_is_not_left_out() -> None:
    for more in ({"stop": ("x",)}, {"top_logprobs": 1}):
        with pytest.raises(UnsupportedFeature):
            encode_chat(ask(model="o3", **more))
    at_rest = ask(model="gpt-5.1", reasoning_effort="none", top_logprobs=1, sampling=Sampling(0.5, seed=7))
    body = encode_chat(at_rest)
    assert (body["temperature"], body["seed"], body["logprobs"]) == (0.5, 7, True)
    assert "temperature" not in encode_chat(ask(model="gpt-5", reasoning_effort="none", sampling=Sampling(0.5)))


def test_chat_completions_have_a_new_name_for_the_bound() -> None:
    body = encode_chat(ask(sampling=Sampling(0.5, top_k=40, min_p=0.1, presence_penalty=0.1)))
    assert (body["max_completion_tokens"], body["temperature"], body["presence_penalty"]) == (100, 0.5, 0.1)
    assert not {"max_tokens", "top_k", "min_p"} & set(body)
    raw = encode_chat(Request("gpt-3.5-turbo-instruct", (), 7, prompt=Prompt("Once")))
    assert raw["max_tokens"] == 7
    assert "temperature" not in encode_chat(ask(model="chat", sampling=Sampling(0.5)), "o3"), "a deployment of it"


def test_the_parts_of_a_conversation_keep_their_order() -> None:
    thought = Reasoning("Hm.", SEALED)
    found = items(
        said("system", "Be brief."),
        Message("user", (Text("Look"), Image("image/png", PIXEL, "low"), File("a.pdf", "application/pdf", PIXEL))),
        Message("assistant", (thought, Text("First."), Refusal("No."), CALL)),
        Message("user", (RESULT, ToolResult("call_2", (Text("a"), Image("image/png", PIXEL))), Text("So?"))),
    )
    assert [item.get("role", item["type"]) for item in found] == [
        "system", "user", "reasoning", "assistant", "function_call", "function_call_output", "function_call_output",
        "user",
    ]  # fmt: skip
    assert found[2] == {
        "type": "reasoning",
        "id": "rs_1",
        "encrypted_content": "gAAAAAB",
        "summary": [{"type": "summary_text", "text": "Hm."}],
    }
    assert found[5]["output"] == "Sunny."
    assert found[6]["output"][1] == {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{PIXEL}",
        "detail": "auto",
    }


@pytest.mark.parametrize(
    "thought",
    [
        Reasoning("Hm."),
        Reasoning("Hm.", Opaque("anthropic", "c2ln")),
        Reasoning("", Opaque("openai", "not json")),
        Reasoning("", Opaque("openai", '{"id":"rs_1"}')),
        Reasoning("", Opaque("openai", "[]")),
    ],
)
def test_reasoning_that_it_could_not_read_stays_here(thought: Reasoning) -> None:
    assert [item["type"] for item in items(Message("assistant", (thought, Text("Yes.")))) or ()] == ["message"]


def test_reasoning_that_nothing_follows_stays_here() -> None:
    assert items(Message("assistant", (Text("Yes."), Reasoning("", SEALED)))) == [
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    ]


def test_a_function_is_not_strict_unless_it_says_so() -> None:
    tools = (Tool("a"), Tool("b", "B.", {"type": "object"}, True))
    body = encode(ask(tools=tools, tool_choice=NamedTool("b")))
    assert body["tools"] == [
        {"type": "function", "name": "a", "strict": False, "parameters": {"type": "object", "properties": {}}},
        {"type": "function", "name": "b", "description": "B.", "strict": True, "parameters": {"type": "object"}},
    ]
    assert body["tool_choice"] == {"type": "function", "name": "b"}


@pytest.mark.parametrize(
    "request_",
    [
        ask(stop=("x",)),
        replace(ask(), max_output_tokens=15),
        Request("m", (), 100, prompt=Prompt("Once")),
        ask(Message("user", (Audio("wav", PIXEL),))),
        ask(Message("user", (ToolResult("call_1", (Audio("wav", PIXEL),)),))),
    ],
    ids=["stop", "short", "prompt", "audio", "audio of a tool"],
)
def test_what_it_has_no_words_for(request_: Request) -> None:
    assert not expressible(request_)
    assert expressible(ask())


# Our gateway speaks the same API on its other side: it reads the request that was sent.

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
schemas = st.just({"type": "object", "properties": {"a": {"type": "string"}}})
images = st.builds(Image, st.just("image/png"), st.just(PIXEL), st.sampled_from(["auto", "low", "high"]))
asked = st.builds(Text, texts) | images
answered = st.builds(Text, texts) | st.builds(Refusal, texts)


@st.composite
def turns(draw: st.DrawFn) -> tuple[Message, ...]:
    """A question, and perhaps an answer with calls, their results, and another question."""
    found = [Message("user", tuple(draw(st.lists(asked, min_size=1, max_size=3))))]
    if draw(st.booleans()):
        calls = [ToolCall(f"call_{at}", name, "{}") for at, name in enumerate(draw(st.lists(names, max_size=3)))]
        parts = (*draw(st.lists(answered, min_size=1, max_size=2)), *calls)
        found.append(Message("assistant", parts))
        results = tuple(ToolResult(call.id, (Text(draw(texts)),)) for call in calls)
        found += [Message("user", results)] if results else []
        found.append(Message("user", (draw(asked),)))
    return (said("system", draw(texts)), *found)


@given(
    turns(),
    st.lists(names, min_size=1, max_size=3, unique=True),
    st.sampled_from(["auto", "none", "required"]),
    st.none() | st.builds(JsonFormat, schemas, names, st.none() | texts, st.none() | st.booleans()),
    st.builds(Sampling, st.none() | st.floats(0, 2), st.none() | st.floats(0, 1)),
)
def test_our_own_gateway_reads_what_is_sent(messages, names, choice, form, sampling) -> None:
    request = ask(
        *messages,
        model="some-model",
        tools=tuple(Tool(name, None, {"type": "object"}, strict=False) for name in names),
        tool_choice=choice,
        format=form,
        sampling=sampling,
        top_logprobs=len(names),
        reasoning_effort="low",
        parallel_tool_calls=False,
    )
    assert parse_create(encode(request)).request == request
