"""The fake Gemini API can be believed: Google's own SDK understands all that it says, and each fault is one."""

from collections.abc import AsyncIterator

import pytest
from google import genai
from google.genai import errors, types

from backends.events import Finished, ReasoningDelta, Signature, ToolCallDelta, ToolCallStart, Usage
from backends.fake import FakeBackend
from tests.providers.base import Fault
from tests.providers.gemini import Gemini

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # its own

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=SCHEMA)])
CALL = types.GenerateContentConfig(
    tools=[TOOL],
    tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)
ASK = {"model": "gemini-3.5-flash", "contents": "Hello there"}
WORDS = "one two three four five six seven eight"
PIXEL = b"\x89PNG\r\n"


def client(provider: Gemini, key: str = Gemini.key) -> genai.Client:
    base_url = provider.url.removesuffix(Gemini.prefix)
    options = types.HttpOptions(
        base_url=base_url, api_version="v1beta", retry_options=types.HttpRetryOptions(attempts=1)
    )
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture
async def provider() -> AsyncIterator[Gemini]:
    async with Gemini(FakeBackend("behind", text=WORDS, models=("gemini-3.5-flash", "other"), context=512)) as provider:
        yield provider


@pytest.fixture
async def sdk(provider: Gemini) -> AsyncIterator[genai.client.AsyncClient]:
    async with client(provider).aio as sdk:
        yield sdk


async def told(sdk: genai.client.AsyncClient, **more: object) -> str:
    """What a stream says."""
    pieces = await sdk.models.generate_content_stream(**ASK, **more)
    return "".join([piece.text or "" async for piece in pieces])


async def test_text_and_usage(sdk: genai.client.AsyncClient, provider: Gemini) -> None:
    pieces = [piece async for piece in await sdk.models.generate_content_stream(**ASK)]
    assert "".join(piece.text or "" for piece in pieces) == WORDS
    assert len(pieces) == 9
    assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP
    whole = await sdk.models.generate_content(**ASK)
    assert (whole.text, whole.candidates[0].finish_reason) == (WORDS, types.FinishReason.STOP)
    for usage in (pieces[-1].usage_metadata, whole.usage_metadata):
        assert (usage.prompt_token_count, usage.candidates_token_count) == (2, 8)
    assert [seen.tokens for seen in provider.seen] == [8, 8]


async def test_the_models_in_pages(sdk: genai.client.AsyncClient) -> None:
    models = [model async for model in await sdk.models.list()]
    assert [(model.name, model.input_token_limit) for model in models] == [
        ("models/gemini-3.5-flash", 512),
        ("models/other", 512),
    ]


async def test_a_tool_is_called_and_answered(sdk: genai.client.AsyncClient, provider: Gemini) -> None:
    pieces = [piece async for piece in await sdk.models.generate_content_stream(**ASK, config=CALL)]
    [streamed] = [call for piece in pieces for call in piece.function_calls or ()]
    whole = await sdk.models.generate_content(**ASK, config=CALL)
    for call in (streamed, *whole.function_calls):
        assert (call.name, call.args) == ("weather", {"city": "word"})
    part = whole.candidates[0].content.parts[0]
    history = [
        types.Content(
            role="user",
            parts=[types.Part(text="Hello there"), types.Part.from_bytes(data=PIXEL, mime_type="image/png")],
        ),
        types.Content(role="model", parts=[part]),
        types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(
                        id=part.function_call.id, name="weather", response={"output": "Sunny."}
                    )
                )
            ],
        ),
    ]
    with pytest.raises(errors.ClientError, match="missing a `thought_signature`"):
        await sdk.models.generate_content(model=ASK["model"], contents=history)
    part.thought_signature = b"signed"
    answer = await sdk.models.generate_content(model=ASK["model"], contents=history)
    assert answer.text == WORDS
    assert [len(message.parts) for message in provider.behind.requests[-1].messages] == [2, 2, 1]


async def test_thoughts_and_signatures(sdk: genai.client.AsyncClient, provider: Gemini) -> None:
    said = [ReasoningDelta("Hm."), Signature("gemini", "call:c2ln"), ToolCallStart(0, "1", "weather")]
    said += [ToolCallDelta(0, "{}"), Finished("stop", Usage(3, 9, 1, 4))]
    provider.behind.script = [said]
    for streamed in (True, False):
        method = sdk.models.generate_content_stream if streamed else sdk.models.generate_content
        found = await method(**ASK)
        pieces = [piece async for piece in found] if streamed else [found]
        parts = [part for piece in pieces for part in piece.candidates[0].content.parts]
        assert (parts[0].text, parts[0].thought) == ("Hm.", True)
        assert (parts[1].function_call.name, parts[1].thought_signature) == ("weather", b"sig")
        usage = pieces[-1].usage_metadata
        assert (usage.thoughts_token_count, usage.candidates_token_count, usage.cached_content_token_count) == (4, 5, 1)


async def test_tokens_and_vectors(sdk: genai.client.AsyncClient) -> None:
    assert (await sdk.models.count_tokens(**ASK)).total_tokens == 2
    texts = [types.Content(parts=[types.Part(text=text)]) for text in ("a", "b")]
    found = await sdk.models.embed_content(model=ASK["model"], contents=texts)
    assert [len(each.values) for each in found.embeddings] == [8, 8]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault("rate_limited", retry_after=2), 429, "PerMinute"),
        (Fault("spent"), 429, "PerDay"),
        (Fault("overloaded"), 503, "overloaded"),
        (Fault("server_error"), 500, "internal"),
        (Fault("context_overflow"), 400, "exceeds the maximum"),
        (Fault("prefill_refused"), 400, "user role"),
        (Fault("bad_key"), 400, "API_KEY_INVALID"),
        (Fault("unknown_model"), 404, "is not found"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
async def test_a_refusal_is_the_sdks_typed_error(
    sdk: genai.client.AsyncClient, provider: Gemini, fault: Fault, code: int, words: str
) -> None:
    provider.faults.append(fault)
    with pytest.raises(errors.ServerError if code >= 500 else errors.ClientError, match=words) as caught:
        await told(sdk)
    assert caught.value.code == code
    assert await told(sdk) == WORDS, "a fault is for one request"


async def test_a_blocked_prompt_is_an_answer(sdk: genai.client.AsyncClient, provider: Gemini) -> None:
    provider.faults.append(Fault("content_filter"))
    answer = await sdk.models.generate_content(**ASK)
    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT
    assert answer.candidates is None


async def test_a_wrong_key_and_a_wrong_model(provider: Gemini) -> None:
    async with client(provider, "AIza-wrong").aio as wrong:
        with pytest.raises(errors.ClientError, match="API_KEY_INVALID"):
            await told(wrong)
    async with client(provider).aio as sdk:
        with pytest.raises(errors.ClientError, match="models/absent is not found"):
            await sdk.models.generate_content(model="absent", contents="Hi")


async def test_an_error_in_the_stream(sdk: genai.client.AsyncClient, provider: Gemini) -> None:
    provider.always = Fault("error_in_stream", at=3)
    with pytest.raises(errors.APIError, match="overloaded"):
        await told(sdk)
    assert provider.seen[0].tokens == 3
