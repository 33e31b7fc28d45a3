"""Requests of the chat, completions, embeddings and messages APIs become one vocabulary, or an error that names why."""

from array import array
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import localai, vllm
from backends.capabilities import GUIDES
from backends.json import dumps, loads
from backends.request import (
    Audio,
    EmbeddingRequest,
    File,
    Image,
    JsonFormat,
    Message,
    NamedTool,
    Prompt,
    Reasoning,
    Request,
    Sampling,
    Text,
    ToolCall,
    ToolResult,
    said,
)
from proxy.errors import BadParameter, ProxyError, Unsupported
from proxy.wire.chat_request import parse_chat
from proxy.wire.completions_request import parse_completion
from proxy.wire.embeddings import embedding_objects, embeddings_body, parse_embeddings
from proxy.wire.extras import Extras
from proxy.wire.messages_request import parse_count, parse_messages
from proxy.wire.responses_request import parse_create
from tests.unit.proxy.wire.client_requests import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES
from tests.unit.proxy.wire.responses_requests import LOOK, PIXEL

APIS: dict[str, tuple[Callable[[Any], Any], dict[str, dict[str, Any]]]] = {
    "chat": (parse_chat, CHAT),
    "completions": (parse_completion, COMPLETIONS),
    "embeddings": (parse_embeddings, EMBEDDINGS),
    "messages": (parse_messages, MESSAGES),
    "count": (parse_count, MESSAGES),
}
WORDS = st.sampled_from(
    ["text", "tool", "user", "assistant", "function", "custom", "image", "tool_result", "json_schema", "base64", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | WORDS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


@pytest.mark.parametrize("api", APIS)
@given(data=st.data())
def test_a_real_request_that_was_damaged_is_read_or_refused_never_a_crash(api: str, data: st.DataObject) -> None:
    parse, requests = APIS[api]
    body = deepcopy(requests[data.draw(st.sampled_from(sorted(requests)))])
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(body)))
        container[key] = data.draw(VALUES)
    try:
        parse(loads(dumps(body)))
    except ProxyError as error:
        assert str(error).endswith((".", "?"))
        assert "\n" not in str(error)


@pytest.mark.parametrize("api", APIS)
@given(body=VALUES)
def test_anything_at_all_is_refused_with_a_sentence(api: str, body: Any) -> None:
    with pytest.raises(ProxyError):
        APIS[api][0](body)


def chat(**members: Any) -> Request:
    return parse_chat({**CHAT["one line"], **members}).creates[0].request


def test_a_chat_applications_request() -> None:
    choices = parse_chat(CHAT["a chat application"])
    first, second = (create.request for create in choices.creates)
    assert (choices.stream, choices.include_usage) == (True, True)
    assert not choices.creates[0].store
    assert first.messages == (
        said("system", "Be kind."),
        Message("user", (Text("What is this?"), Image("image/png", PIXEL))),
        Message("assistant", (Reasoning("Small."), Text("A pixel."))),
        Message("user", (File("a.pdf", "application/pdf", PIXEL), Audio("wav", PIXEL))),
    )
    assert (first.max_output_tokens, first.stop) == (100, ("\n\n",))
    assert first.sampling == Sampling(temperature=0.7, top_p=1, seed=7)
    assert second.sampling.seed == 8, "two choices of one seed would say the same"


def test_fields_of_one_servers_own_are_handed_on_as_they_came() -> None:
    sent = {
        "priority": -1,
        "cache_salt": "mine",
        "guided_choice": ["a", "b"],
        "chat_template_kwargs": {"thinking": True},
    }
    assert chat(**sent, min_tokens=None).extras == sent
    assert parse_completion({**COMPLETIONS["one line"], **sent}).creates[0].request.extras == sent
    assert parse_create({"model": "m", "input": "hi", **sent}).request.extras == sent
    assert chat().extras == {}


@pytest.mark.parametrize("own", [vllm.EXTRAS, localai.EXTRAS])
def test_what_a_backend_has_of_its_own_can_be_asked_for(own: frozenset[str]) -> None:
    assert own - {"logit_bias"} <= set(Extras.__struct_fields__)
    assert set(Extras.__struct_fields__) >= GUIDES


def test_an_agents_chat_request() -> None:
    [create] = parse_chat(CHAT["an agent"]).creates
    request = create.request
    assert request.messages[1:] == (
        said("user", "Weather in Rome?"),
        Message("assistant", (ToolCall("call_1", "get_weather", "{}"), ToolCall("call_2", "note", '{"input":"Rome"}'))),
        Message("user", (ToolResult("call_1", (Text("sunny"),)),)),
        Message("user", (ToolResult("call_2", (Text("noted"),)),)),
    )
    assert create.custom_tools == {"note"}
    assert [tool.name for tool in request.tools] == ["get_weather"], "only the allowed tools are shown to the model"
    assert request.tools[0].parameters == LOOK["parameters"]
    assert request.tool_choice == "required"
    assert request.format == JsonFormat({"type": "object"}, "answer", None, True)
    assert (request.reasoning_effort, request.top_logprobs) == ("low", 2)
    assert (request.parallel_tool_calls, request.max_output_tokens) == (False, 50)


def test_one_tool_may_be_chosen() -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    assert chat(tools=CHAT["an agent"]["tools"], tool_choice=choice).tool_choice == NamedTool("get_weather")


def test_log_probabilities_of_the_chosen_tokens_alone() -> None:
    assert chat(logprobs=True).top_logprobs == 0
    assert chat(logprobs=False).top_logprobs is None


def test_a_code_editors_completion() -> None:
    choices = parse_completion(COMPLETIONS["a code editor"])
    assert [create.request.prompt for create in choices.creates] == [Prompt("def f():", "\n")] * 2 + [
        Prompt("def g():", "\n")
    ] * 2
    assert [create.request.sampling.seed for create in choices.creates] == [1, 2, 1, 2]
    assert choices.creates[0].request.top_logprobs == 1
    assert not choices.creates[0].request.messages


def test_embeddings_are_asked_in_four_forms() -> None:
    assert parse_embeddings(EMBEDDINGS["one text"]) == (EmbeddingRequest("m", ("a",)), True)
    assert parse_embeddings(EMBEDDINGS["several"]) == (EmbeddingRequest("m", ("a", "b"), 2), False)
    assert parse_embeddings(EMBEDDINGS["token ids"])[0].inputs == ((1, 2), (3,))
    assert parse_embeddings({"model": "m", "input": [1, 2]})[0].inputs == ((1, 2),)
    with pytest.raises(BadParameter, match="dimensions"):
        parse_embeddings({"model": "m", "input": "a", "dimensions": 16_385})


@pytest.mark.parametrize("packed", [array("f", [0.5, 1]), array("d", [0.5, 1])])
def test_embeddings_are_shown_as_numbers_or_as_base64(packed: Any) -> None:
    asked = EmbeddingRequest("m", ("a", "b"))
    for base64, shown in ((False, [0.5, 1.0]), (True, "AAAAPwAAgD8=")):
        data = list(embedding_objects([packed, packed], base64=base64))
        assert loads(embeddings_body(asked, data, 3)) == {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": shown} for index in (0, 1)],
            "model": "m",
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }


def test_a_coding_agents_message() -> None:
    create, streamed = parse_messages(MESSAGES["a coding agent"])
    request = create.request
    assert streamed
    assert not create.store
    assert request.messages == (
        said("system", "You edit code."),
        Message(
            "user",
            (Text("Look."), Image("image/png", PIXEL), File("a", "application/pdf", PIXEL), Text("plain")),
        ),
        Message("assistant", (Reasoning("Hm."), Text("I read."), ToolCall("toolu_1", "read", '{"path":"a"}'))),
        Message("user", (ToolResult("toolu_1", (Text("no such file"),)),)),
        said("user", "Go on."),
    )
    assert request.tools[0].parameters == LOOK["parameters"]
    assert (request.reasoning_effort, request.parallel_tool_calls) == ("low", False)
    assert (request.stop, request.max_output_tokens) == (("END",), 8000)
    assert request.sampling == Sampling(temperature=1, top_k=5, top_p=0.9)


def test_what_only_anthropic_has_is_handed_on() -> None:
    sent = {"cache_control": {"type": "ephemeral"}, "metadata": {"user_id": "u"}, "service_tier": "auto"}
    assert parse_messages({**MESSAGES["one line"], **sent})[0].request.extras == sent
    assert parse_messages(MESSAGES["one line"])[0].request.extras == {}


def test_a_structured_message() -> None:
    request = parse_messages(MESSAGES["structured"])[0].request
    assert request.format == JsonFormat({"type": "object"}, strict=True)
    assert request.reasoning_effort == "max"
    assert request.tool_choice == NamedTool("read")


def test_thinking_becomes_an_effort() -> None:
    def effort(**thinking: Any) -> str | None:
        return parse_messages({**MESSAGES["one line"], "thinking": thinking})[0].request.reasoning_effort

    budgets = {1024: "low", 10_000: "medium", 32_000: "high"}
    assert {budget: effort(type="enabled", budget_tokens=budget) for budget in budgets} == budgets
    assert effort(type="disabled") is effort(type="adaptive") is None


URL = "https://example.com/a.png"


@pytest.mark.parametrize(
    ("api", "members", "error", "param"),
    [
        ("chat", {"audio": {"voice": "x", "format": "wav"}}, Unsupported, "audio"),
        ("chat", {"modalities": ["text", "audio"]}, Unsupported, "modalities"),
        ("chat", {"functions": [{"name": "f"}]}, Unsupported, "functions"),
        ("chat", {"web_search_options": {"a": 1}}, Unsupported, "web_search_options"),
        ("chat", {"tools": [{"type": "web_search"}]}, Unsupported, "tools[0]"),
        ("chat", {"top_logprobs": 2}, BadParameter, "top_logprobs"),
        ("chat", {"n": 9}, BadParameter, "n"),
        ("chat", {"reasoning_effort": "huge"}, BadParameter, "reasoning_effort"),
        ("chat", {"priority": "high"}, BadParameter, "priority"),
        ("chat", {"guided_json": {"type": "x" * 200_000}}, BadParameter, "guided_json"),
        ("chat", {"stop": ""}, BadParameter, "stop"),
        ("chat", {"messages": []}, BadParameter, "messages"),
        ("chat", {"message": []}, BadParameter, "message"),
        ("chat", {"messages": [{"role": "user"}]}, BadParameter, "messages[0].content"),
        ("chat", {"response_format": {"type": "xml"}}, Unsupported, "response_format"),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}]},
            Unsupported,
            "messages[0].content[0].image_url.url",
        ),
        ("completions", {"echo": True}, Unsupported, "echo"),
        ("completions", {"best_of": 2}, Unsupported, "best_of"),
        ("completions", {"prompt": [1, 2]}, Unsupported, "prompt[0]"),
        ("completions", {"prompt": ["a"] * 9}, BadParameter, "n"),
        ("embeddings", {"input": []}, BadParameter, "input"),
        ("embeddings", {"input": ["a", ""]}, BadParameter, "input[1]"),
        ("embeddings", {"input": ["a"] * 2049}, BadParameter, "input"),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, Unsupported, "tools[0]"),
        ("messages", {"mcp_servers": [{"url": URL}]}, Unsupported, "mcp_servers"),
        ("messages", {"tool_choice": {"type": "tool", "name": "f"}}, BadParameter, "tool_choice"),
        ("messages", {"messages": [{"role": "user"}]}, BadParameter, "messages[0].content"),
        ("messages", {"messages": [{"role": "user", "content": []}]}, BadParameter, "messages"),
        ("messages", {"messages": [{"role": "user", "content": ""}]}, BadParameter, "messages"),
        ("messages", {"max_tokens": None}, BadParameter, "max_tokens"),
        ("messages", {"temperature": 1.5}, BadParameter, "temperature"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}]},
            Unsupported,
            "messages[0].content[0].source",
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]},
            Unsupported,
            "messages[0].content[0]",
        ),
    ],
)
def test_what_cannot_be_done_is_named(api: str, members: dict[str, Any], error: type[ProxyError], param: str) -> None:
    parse, requests = APIS[api]
    first = next(iter(requests.values()))
    with pytest.raises(error) as raised:
        parse({**first, **members})
    assert raised.value.param == param


def test_a_missing_member_is_said_to_be() -> None:
    with pytest.raises(BadParameter, match=r"^'messages' is missing\.$") as raised:
        parse_chat({"model": "m"})
    assert raised.value.param == "messages"


def test_an_effort_that_there_is_not_names_those_that_there_are() -> None:
    with pytest.raises(BadParameter, match="must be one of none, minimal, low, medium, high, xhigh, max"):
        chat(reasoning_effort="huge")
    assert chat(reasoning_effort="xhigh").reasoning_effort == "xhigh"
