"""Converse: what we send, and that Bedrock takes it, by AWS's service model and by the fake's rules."""

from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from backends.bedrock_encode import encode
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
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from tests.providers.bedrock_words import request_of

CLAUDE, OLD, NOVA = "us.anthropic.claude-opus-5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}}
WEATHER = Tool("weather", "The weather.", SCHEMA)
SIGNED = Reasoning("Hm.", Opaque("bedrock", "c2ln"))
CALLED = Message("assistant", (ToolCall("a", "weather", "{}"),))
RESULT = Message("user", (ToolResult("a", (Text("Sunny."),)),))
HI = said("user", "Hi")


@pytest.fixture(scope="module")
def model() -> Any:
    """AWS's own description of what Converse takes."""
    session = Session()
    return session.get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape


def accepted(model: Any, request: Request) -> tuple[dict[str, Any], Request]:
    """The body, once AWS's model and the fake have taken it."""
    body = encode(request)
    report = ParamValidator().validate({**body, "modelId": request.model}, model)
    assert not report.has_errors(), report.generate_report()
    return body, request_of(request.model, loads(dumps(body)))


@pytest.fixture
def sent(model: Any) -> Any:
    def sent(*messages: Message, **more: Any) -> dict[str, Any]:
        asked = {"model": CLAUDE, "messages": messages or (HI,), "max_output_tokens": 1000} | more
        return accepted(model, Request(**asked))[0]

    return sent


def test_a_conversation(sent: Any) -> None:
    body = sent(said("system", "Be brief."), HI, said("assistant", "Hello."), HI, HI, stop=("end",), model=NOVA)
    assert body["system"] == [{"text": "Be brief."}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["inferenceConfig"] == {"maxTokens": 1000, "stopSequences": ["end"]}
    assert body.keys() == {"messages", "system", "inferenceConfig"}


def test_pictures_sounds_and_documents(sent: Any) -> None:
    pdf = File("my report.v2.pdf", "application/pdf", "JVBERg==")
    parts = (Image("image/png", "aGk="), Audio("wav", "aGk="), pdf, pdf, File(None, "text/plain", "aGk="))
    [turn] = sent(Message("user", parts))["messages"]
    image, audio, first, second, third, text = turn["content"]
    assert image == {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    assert audio == {"audio": {"format": "wav", "source": {"bytes": "aGk="}}}
    assert [each["document"]["name"] for each in (first, second, third)] == [
        "my-report-v2-pdf",
        "my-report-v2-pdf-1",
        "document",
    ]
    assert (first["document"]["format"], third["document"]["format"]) == ("pdf", "txt")
    assert text == {"text": "."}  # a document needs one


def test_own_thoughts_go_back_and_others_stay(sent: Any) -> None:
    hidden, theirs = Reasoning("", Opaque("bedrock", "redacted.aGlk")), Reasoning("x", Opaque("anthropic", "y"))
    turns = sent(HI, Message("assistant", (SIGNED, hidden, theirs, Text("So."), SIGNED)), HI)["messages"]
    assert turns[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "aGlk"}},
        {"text": "So."},
    ]


@pytest.mark.parametrize(
    ("choice", "theirs"),
    [("auto", None), ("required", {"any": {}}), (NamedTool("weather"), {"tool": {"name": "weather"}})],
)
def test_the_choice_of_a_tool(sent: Any, choice: Any, theirs: Any) -> None:
    config = sent(tools=(WEATHER, Tool("clock")), tool_choice=choice)["toolConfig"]
    assert config.get("toolChoice") == theirs
    assert config["tools"][1]["toolSpec"] == {
        "name": "clock",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }


def test_no_tool_may_be_called(sent: Any) -> None:
    assert "toolConfig" not in sent(tools=(WEATHER,), tool_choice="none")
    with pytest.raises(UnsupportedFeature):
        sent(HI, CALLED, RESULT, tools=(WEATHER,), tool_choice="none")
    [declared] = sent(HI, CALLED, RESULT)["toolConfig"]["tools"]
    assert declared["toolSpec"]["name"] == "weather"


def test_a_schema(sent: Any) -> None:
    form = sent(format=JsonFormat(SCHEMA, "city", "A city."))["outputConfig"]["textFormat"]
    schema = form["structure"]["jsonSchema"]
    assert (form["type"], schema["name"], schema["description"]) == ("json_schema", "city", "A city.")
    assert loads(schema["schema"])["additionalProperties"] is False


def test_how_hard_it_thinks(sent: Any) -> None:
    new = sent(reasoning_effort="medium")
    assert new["additionalModelRequestFields"] == {"thinking": {"type": "adaptive", "display": "summarized"}}
    assert new["outputConfig"] == {"effort": "medium"}
    old = {"model": OLD, "reasoning_effort": "low", "max_output_tokens": 9000}
    assert sent(**old)["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 4096}}
    for more in ({"tool_choice": "required"}, {"messages": (HI, CALLED, RESULT)}):
        assert "additionalModelRequestFields" not in sent(**(old | {"tools": (WEATHER,)} | more))
    assert "additionalModelRequestFields" not in sent(model=NOVA, reasoning_effort="high")


def test_knobs_are_those_of_the_model(sent: Any) -> None:
    wanted = Sampling(temperature=1.5, top_p=0.9, top_k=5, seed=1)
    old, nova = sent(model=OLD, sampling=wanted), sent(model=NOVA, sampling=wanted)
    assert old["inferenceConfig"] == {"maxTokens": 1000, "temperature": 1.0}
    assert old["additionalModelRequestFields"] == {"top_k": 5}
    assert nova["inferenceConfig"] == {"maxTokens": 1000, "temperature": 1.5, "topP": 0.9}
    assert "temperature" not in sent(sampling=wanted)["inferenceConfig"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": Prompt("Once")}, "prompt"),
        ({"top_logprobs": 0}, "top_logprobs"),
        ({"format": JsonFormat()}, "text.format"),
        ({"messages": (Message("user", (Image("image/tiff", "aa"),)),)}, "input"),
        ({"messages": (Message("user", (File("a", "application/zip", "aa"),)),)}, "input"),
        ({"messages": (Message("user", (ToolResult("a", (Audio("wav", "aa"),)),)),)}, "input"),
    ],
)
def test_what_it_has_no_place_for_is_refused(sent: Any, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        sent(**asked)
    assert refused.value.param == param


words = st.sampled_from(["", " ", "Hello", "So. ", "é"])
texts = words.map(Text)
files = st.builds(File, st.none() | st.text("a. é(", max_size=5), st.just("application/pdf"), st.just("JVBERg=="))
thoughts = st.builds(
    Reasoning, words, st.sampled_from([None, Opaque("bedrock", "c2ln"), Opaque("bedrock", "redacted.aA==")])
)
plain = st.one_of(
    st.builds(Message, st.just("system"), st.tuples(texts)),
    st.builds(Message, st.just("user"), st.lists(texts | files, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(texts | thoughts, max_size=3).map(tuple)),
).map(lambda message: (message,))


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Message, ...]:
    """Calls, and the results of all of them."""
    ids = draw(st.lists(st.text("ab/", min_size=1, max_size=9), min_size=1, max_size=3, unique_by=len))
    calls = [ToolCall(each, "weather", draw(st.sampled_from(["", "{}", "{"]))) for each in ids]
    results = [Message("user", (ToolResult(each, tuple(draw(st.lists(texts, max_size=2)))),)) for each in ids]
    return (Message("assistant", (*draw(st.lists(texts | thoughts, max_size=2)), *calls)), *results)


requests = st.builds(
    Request,
    st.sampled_from([CLAUDE, OLD, NOVA]),
    st.lists(plain | exchanges(), max_size=5).map(lambda groups: tuple(each for group in groups for each in group)),
    st.sampled_from([1, 9000]),
    tools=st.sampled_from([(), (WEATHER,), (Tool("weather", "", SCHEMA, strict=True), Tool("clock"))]),
    tool_choice=st.sampled_from(["auto", "required", NamedTool("weather")]),
    reasoning_effort=st.sampled_from([None, "none", "low", "xhigh"]),
)


def users_words(request: Request) -> list[str]:
    parts = [part for message in request.messages if message.role == "user" for part in message.parts]
    return [part.text for part in parts if isinstance(part, Text) and part.text.strip(" .")]


@given(requests)
def test_every_conversation_is_accepted_and_no_word_is_lost(model: Any, request: Request) -> None:
    _, found = accepted(model, request)
    assert users_words(found) == users_words(request)
