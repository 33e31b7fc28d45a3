"""What clouds that speak chat completions send: each of their errors, and each quirk of their streams."""

import pytest

from backends.chat_decode import Decoder
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContentFiltered,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Scope,
    ServerFailed,
    UnsupportedFeature,
)
from backends.events import Event, Finished, ReasoningDelta, TextDelta, Usage
from backends.http import Transport
from backends.openai_compatible import OpenAICompatible, Options
from backends.presets import Quirk, presets
from backends.provider_errors import classify
from backends.request import Request, said
from backends.sse import SseDecoder
from tests.upstream import Upstream
from tests.wire.recorded import recorded
from tests.wire.replay import SIZES, headers_of, read

HERE = "clouds-written"
NOW = 1795251600.0  # 2026-11-21 09:00:00 UTC
TO_MIDNIGHT = 15 * 3600.0
PACIFIC = 23 * 3600.0  # it is 01:00 there
ERRORS: dict[str, tuple[BackendError, Scope]] = {
    "openrouter_day": (QuotaExhausted(TO_MIDNIGHT), Scope.ACCOUNT),
    "openrouter_day_source": (QuotaExhausted(TO_MIDNIGHT), Scope.ACCOUNT),
    "openrouter_minute": (RateLimited(30.0, Scope.ACCOUNT), Scope.ACCOUNT),
    "openrouter_upstream": (RateLimited(7.0), Scope.MODEL),
    "openrouter_credits": (QuotaExhausted(), Scope.ACCOUNT),
    "openrouter_key_limit": (QuotaExhausted(None, Scope.KEY), Scope.KEY),
    "openrouter_in_flight": (RateLimited(3.0, Scope.ACCOUNT), Scope.ACCOUNT),
    "openrouter_flagged": (ContentFiltered(), Scope.MODEL),
    "openrouter_down": (ServerFailed(502), Scope.MODEL),
    "groq_tpd": (QuotaExhausted(578.016, Scope.MODEL), Scope.MODEL),
    "groq_tpm": (RateLimited(50.597142857), Scope.MODEL),
    "groq_rpm": (RateLimited(2.0), Scope.MODEL),
    "groq_rpd": (QuotaExhausted(86.4, Scope.MODEL), Scope.MODEL),
    "groq_too_large": (ContextLengthExceeded(14137, 12000), Scope.MODEL),
    "groq_tool": (ServerFailed(400), Scope.MODEL),
    "groq_field": (InvalidRequest(400), Scope.REQUEST),
    "groq_gone": (ModelNotFound("m"), Scope.MODEL),
    "openai_too_large": (ContextLengthExceeded(31538, 30000), Scope.MODEL),
    "cloudflare_day": (QuotaExhausted(TO_MIDNIGHT), Scope.ACCOUNT),
    "cloudflare_day_text": (QuotaExhausted(TO_MIDNIGHT), Scope.ACCOUNT),
    "cloudflare_capacity": (Overloaded(), Scope.MODEL),
    "cloudflare_model": (ModelNotFound("m"), Scope.MODEL),
    "mistral_limit": (RateLimited(4.0), Scope.MODEL),
    "mistral_month": (QuotaExhausted(), Scope.ACCOUNT),
    "mistral_capacity": (Overloaded(), Scope.MODEL),
    "mistral_field": (InvalidRequest(422, "max_output_tokens"), Scope.REQUEST),
    "mistral_model": (ModelNotFound("m"), Scope.MODEL),
    "mistral_too_long": (ContextLengthExceeded(40001, 32768), Scope.MODEL),
    "mistral_prefill": (UnsupportedFeature("prefill", "input"), Scope.MODEL),
    "cerebras_minute": (RateLimited(), Scope.MODEL),
    "cerebras_day": (QuotaExhausted(33011.38, Scope.MODEL), Scope.MODEL),
    "cerebras_queue": (Overloaded(), Scope.MODEL),
    "cerebras_too_long": (ContextLengthExceeded(8193, 8192), Scope.MODEL),
    "nvidia_limit": (RateLimited(), Scope.MODEL),
    "nvidia_gone": (ModelNotFound("m"), Scope.MODEL),
    "nvidia_account": (ModelNotFound("m"), Scope.MODEL),
    "huggingface_month": (QuotaExhausted(), Scope.ACCOUNT),
    "sambanova_card": (QuotaExhausted(), Scope.ACCOUNT),
    "sambanova_day": (QuotaExhausted(3700.0, Scope.MODEL), Scope.MODEL),
    "sambanova_gone": (ModelNotFound("m"), Scope.MODEL),
    "deepseek_balance": (QuotaExhausted(), Scope.ACCOUNT),
    "xai_key": (AuthenticationFailed(401), Scope.KEY),
    "xai_credits": (QuotaExhausted(), Scope.ACCOUNT),
    "xai_field": (InvalidRequest(400, "presence_penalty"), Scope.REQUEST),
    "xai_effort": (UnsupportedFeature("a reasoning effort", "reasoning.effort"), Scope.MODEL),
    "together_spent": (QuotaExhausted(), Scope.ACCOUNT),
    "together_limit": (RateLimited(9.0), Scope.MODEL),
    "together_too_long": (ContextLengthExceeded(None, 4097), Scope.MODEL),
    "together_busy": (Overloaded(), Scope.BACKEND),
    "zai_balance": (QuotaExhausted(), Scope.ACCOUNT),
    "gemini_day": (QuotaExhausted(PACIFIC, Scope.MODEL), Scope.MODEL),
    "gemini_key": (AuthenticationFailed(401), Scope.KEY),
}
PARIS = [TextDelta("Paris"), Finished("stop", Usage(5, 2))]
QUIRKS: dict[Quirk, dict[str, list[Event]]] = {  # by preset: its stream, and what it says
    "comments": {
        "openrouter": [TextDelta("Par"), TextDelta("is"), Finished("stop", Usage(5, 2))],
        "deepseek": PARIS,
    },
    "usage_twice": {"groq": PARIS},
    "usage_unasked": {"mistral": PARIS},
}
BROKEN = {  # by name: what comes first, and the error that follows
    "openrouter_stream_error": ([TextDelta("Par")], ServerFailed(502)),
    "openrouter_in_200": ([], QuotaExhausted(TO_MIDNIGHT)),
    "groq_stream_error": ([TextDelta("Par")], ServerFailed()),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_known_by_its_content(name: str) -> None:
    status, head, body = recorded(f"{HERE}/{name}")
    found, (expected, scope) = classify(status, headers_of(head), body, model="m", now=NOW), ERRORS[name]
    assert (type(found), found.args, found.scope) == (type(expected), expected.args, scope)
    assert found.retry_after == pytest.approx(expected.retry_after)
    assert not {"org_1", "secret", "user_1", "16f2", "qwen"} & set(str(found).replace("'", " ").split())


def test_a_limit_per_minute_is_not_called_a_context() -> None:
    status, head, body = recorded(f"{HERE}/groq_too_large")
    assert str(classify(status, headers_of(head), body, now=NOW)) == (
        "The request needs 14137 tokens with its longest answer; the gateway's account may use 12000 a minute of this "
        "model. Shorten the input, lower max_output_tokens, or choose another model."
    )


@pytest.mark.parametrize(
    ("preset", "quirk"), [(each.name, quirk) for each in presets().values() for quirk in each.quirks]
)
def test_a_quirk_of_a_preset_is_taken(preset: str, quirk: Quirk) -> None:
    if quirk == "error_in_200":
        _, _, body = recorded(f"{HERE}/{preset}_in_200")
        with pytest.raises(BackendError):
            Decoder("m").feed(body)
        return
    _, _, body = recorded(f"{HERE}/{preset}_stream")
    for size in SIZES:
        assert read(body, size, SseDecoder(), Decoder("m")) == QUIRKS[quirk][preset]


def test_thoughts_that_are_parts_of_the_content() -> None:
    _, _, body = recorded(f"{HERE}/mistral_stream_thinking")
    assert read(body, SIZES[-1], SseDecoder(), Decoder("m")) == [
        *map(ReasoningDelta, ["France's", " capital."]),
        *map(TextDelta, ["Pa", "ris"]),
        Finished("stop", Usage(5, 2)),
    ]


@pytest.mark.parametrize("name", BROKEN)
async def test_an_error_inside_a_200(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.openai_compatible.now", lambda: NOW)
    _, head, body = recorded(f"{HERE}/{name}")
    transport, events = Transport(), []

    async def drain(backend: OpenAICompatible) -> None:
        async with backend.stream(Request("m", (said("user", "Hi"),), 16)) as batches:
            async for batch in batches:
                events.extend(batch)

    said_first, expected = BROKEN[name]
    async with Upstream([head + body]) as upstream:
        with pytest.raises(type(expected)) as caught:
            await drain(OpenAICompatible(Options(name="b", base_url=upstream.url, preset="openrouter"), transport))
        transport.close()
    assert (events, caught.value.args) == (said_first, expected.args)
