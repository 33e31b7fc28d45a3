"""Ollama: what it is asked, what is made of lines that make no sense, and its models, vectors and keys."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ModelNotFound,
    ProtocolViolation,
    UnsupportedFeature,
)
from backends.events import Finished, ReasoningDelta, Signature, TextDelta, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from backends.http import Transport
from backends.json import dumps, loads
from backends.ollama import Ollama, Options
from backends.ollama_decode import Decoder
from backends.ollama_encode import encode, encode_embedding
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
    Request,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from tests.providers import ollama as fake
from tests.upstream import Script, Seen, Upstream, plain

HI = said("user", "Hi")
WEATHER = Tool("weather", "The weather.", {"type": "object", "properties": {}})
CALLED = Message(
    "assistant",
    (
        Reasoning("Look it up.", Opaque("ollama", "thinking")),
        Reasoning("Somebody else's.", Opaque("anthropic", "xyz")),
        Reasoning("Nobody's."),
        ToolCall("call_1", "weather", '{"city":"Paris"}'),
        ToolCall("call_2", "weather", "no JSON"),
    ),
)
RESULTS = Message(
    "user",
    (
        ToolResult("call_1", (Text("Sunny."), Image("image/png", "aGk="))),
        ToolResult("call_2", (Text("What?"),)),
        Text("And now?"),
    ),
)

# What it is asked.


def test_a_plain_request_says_only_what_it_must() -> None:
    assert encode(Request("m", (said("system", "Be brief."), HI), 16)) == {
        "model": "m",
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"num_predict": 16},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }


def test_what_was_chosen_is_sent_zero_too() -> None:
    request = Request("m", (HI,), 16, ("END",), Sampling(0.0, 0.9, 40, 0.05, 0.1, -0.1, 7), top_logprobs=0)
    body = encode(request, num_ctx=4096, keep_alive="30m")
    assert body["options"] == {
        "num_predict": 16, "num_ctx": 4096, "stop": ["END"], "temperature": 0.0, "top_p": 0.9, "top_k": 40,
        "min_p": 0.05, "presence_penalty": 0.1, "frequency_penalty": -0.1, "seed": 7,
    }  # fmt: skip
    assert (body["keep_alive"], body["logprobs"], body["top_logprobs"]) == ("30m", True, 0)


def test_a_conversation_with_tools_thoughts_and_pictures() -> None:
    body = encode(Request("m", (HI, CALLED, RESULTS), 16, tools=(WEATHER,)))
    assert body["messages"] == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "",
            "thinking": "Look it up.",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Paris"}}},
                {"id": "call_2", "function": {"name": "weather", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Sunny.", "images": ["aGk="], "tool_name": "weather", "tool_call_id": "call_1"},
        {"role": "tool", "content": "What?", "tool_name": "weather", "tool_call_id": "call_2"},
        {"role": "user", "content": "And now?"},
    ]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]


def test_a_result_has_the_name_of_the_call_before_it_also_where_ids_come_again() -> None:
    result = Message("user", (ToolResult("call_0", (Text("noon"),)),))
    rounds = [(Message("assistant", (ToolCall("call_0", name, "{}"),)), result) for name in ("weather", "clock")]
    body = encode(Request("m", (HI, *rounds[0], *rounds[1]), 16))
    assert [message["tool_name"] for message in body["messages"] if message["role"] == "tool"] == ["weather", "clock"]


def test_what_was_only_thought_elsewhere_is_left_out() -> None:
    thought = Message("assistant", (Reasoning("Hm.", Opaque("gemini", "x")),))
    assert encode(Request("m", (HI, thought), 16))["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("effort", "levels", "think"),
    [
        ("none", frozenset(), False),
        ("minimal", frozenset(), True),
        ("high", frozenset(), True),
        ("low", frozenset({"low", "high"}), "low"),
        ("minimal", frozenset({"low", "high"}), "low"),
        ("xhigh", frozenset({"low", "high"}), "high"),
        ("medium", frozenset({"low", "high"}), True),
        ("none", frozenset({"low", "high"}), False),
        ("whatever", frozenset({"low"}), True),
        ("high", None, None),
        (None, frozenset({"low"}), None),
    ],
)
def test_the_effort_of_thinking(effort: str | None, levels: frozenset[str] | None, think: Any) -> None:
    assert encode(Request("m", (HI,), 16, reasoning_effort=effort), levels=levels).get("think") == think


def test_formats() -> None:
    schema = {"type": "object"}
    assert encode(Request("m", (HI,), 16, format=JsonFormat()))["format"] == "json"
    assert encode(Request("m", (HI,), 16, format=JsonFormat(schema)))["format"] == schema


def test_a_raw_prompt_and_one_with_a_suffix() -> None:
    plain = encode(Request("m", prompt=Prompt("Go on"), max_output_tokens=1))
    filled = encode(Request("m", prompt=Prompt("Go on", "end"), max_output_tokens=1))
    assert (plain["prompt"], plain["raw"]) == ("Go on", True)
    assert (filled["prompt"], filled["suffix"]) == ("Go on", "end")
    assert "raw" not in filled
    assert "messages" not in plain | filled


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request("m", (Message("user", (Audio("wav", "aGk="),)),)), "input"),
        (Request("m", (Message("user", (File(None, "application/pdf", "aGk="),)),)), "input"),
        (Request("m", (HI,), tools=(WEATHER,), tool_choice="required"), "tool_choice"),
        (Request("m", (HI,), tools=(WEATHER,), tool_choice=NamedTool("weather")), "tool_choice"),
    ],
)
def test_what_it_has_no_place_for_is_refused(request_: Request, param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        encode(request_)
    assert refused.value.param == param


def test_tools_that_must_not_be_called_are_not_told() -> None:
    assert "tools" not in encode(Request("m", (HI,), 16, tools=(WEATHER,), tool_choice="none"))


def test_token_ids_are_no_texts() -> None:
    with pytest.raises(UnsupportedFeature, match="token ids"):
        encode_embedding(EmbeddingRequest("m", ("a", (1, 2))))


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, st.just("image/png"), st.just("aGk=")),
    st.builds(Reasoning, TEXTS, st.none() | st.builds(Opaque, st.sampled_from(["ollama", "other"]), st.just("x"))),
)
CALLS = st.builds(
    ToolCall, st.sampled_from(["1", "2"]), st.just("weather"), st.sampled_from(["{}", '{"a":1}', "", "[]"])
)
TURNS = st.one_of(
    st.builds(Message, st.sampled_from(["system", "user"]), st.lists(PARTS, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(PARTS | CALLS, max_size=4).map(tuple)),
)


@given(st.lists(TURNS, max_size=4).map(tuple))
def test_what_is_sent_is_what_the_server_reads(turns: tuple[Message, ...]) -> None:
    turns += (
        Message("assistant", (ToolCall("9", "weather", "{}"),)),
        Message("user", (ToolResult("9", (Text("x"),)),)),
    )
    body = loads(dumps(encode(Request("m", turns, 16, tools=(WEATHER,)))))
    read = fake.request_of(body, chat=True)
    said = [part.text for turn in turns for part in turn.parts if isinstance(part, Text)]
    told = [part.text for turn in read.messages for part in turn.parts if isinstance(part, Text)]
    assert "".join(said) == "".join(told).replace("\n", "")  # the texts of a message are lines of it
    assert [part.id for turn in read.messages for part in turn.parts if isinstance(part, ToolCall)] == [
        part.id for turn in turns for part in turn.parts if isinstance(part, ToolCall)
    ]


# What its answers mean.


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"[]", b'{"message":1}', b'{"message":{"tool_calls":[{"function":{"arguments":{}}}]}}'],
)
def test_rubbish_is_a_protocol_violation(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder().feed(line)


def test_what_is_new_is_passed_over_and_what_follows_the_end_too() -> None:
    decoder = Decoder()
    assert decoder.feed(b'{"message":{"role":"assistant","content":"","images":[]},"new":{"a":1},"done":false}') == []
    assert decoder.feed(b'{"status":"loading"}') == []
    assert decoder.feed(b'{"message":{"content":"a"},"done":true,"done_reason":"new"}') == [
        TextDelta("a"),
        Finished("stop"),
    ]
    assert decoder.feed(b"{}") == decoder.feed(b"rubbish") == decoder.end() == []


def test_thoughts_end_where_something_else_begins_or_at_the_end() -> None:
    decoder = Decoder()
    assert decoder.feed(b'{"message":{"content":"","thinking":"a"}}') == [ReasoningDelta("a")]
    assert decoder.feed(b'{"message":{"content":"b","thinking":"c"}}') == [
        ReasoningDelta("c"),
        Signature("ollama", "thinking"),
        TextDelta("b"),
    ]
    assert decoder.feed(b'{"message":{"thinking":"d"},"done":true,"eval_count":1,"prompt_eval_count":2}') == [
        ReasoningDelta("d"),
        Signature("ollama", "thinking"),
        Finished("stop", Usage(2, 1)),
    ]


def test_a_call_without_an_id_gets_one_and_null_is_no_argument() -> None:
    [start, delta] = Decoder().feed(b'{"message":{"tool_calls":[{"function":{"name":"a","arguments":null}}]}}')
    assert isinstance(start, ToolCallStart)
    assert start.id.startswith("call_")
    assert delta == ToolCallDelta(0, "{}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "content", "thinking", "tool_calls", "function", "name", "done"]), inner
        )
    ),
    max_leaves=12,
)
LINES = st.dictionaries(
    st.sampled_from(["message", "response", "thinking", "done", "done_reason", "eval_count", "logprobs", "error"]), JSON
)


@given(st.lists(LINES | JSON, max_size=5))
def test_no_line_breaks_it_but_as_an_error_of_the_backend(values: list[Any]) -> None:
    decoder = Decoder("m", 1)
    try:
        events = [event for value in values for event in decoder.feed(dumps(value))]
    except BackendError:
        return
    assert sum(isinstance(event, Finished) for event in events) == decoder.finished
    assert all(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))


# The backend.


@pytest.mark.parametrize("path", ["", "/", "/api", "/v1", "/v1/"])
async def test_its_place_may_be_that_of_its_other_api(transport: Transport, path: str) -> None:
    async with fake.Ollama(FakeBackend("behind")) as provider:
        backend = Ollama(Options(name="o", base_url=provider.url + path), transport)
        assert [model.id for model in await backend.models()] == ["fake"]


def test_the_usual_place_is_its_default() -> None:
    assert Options(name="o").base_url == "http://127.0.0.1:11434"


async def test_ollama_com_wants_a_key(transport: Transport) -> None:
    async with fake.Ollama(FakeBackend("behind"), locked=True) as provider:
        with pytest.raises(AuthenticationFailed):
            await Ollama(Options(name="o", base_url=provider.url), transport).models()
        options = Options(name="o", base_url=provider.url, api_key=provider.key)
        assert [model.id for model in await Ollama(options, transport).models()] == ["fake"]


@pytest.mark.parametrize(("levels", "think"), [((False, True), True), (("low", "high"), "high")])
async def test_a_level_of_thinking_that_the_model_does_not_know_is_not_asked_for(
    transport: Transport, levels: tuple[Any, ...], think: Any
) -> None:
    request = Request("fake", (HI,), 16, reasoning_effort="high")
    async with fake.Ollama(FakeBackend("behind"), levels=levels) as provider:
        backend = Ollama(Options(name="o", base_url=provider.url), transport)
        await backend.models()
        async with backend.stream(request) as batches:
            _ = [batch async for batch in batches]
    assert provider.seen[0].body["think"] == think


async def test_one_model_that_cannot_be_shown_does_not_hide_the_others(transport: Transport) -> None:
    def script(seen: Seen) -> Script:
        if seen.path == "/api/tags":
            return plain(200, {"models": [{"name": "a", "digest": "1"}, {"name": "b", "digest": "2"}]})
        broken = seen.json() == {"model": "a"}
        return plain(500, {"error": "x"}) if broken else plain(200, {"model_info": {"x.context_length": 8}})

    async with Upstream(default=script) as upstream:
        backend = Ollama(Options(name="o", base_url=upstream.origin), transport)
        assert [(model.id, model.context) for model in await backend.models()] == [("a", None), ("b", 8)]


async def test_a_server_without_a_model_has_none(transport: Transport) -> None:
    async with Upstream(default=lambda _: plain(200, {"models": None})) as upstream:
        assert await Ollama(Options(name="o", base_url=upstream.origin), transport).models() == []


@pytest.mark.parametrize("body", [[], {}, {"models": [{}]}, {"models": 7}, {"models": [{"name": []}]}])
async def test_a_list_of_models_that_is_none(transport: Transport, body: Any) -> None:
    async with Upstream(default=lambda _: plain(200, body)) as upstream:
        with pytest.raises(ProtocolViolation, match="list of models"):
            await Ollama(Options(name="o", base_url=upstream.origin), transport).models()


@pytest.mark.parametrize(
    "body", [{}, {"embeddings": [[1.0]]}, {"embeddings": [[1.0], []]}, {"embeddings": [[1.0], ["a"]]}, []]
)
async def test_vectors_that_are_none(transport: Transport, body: Any) -> None:
    async with Upstream(default=lambda _: plain(200, body)) as upstream:
        backend = Ollama(Options(name="o", base_url=upstream.origin), transport)
        with pytest.raises(ProtocolViolation):
            await backend.embed(EmbeddingRequest("m", ("a", "b")))


async def test_vectors_have_the_length_that_was_asked_for(transport: Transport) -> None:
    async with fake.Ollama(FakeBackend("behind")) as provider:
        backend = Ollama(Options(name="o", base_url=provider.url, num_ctx=99, keep_alive="1h"), transport)
        found = await backend.embed(EmbeddingRequest("fake", ("a b", "c"), 4))
        assert ([len(vector) for vector in found.vectors], found.input_tokens) == ([4, 4], 3)
        with pytest.raises(ModelNotFound):
            await backend.embed(EmbeddingRequest("other", ("a",)))
