"""Presets: the data is whole, and what they say of a server is what it is sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.chat_encode import encode
from backends.errors import BackendError, UnsupportedFeature
from backends.http import Transport
from backends.json import dumps
from backends.openai_compatible import OpenAICompatible, Options
from backends.presets import Preset, fitted, presets
from backends.provider_errors import classify
from backends.request import Message, Opaque, Reasoning, Request, Sampling, Text, ToolCall, ToolResult, said

WISHES = Sampling(temperature=0.5, top_k=4, min_p=0.1, presence_penalty=0.5, frequency_penalty=0.5, seed=7)
ASK = Request("m", (said("user", "Hi"),), 16, sampling=WISHES)


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_a_preset_is_a_backend_that_could_be_asked(preset: Preset) -> None:
    options = Options(name="b", preset=preset.name, account="0123abc" if preset.account_env else None)
    assert options.base_url.startswith("http://127.0.0.1:" if preset.local else "https://")
    assert "{" not in options.base_url
    assert all(source.startswith("https://") for source in preset.source.split("; "))
    assert preset.date.startswith("20")
    body = OpenAICompatible(options, Transport()).body(ASK)
    assert not set(preset.refuses) & set(body)
    assert not set(preset.renames) & set(body)
    assert {"model", "messages", "stream"} <= set(body)


def test_no_key_belongs_to_two() -> None:
    names = [name for preset in presets().values() for name in preset.key_env]
    assert len(names) == len(set(names))


def test_what_a_server_refuses_is_left_out_and_what_it_calls_otherwise_is_called_so() -> None:
    def sent(name: str) -> dict[str, Any]:
        return fitted(encode(ASK), ASK, presets()[name])

    assert (sent("mistral")["random_seed"], sent("mistral")["top_k"]) == (7, 4)
    assert not {"seed", "min_p", "stream_options"} & set(sent("mistral"))
    assert sent("groq")["max_completion_tokens"] == 16
    assert sent("groq")["stream_options"] == {"include_usage": True}
    assert sent("together") == encode(ASK)


def test_what_a_server_lacks_is_refused_before_it_is_asked() -> None:
    likely = Request("m", ASK.messages, 16, top_logprobs=2)
    with pytest.raises(UnsupportedFeature, match="log probabilities"):
        fitted(encode(likely), likely, presets()["groq"])


KEYS = st.sampled_from(
    ["error", "errors", "message", "code", "type", "metadata", "headers", "detail", "loc", "status", "title", "object",
     "limit_source", "x_groq", "X-RateLimit-Reset"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.just("sk-secret prompt"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.none() | st.sampled_from([400, 401, 402, 403, 404, 408, 410, 413, 422, 429, 502, 503]), VALUES)
def test_any_body_is_one_of_our_errors_and_none_of_its_words(status: int | None, body: Any) -> None:
    found = classify(status, {"x-ratelimit-reset": "sk-secret"}, dumps(body), model="m", now=1795251600.0)
    assert isinstance(found, BackendError)
    assert "secret" not in str(found) + repr(found)
    assert found.retry_after is None or found.retry_after >= 0


def test_what_a_model_thought_goes_back_with_its_calls_where_a_server_wants_that() -> None:
    call = ToolCall("1", "clock", "{}")
    thought, others = Reasoning("What time is it?"), Reasoning("Hidden.", Opaque("anthropic", "c2ln"))
    messages = (
        *ASK.messages,
        Message("assistant", (thought, others, call)),
        Message("user", (ToolResult("1", (Text("noon"),)),)),
        Message("assistant", (call,)),
        Message("user", (ToolResult("1", (Text("noon"),)),)),
        Message("assistant", (thought, Text("Noon."))),
    )

    def told(preset: str) -> list[str | None]:
        options = Options(name="b", preset=preset)
        body = OpenAICompatible(options, Transport()).body(Request("m", messages, 16))
        return [each.get("reasoning_content") for each in body["messages"] if each["role"] == "assistant"]

    assert told("deepseek") == ["What time is it?", "", None]
    assert told("groq") == [None, None, None]
