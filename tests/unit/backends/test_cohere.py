"""Cohere: what it is asked, what is made of messages that make no sense, and its vectors and keys."""

from typing import Any

import pytest
from cohere.types import ChatMessageV2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backends.cohere import Cohere, Options
from backends.cohere_decode import Decoder
from backends.cohere_encode import MOST_TEXTS, encode
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    ModelNotFound,
    ProtocolViolation,
    ServerFailed,
    UnsupportedFeature,
)
from backends.events import (
    Citation,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.fake import FakeBackend
from backends.http import Transport
from backends.json import dumps, loads
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
    Secret,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    said,
)
from tests.providers import cohere as fake
from tests.upstream import Upstream, plain

HI = said("user", "Hi")
SCHEMA = {"type": "object", "properties": {}}
WEATHER, CLOCK = Tool("weather", "The weather.", SCHEMA, strict=True), Tool("clock", strict=True)
CALLED = Message(
    "assistant",
    (
        Reasoning("I will look it up.", Opaque("cohere", "plan")),
        Reasoning("Hm.", Opaque("cohere", "thinking")),
        Reasoning("Somebody else's.", Opaque("anthropic", "xyz")),
        Text("One moment."),
        ToolCall("call_1", "weather", '{"city":"Paris"}'),
    ),
)
RESULT = Message("user", (ToolResult("call_1", (Text("Sunny."),)), Image("image/png", "aGk=", "low")))

# What it is asked.


def test_a_plain_request_says_only_what_it_must() -> None:
    assert encode(Request("m", (said("system", "Be brief."), HI), 16)) == {
        "model": "m",
        "stream": True,
        "max_tokens": 16,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }


def test_what_was_chosen_is_sent_zero_too() -> None:
    body = encode(Request("m", (HI,), 16, ("END",), Sampling(0.0, 0.9, 40, 0.05, 0.1, 0.2, 7)))
    assert {name: value for name, value in body.items() if name not in {"model", "stream", "messages"}} == {
        "max_tokens": 16, "stop_sequences": ["END"], "temperature": 0.0, "p": 0.9, "k": 40, "seed": 7,
        "presence_penalty": 0.1, "frequency_penalty": 0.2,
    }  # fmt: skip


def test_a_conversation_with_tools_thoughts_and_pictures() -> None:
    body = encode(Request("m", (HI, CALLED, RESULT), 16, tools=(WEATHER,)))
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}
    assert body["messages"] == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "tool_plan": "I will look it up.",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "One moment."}],
            "tool_calls": [call],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."},
        {"role": "user", "content": [picture]},
    ]
    TypeAdapter(list[ChatMessageV2]).validate_python(body["messages"])


def test_what_was_only_thought_elsewhere_is_left_out() -> None:
    thought = Message("assistant", (Reasoning("Hm.", Opaque("gemini", "x")),))
    assert encode(Request("m", (HI, thought), 16))["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("choice", "sent", "offered"),
    [
        ("auto", None, ["weather", "clock"]),
        ("none", "NONE", ["weather", "clock"]),
        ("required", "REQUIRED", ["weather", "clock"]),
        (NamedTool("clock"), "REQUIRED", ["clock"]),
    ],
)
def test_which_tools_may_be_called(choice: Any, sent: str | None, offered: list[str]) -> None:
    body = encode(Request("m", (HI,), 16, tools=(WEATHER, CLOCK), tool_choice=choice))
    assert body.get("tool_choice") == sent
    assert [tool["function"]["name"] for tool in body["tools"]] == offered
    assert all("strict" not in tool["function"] for tool in body["tools"])
    assert body["strict_tools"] is True


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", {"type": "disabled"}),
        ("low", {"type": "enabled", "token_budget": 2048}),
        ("high", {"type": "enabled"}),
        (None, None),
    ],
)
def test_the_effort_of_thinking(effort: str | None, thinking: Any) -> None:
    request = Request("m", (HI,), 16, reasoning_effort=effort)
    assert encode(request).get("thinking") == thinking
    assert "thinking" not in encode(request, thinks=False)


def test_formats() -> None:
    formats = [
        encode(Request("m", (HI,), format=form))["response_format"] for form in (JsonFormat(), JsonFormat(SCHEMA))
    ]
    assert formats == [{"type": "json_object"}, {"type": "json_object", "json_schema": SCHEMA}]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request("m", (Message("user", (Audio("wav", "aGk="),)),)), "input"),
        (Request("m", (Message("user", (File(None, "application/pdf", "aGk="),)),)), "input"),
        (Request("m", (Message("user", (ToolResult("1", (Audio("wav", "aGk="),)),)),)), "input"),
        (Request("m", (HI,), tools=(WEATHER,), format=JsonFormat()), "text.format"),
        (Request("m", (HI,), top_logprobs=0), "top_logprobs"),
        (Request("m", prompt=Prompt("Go on")), "prompt"),
    ],
)
def test_what_it_has_no_place_for_is_refused(request_: Request, param: str) -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        encode(request_)
    assert refused.value.param == param


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, st.just("image/png"), st.just("aGk=")),
    st.builds(Reasoning, TEXTS, st.none() | st.builds(Opaque, st.sampled_from(["cohere", "x"]), st.just("plan"))),
)
CALLS = st.builds(ToolCall, st.sampled_from(["1", "2"]), st.just("weather"), st.sampled_from(["{}", '{"a":1}', "no"]))
RESULTS = st.builds(ToolResult, st.just("1"), st.lists(st.builds(Text, TEXTS), max_size=2).map(tuple))
TURNS = st.one_of(
    st.builds(Message, st.just("system"), st.lists(st.builds(Text, TEXTS), max_size=3).map(tuple)),
    st.builds(Message, st.just("user"), st.lists(PARTS | RESULTS, max_size=3).map(tuple)),
    st.builds(Message, st.just("assistant"), st.lists(PARTS | CALLS, max_size=4).map(tuple)),
)


def texts(turns: tuple[Message, ...]) -> str:
    found = [part for turn in turns for part in turn.parts]
    inner = [each for part in found for each in (part.parts if isinstance(part, ToolResult) else (part,))]
    return "".join(sorted("".join(each.text for each in inner if isinstance(each, Text)).replace("\n", "")))


@given(st.lists(TURNS, max_size=4).map(tuple))
def test_what_is_sent_is_what_the_server_reads(turns: tuple[Message, ...]) -> None:
    body = loads(dumps(encode(Request("m", turns, 16))))
    TypeAdapter(list[ChatMessageV2]).validate_python(body["messages"])
    read = fake.request_of(body)
    assert texts(read.messages) == texts(turns)  # a result comes before what was said around it
    calls = [
        [part for turn in each for part in turn.parts if isinstance(part, ToolCall)] for each in (turns, read.messages)
    ]
    assert calls[0] == calls[1]


# What its answers mean.


def events(*values: Any) -> list[Any]:
    decoder = Decoder("m")
    return [event for value in values for event in decoder.feed(dumps(value))]


def content(index: int, **more: str) -> dict[str, Any]:
    return {"type": "content-delta", "index": index, "delta": {"message": {"content": more}}}


def opened(index: int, kind: str) -> dict[str, Any]:
    return {"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: ""}}}}


def cited(start: int, end: int, **more: Any) -> dict[str, Any]:
    sources = [
        {"type": "tool", "id": "t:0", "tool_output": {"title": "T"}},
        {"type": "document", "id": "d"},
        {"id": None},
    ]
    citation = {"start": start, "end": end, "text": "x", "sources": sources, **more}
    return {"type": "citation-start", "index": 0, "delta": {"message": {"citations": citation}}}


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b'{"delta":1}', b'{"delta":{"message":{"content":{"text":1}}}}'])
def test_rubbish_is_a_protocol_violation(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Decoder().feed(data)


def test_what_is_new_is_passed_over_and_what_follows_the_end_too() -> None:
    end = {"type": "message-end", "delta": {"finish_reason": "NEW", "usage": {"tokens": {"input_tokens": True}}}}
    found = events(
        {"type": "debug", "prompt": "…"}, {"type": "new", "delta": {"new": 1}}, content(0, text="a"), end, {"type": 7}
    )  # fmt: skip
    assert found == [TextDelta("a"), Finished("stop")]


def test_citations_count_from_the_beginning_of_the_answer() -> None:
    found = events(
        opened(0, "thinking"), content(0, thinking="Hm."), opened(1, "text"), content(1, text="Sunny."),
        opened(2, "text"), content(2, text="Warm."),
        cited(0, 4, content_index=2, type="TEXT_CONTENT"), cited(0, 5, content_index=1), cited(0, 4),
        cited(0, 2, content_index=0, type="THINKING_CONTENT"), cited(0, 2, type="PLAN"), cited(3, 1),
    )  # fmt: skip
    citations = [event for event in found if isinstance(event, Citation)]
    assert citations[:2] == [Citation(6, 10, "x", "t:0", "T"), Citation(6, 10, "x", "d")]
    assert [(each.start, each.end) for each in citations] == [(6, 10), (6, 10), (0, 5), (0, 5), (6, 10), (6, 10)]


def test_thoughts_and_plans_end_with_what_it_wants_back() -> None:
    plan = {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "Look."}}}
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    start = {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}}
    end = {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}
    assert events(content(0, thinking="Hm."), plan, start, {"type": "tool-call-end", "index": 0}, end) == [
        ReasoningDelta("Hm."),
        Signature("cohere", "thinking"),
        ReasoningDelta("Look."),
        Signature("cohere", "plan"),
        ToolCallStart(0, "1", "weather"),
        ToolCallDelta(0, "{}"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("TOOL_CALL", "stop"), ("MAX_TOKENS", "length")],
)
def test_why_it_ended(reason: str, expected: str) -> None:
    usage = {"tokens": {"input_tokens": 5.0, "output_tokens": 2}, "cached_tokens": 9.0}
    assert events({"type": "message-end", "delta": {"finish_reason": reason, "usage": usage}}) == [
        Finished(expected, Usage(5, 2, cached_tokens=5))  # type: ignore[arg-type]  # a literal, by the table
    ]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "message-end", "delta": {"finish_reason": "ERROR"}}, ServerFailed),
        ({"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}}, ServerFailed),
        ({"type": "message-end", "delta": {"error": "canary", "finish_reason": "COMPLETE"}}, ServerFailed),
        ({"message": "too many tokens: … cannot exceed 10 - received 12."}, ContextLengthExceeded),
        ({"id": "1", "message": "canary"}, ServerFailed),
    ],
)
def test_an_error_inside_an_answer(message: Any, error: type[BackendError]) -> None:
    with pytest.raises(error) as raised:
        events(message)
    assert "canary" not in str(raised.value)


NAMES = ["message", "content", "text", "thinking", "tool_plan", "tool_calls", "citations", "function", "name", "id"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)
KINDS = st.sampled_from(["content-delta", "tool-call-start", "tool-call-delta", "citation-start", "message-end", "new"])
CHUNKS = st.fixed_dictionaries(
    {"type": KINDS, "delta": st.dictionaries(st.sampled_from(["message", "usage", "finish_reason", "error"]), JSON)},
    optional={"index": st.integers(0, 3), "message": JSON},
)


@given(st.lists(CHUNKS | JSON, max_size=5))
def test_no_message_breaks_it_but_as_an_error_of_the_backend(values: list[Any]) -> None:
    decoder = Decoder("m")
    try:
        found = [event for value in values for event in decoder.feed(dumps(value))]
    except BackendError:
        return
    assert sum(isinstance(event, Finished) for event in found) == decoder.finished
    assert all(event.text for event in found if isinstance(event, TextDelta | ReasoningDelta))


# The backend.


@pytest.mark.parametrize("path", ["", "/", "/v2"])
async def test_its_place_may_be_that_of_its_chat(transport: Transport, path: str) -> None:
    async with fake.Cohere(FakeBackend("behind")) as provider:
        backend = Cohere(Options(name="c", base_url=provider.url + path, api_key=provider.key), transport)
        assert [model.id for model in await backend.models()] == ["fake"]


def test_the_usual_place_is_its_default() -> None:
    assert Options(name="c").base_url == "https://api.cohere.com"


async def test_a_key_is_needed_and_a_callers_own_is_taken(transport: Transport) -> None:
    async with fake.Cohere(FakeBackend("behind", text="a")) as provider:
        options = Options(name="c", base_url=provider.url, api_key="wrong", key_source="hybrid")
        backend = Cohere(options, transport)
        with pytest.raises(AuthenticationFailed):
            await backend.models()
        async with backend.stream(Request("fake", (HI,), 8, keys={"c": Secret(provider.key)})) as batches:
            first, _ = [event async for batch in batches for event in batch]
        assert first == TextDelta("a")


async def test_many_texts_are_sent_in_several_requests(transport: Transport) -> None:
    async with fake.Cohere(FakeBackend("behind")) as provider:
        backend = Cohere(Options(name="c", base_url=provider.url, api_key=provider.key), transport)
        words = tuple(f"word {number}" for number in range(MOST_TEXTS * 2 + 1))
        found = await backend.embed(EmbeddingRequest("fake", words, 4))
        alone = await backend.embed(EmbeddingRequest("fake", words[-1:], 4))
        assert (len(found.vectors), found.input_tokens) == (len(words), 2 * len(words))
        assert list(found.vectors[-1]) == list(alone.vectors[0])
        with pytest.raises(ModelNotFound):
            await backend.embed(EmbeddingRequest("other", ("a",)))
        with pytest.raises(UnsupportedFeature, match="token ids"):
            await backend.embed(EmbeddingRequest("fake", ("a", (1, 2))))


@pytest.mark.parametrize(
    "body",
    [{}, [], {"embeddings": {}}, {"embeddings": {"float": [[1.0], [2.0]]}}, {"embeddings": {"float": [["a"]]}}],
)
async def test_vectors_that_are_none(transport: Transport, body: Any) -> None:
    async with Upstream(default=lambda _: plain(200, body)) as upstream:
        with pytest.raises(ProtocolViolation):
            await Cohere(Options(name="c", base_url=upstream.origin), transport).embed(EmbeddingRequest("m", ("a",)))


@pytest.mark.parametrize("body", [[], {}, {"models": [{"endpoints": ["chat"]}]}, {"models": [7]}, {"models": None}])
async def test_a_list_of_models_that_is_none(transport: Transport, body: Any) -> None:
    async with Upstream(default=lambda _: plain(200, body)) as upstream:
        with pytest.raises(ProtocolViolation, match="list of models"):
            await Cohere(Options(name="c", base_url=upstream.origin), transport).models()
