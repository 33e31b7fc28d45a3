"""What a provider wants back reaches the client in each API, and comes back as it was, in its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.events import (
    Event,
    Finished,
    ReasoningDelta,
    Signature,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from backends.request import Message, Opaque, Part, Reasoning, Text, ToolCall
from proxy.wire.chat_chunks import chat_completion
from proxy.wire.chat_messages import chat_message
from proxy.wire.messages_content import conversation
from proxy.wire.messages_events import message
from proxy.wire.opaque import MAX_CHARACTERS, packed, unpacked
from proxy.wire.responses_input import checked_items, messages_of
from tests.unit.proxy.wire.test_chat_streams import log_of, response_of

DATA = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DONE = Finished("stop", Usage(3, 2))
THOUGHT = [ReasoningDelta("Let me "), ReasoningDelta("see."), Signature("anthropic", "c2ln+/=")]
CALL = [ToolCallStart(0, "call_1", "look"), ToolCallDelta(0, "{}")]


def over_responses(events: list[Event]) -> tuple[Part, ...]:
    response = response_of(log_of(events))
    return messages_of(checked_items(response["output"], lambda prefix: f"{prefix}_x"))[0].parts


def over_chat(events: list[Event]) -> tuple[Part, ...]:
    response = response_of(log_of(events))
    return chat_message(chat_completion([response])["choices"][0]["message"], "messages[0]").parts


def over_messages(events: list[Event]) -> tuple[Part, ...]:
    response = response_of(log_of(events))
    [answer] = conversation([{"role": "assistant", "content": message(response)["content"]}])
    return answer.parts


APIS = [over_responses, over_chat, over_messages]


@pytest.mark.parametrize("over", APIS)
def test_thinking_with_its_signature_comes_back_before_the_call(over: Any) -> None:
    expected = (Reasoning("Let me see.", Opaque("anthropic", "c2ln+/=")), ToolCall("call_1", "look", "{}"))
    assert over([*THOUGHT, *CALL, DONE]) == expected


@pytest.mark.parametrize("over", APIS)
def test_a_signature_without_text_keeps_its_place_before_its_call(over: Any) -> None:
    events = [TextDelta("I look."), Signature("gemini", "A"), *CALL, Signature("gemini", "B")]
    events += [ToolCallStart(1, "call_2", "look"), ToolCallDelta(1, "{}"), DONE]
    assert over(events) == (
        Text("I look."),
        Reasoning("", Opaque("gemini", "A")),
        ToolCall("call_1", "look", "{}"),
        Reasoning("", Opaque("gemini", "B")),
        ToolCall("call_2", "look", "{}"),
    )


@pytest.mark.parametrize("over", APIS)
def test_each_piece_of_thinking_has_its_own_signature(over: Any) -> None:
    events = [ReasoningDelta("a"), Signature("anthropic", "1"), ReasoningDelta("b"), Signature("anthropic", "2")]
    parts = over([*events, Signature("anthropic", "sealed"), TextDelta("So."), *CALL, DONE])
    assert parts == (
        Reasoning("a", Opaque("anthropic", "1")),
        Reasoning("b", Opaque("anthropic", "2")),
        Reasoning("", Opaque("anthropic", "sealed")),
        Text("So."),
        ToolCall("call_1", "look", "{}"),
    )


@pytest.mark.parametrize("over", APIS)
@given(provider=st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True), data=DATA)
def test_any_data_comes_back_as_it_was(over: Any, provider: str, data: str) -> None:
    assert over([Signature(provider, data), *CALL, DONE])[0] == Reasoning("", Opaque(provider, data))


@given(st.text() | st.none() | st.integers() | st.builds("sl1.{}".format, st.text()))
def test_what_was_not_packed_here_is_left_out(text: object) -> None:
    found = unpacked(text)
    assert found is None or packed(found) == text


def test_what_is_too_long_is_left_out() -> None:
    most = packed(Opaque("openai", "x" * (MAX_CHARACTERS - len("sl1.openai."))))
    assert unpacked(most) is not None
    assert unpacked(f"{most}x") is None


FOREIGN = "EqQBCkgIARABGAIiQL8"


def test_what_another_service_made_is_no_error_and_goes_nowhere() -> None:
    reasoning = {"type": "reasoning", "summary": [], "encrypted_content": FOREIGN}
    answer = {"role": "assistant", "content": "Hi."}
    assert messages_of(checked_items([reasoning, answer], lambda prefix: prefix)) == (
        Message("assistant", (Text("Hi."),)),
    )
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm.", "signature": FOREIGN},
        {"type": "redacted_thinking", "data": FOREIGN},
    ]
    [said] = conversation([{"role": "assistant", "content": blocks}])
    assert said.parts == (Reasoning("Hm."),)
    details = [{"type": "reasoning.encrypted", "data": FOREIGN}, {"type": "reasoning.text", "text": 5}, "no object"]
    assert chat_message({**answer, "reasoning_details": details}, "messages[0]").parts == (Text("Hi."),)


def test_a_chat_client_that_sends_only_the_text_back_is_understood() -> None:
    given = {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm.", "reasoning_details": []}
    assert chat_message(given, "messages[0]").parts == (Reasoning("Hm."), Text("Hi."))
