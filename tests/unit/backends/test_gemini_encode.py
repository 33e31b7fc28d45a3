"""Gemini: what we send. What is sent is also what a server of that API takes, as tests/providers has it."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.errors import UnsupportedFeature
from backends.gemini_encode import UNSIGNED, embedding_requests, encode
from backends.json import loads
from backends.request import (
    Audio,
    EmbeddingRequest,
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
from tests.providers.gemini_words import request_of

FLASH, FLASH_2_5 = "gemini-3.5-flash", "gemini-2.5-flash"
ASK = Request("any", (said("user", "Hi"),), 16)
HI = {"role": "user", "parts": [{"text": "Hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = ToolCall("call_1", "weather", '{"city":"Paris"}')
CALLED = {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Paris"}}}
RESULT = ToolResult("call_1", (Text("Sunny."),))
ANSWERED = {"functionResponse": {"id": "call_1", "name": "weather", "response": {"output": "Sunny."}}}


def turns(*messages: Message, model: str = "any") -> list[Any]:
    return encode(replace(ASK, messages=messages, model=model))["contents"]


def signed(data: str, text: str = "", provider: str = "gemini") -> Reasoning:
    return Reasoning(text, Opaque(provider, data))


def test_a_plain_request_says_only_what_it_must() -> None:
    request = replace(ASK, messages=(said("system", "Be brief."), said("user", "Hi"), said("assistant", "Hello.")))
    assert encode(request) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [HI, {"role": "model", "parts": [{"text": "Hello."}]}],
        "generationConfig": {"maxOutputTokens": 16},
    }


def test_everything_that_can_be_asked() -> None:
    sampling = Sampling(0.5, 0.9, 40, 0.1, 0.2, 0.3, 7)
    tools = (Tool("weather", "Of a city.", SCHEMA), Tool("clock"))
    body = encode(
        replace(ASK, stop=("a", "b"), sampling=sampling, tools=tools, format=JsonFormat(SCHEMA), top_logprobs=3)
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 16,
        "stopSequences": ["a", "b"],
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "presencePenalty": 0.2,
        "frequencyPenalty": 0.3,
        "seed": 7,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    [tool] = body["tools"]
    assert tool["functionDeclarations"] == [
        {"name": "weather", "description": "Of a city.", "parametersJsonSchema": SCHEMA},
        {"name": "clock"},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NamedTool("clock"), {"mode": "ANY", "allowedFunctionNames": ["clock"]}),
    ],
)
def test_the_choice_of_a_tool(choice: Any, expected: Any) -> None:
    body = encode(replace(ASK, tools=(Tool("clock"),), tool_choice=choice))
    assert body["toolConfig"] == {"functionCallingConfig": expected}


def test_only_a_system_message_is_the_users() -> None:
    body = encode(replace(ASK, messages=(said("system", "Hi"),)))
    assert body["contents"] == [HI]
    assert "systemInstruction" not in body


def test_pictures_recordings_and_documents() -> None:
    parts = (Image("image/png", "aW1n", "low"), Audio("wav", "d2F2"), File("a.pdf", "application/pdf", "cGRm"))
    [turn] = turns(Message("user", parts))
    kinds = [(part["inlineData"]["mimeType"], part["inlineData"]["data"]) for part in turn["parts"]]
    assert kinds == [("image/png", "aW1n"), ("audio/wav", "d2F2"), ("application/pdf", "cGRm")]


def test_turns_alternate_and_results_stand_together_before_what_else_was_said() -> None:
    second = ToolCall("call_2", "clock", "")
    assert turns(
        said("user", "Hi"),
        Message("assistant", (Text("Wait."), CALL, second)),
        Message("user", (Text("Well?"), RESULT)),
        Message("user", (ToolResult("call_2", (Text("noon"),)),)),
    ) == [
        HI,
        {
            "role": "model",
            "parts": [{"text": "Wait."}, CALLED, {"functionCall": {"id": "call_2", "name": "clock", "args": {}}}],
        },
        {
            "role": "user",
            "parts": [
                ANSWERED,
                {"text": "Well?"},
                {"functionResponse": {"id": "call_2", "name": "clock", "response": {"output": "noon"}}},
            ],
        },
    ]


def test_a_result_has_the_name_of_the_call_before_it_also_where_ids_come_again() -> None:
    again = (Message("assistant", (ToolCall("call_1", "clock", ""),)), Message("user", (RESULT,)))
    found = turns(Message("assistant", (CALL,)), Message("user", (RESULT,)), *again)
    assert [turn["parts"][0]["functionResponse"]["name"] for turn in found[1::2]] == ["weather", "clock"]


def test_a_picture_in_a_result_stands_in_it_or_behind_it() -> None:
    result = ToolResult("call_1", (Text("Sunny."), Image("image/png", "aW1n")))
    shown = {"inlineData": {"mimeType": "image/png", "data": "aW1n"}}
    conversation = (Message("assistant", (CALL,)), Message("user", (result,)))
    assert turns(*conversation, model=FLASH_2_5)[1]["parts"] == [ANSWERED, shown]
    [inside] = turns(*conversation, model=FLASH)[1]["parts"]
    assert inside["functionResponse"]["parts"] == [shown]


@pytest.mark.parametrize(
    ("arguments", "sent"), [("", {}), ("[1]", {"arguments": [1]}), ("{oops", {"arguments": "{oops"})]
)
def test_arguments_are_always_an_object(arguments: str, sent: Any) -> None:
    [turn] = turns(Message("assistant", (ToolCall("1", "f", arguments),)))
    assert turn["parts"][0]["functionCall"]["args"] == sent


def test_each_signature_goes_back_on_the_part_that_it_came_with() -> None:
    """A thought and a call that follows it may have come with one signature: the call's."""
    [turn] = turns(
        Message(
            "assistant",
            (signed("call:c2ln", "Hm."), CALL, ToolCall("2", "clock", "{}"), Text("Done."), signed("text:dHh0")),
        ),
        model=FLASH,
    )
    assert turn["parts"] == [
        CALLED | {"thoughtSignature": "c2ln"},
        {"functionCall": {"id": "2", "name": "clock", "args": {}}},
        {"text": "Done."},
        {"text": "", "thoughtSignature": "dHh0"},
    ]
    [turn] = turns(Message("assistant", (signed("dGhv", "Hm."), Text("Done."))))
    assert turn["parts"] == [{"text": "Hm.", "thought": True, "thoughtSignature": "dGhv"}, {"text": "Done."}]


def test_what_others_thought_is_left_out_and_their_calls_pass_unsigned() -> None:
    parts = (Reasoning("Hm."), signed("x", "Ha.", "anthropic"), CALL, ToolCall("2", "clock", "{}"))
    [turn] = turns(Message("assistant", parts), model=FLASH)
    assert [part.get("thoughtSignature") for part in turn["parts"]] == [UNSIGNED, None]
    [turn] = turns(Message("assistant", parts), model=FLASH_2_5)
    assert [part.get("thoughtSignature") for part in turn["parts"]] == [None, None]
    assert turns(said("user", "Hi"), Message("assistant", (Reasoning("Hm."),))) == [HI]


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.0-flash", "high", None),
        ("gemma-3-27b-it", "high", None),
        ("gemini-2.5-flash-image", "high", None),
        (FLASH_2_5, None, {}),
        (FLASH_2_5, "none", {"thinkingBudget": 0}),
        (FLASH_2_5, "medium", {"thinkingBudget": 8192}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        (FLASH, None, {}),
        (FLASH, "none", {"thinkingLevel": "MINIMAL"}),
        (FLASH, "xhigh", {"thinkingLevel": "HIGH"}),
        (FLASH, "as hard as you can", {}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "HIGH"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "MEDIUM"}),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-flash-latest", "low", {"thinkingLevel": "LOW"}),
    ],
)
def test_effort_is_a_budget_or_a_level(model: str, effort: str | None, expected: Any) -> None:
    config = encode(replace(ASK, model=model, reasoning_effort=effort))["generationConfig"].get("thinkingConfig")
    assert config == (None if expected is None else {"includeThoughts": True} | expected)


def test_a_raw_prompt_is_refused() -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        encode(Request("m", prompt=Prompt("The capital of")))
    assert refused.value.param == "prompt"


def test_texts_to_embed() -> None:
    [entry] = embedding_requests(EmbeddingRequest("m", ("a",), 8))
    assert entry == {"model": "models/m", "content": {"parts": [{"text": "a"}]}, "outputDimensionality": 8}
    with pytest.raises(UnsupportedFeature, match="token ids"):
        embedding_requests(EmbeddingRequest("m", ("a", (1, 2))))


# Whatever is asked, a server of that API understands it.

words = st.text(min_size=1, max_size=8)
media = st.builds(Image, st.just("image/png"), st.just("aW1n")) | st.builds(
    File, words, st.just("text/plain"), st.just("aGk=")
)
opaque = st.builds(Opaque, st.sampled_from(["gemini", "openai"]), st.sampled_from(["call:c2ln", "text:c2ln", "c2ln"]))
asked = st.builds(
    lambda parts: Message("user", tuple(parts)),
    st.lists(st.builds(Text, st.text(max_size=8)) | media, min_size=1, max_size=3),
)
answered = st.builds(
    lambda parts: Message("assistant", tuple(parts)),
    st.lists(
        st.builds(Text, words) | st.builds(Refusal, words) | st.builds(Reasoning, words, st.none() | opaque), max_size=4
    ),
)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[Message, ...]:
    """Calls, and the result of each."""
    names = draw(st.lists(st.sampled_from(["weather", "clock"]), min_size=1, max_size=3))
    calls = [ToolCall(f"{draw(words)}{index}", name, draw(words)) for index, name in enumerate(names)]
    before = draw(answered).parts
    results = [ToolResult(call.id, tuple(draw(st.lists(st.builds(Text, words) | media, max_size=2)))) for call in calls]
    if draw(st.booleans()):
        return (Message("assistant", (*before, *calls)), Message("user", tuple(results)))
    return (Message("assistant", (*before, *calls)), *(Message("user", (result,)) for result in results))


conversations = st.lists(st.builds(lambda one: (one,), asked | answered) | rounds(), max_size=4).map(
    lambda groups: (said("user", "Hi"), *(message for group in groups for message in group))
)


@given(conversations, st.sampled_from([FLASH, FLASH_2_5, "gemma-3"]))
def test_a_server_understands_every_conversation(messages: tuple[Message, ...], model: str) -> None:
    body = encode(replace(ASK, messages=messages, model=model))
    understood = request_of(model, body)  # raises for what the API refuses
    roles = [turn["role"] for turn in body["contents"]]
    assert all(one != other for one, other in pairwise(roles))
    for kind in (ToolCall, ToolResult, Image):
        assert count(understood.messages, kind) == count(messages, kind)


def count(messages: tuple[Message, ...], kind: type) -> int:
    """How many there are, those inside of results among them."""
    parts = [part for message in messages for part in message.parts]
    parts += [inner for part in parts if isinstance(part, ToolResult) for inner in part.parts]
    return sum(isinstance(part, kind) for part in parts)


def test_the_arguments_are_those_of_the_call() -> None:
    request = request_of(
        FLASH, encode(replace(ASK, model=FLASH, messages=(said("user", "Hi"), Message("assistant", (CALL,)))))
    )
    [_, call] = request.messages[-1].parts
    assert loads(call.arguments) == {"city": "Paris"}
