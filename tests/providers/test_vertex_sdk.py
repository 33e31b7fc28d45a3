"""The fake Vertex AI can be believed: Google's SDK and Anthropic's understand all that it says, tokens included."""

from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropicVertex, AuthenticationError, NotFoundError, RateLimitError
from google import genai
from google.genai import errors, types
from google.oauth2.service_account import Credentials

from backends.fake import FakeBackend
from backends.json import loads
from tests.providers.base import Fault
from tests.providers.test_gemini_sdk import CALL, SCHEMA
from tests.providers.vertex import LOCATION, PROJECT, SCOPE, Vertex

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # its own

WORDS = "one two three four five six seven eight"
GEMINI, CLAUDE = "gemini-3.5-flash", "claude-sonnet-4-5@20250929"
ASK = {"model": GEMINI, "contents": "Hello there"}
ASK_CLAUDE = {"model": CLAUDE, "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 100}
WEATHER = {"name": "weather", "input_schema": SCHEMA}


@pytest.fixture
async def provider() -> AsyncIterator[Vertex]:
    async with Vertex(FakeBackend("behind", text=WORDS, models=(GEMINI, CLAUDE), context=512)) as provider:
        yield provider


@pytest.fixture
def credentials(provider: Vertex) -> Credentials:
    return Credentials.from_service_account_info(loads(provider.credentials()), scopes=[SCOPE])


@pytest.fixture
async def google(provider: Vertex, credentials: Credentials) -> AsyncIterator[genai.client.AsyncClient]:
    once = types.HttpRetryOptions(attempts=1)
    options = types.HttpOptions(base_url=provider.root, api_version="v1", retry_options=once)
    client = genai.Client(
        vertexai=True, project=PROJECT, location=LOCATION, credentials=credentials, http_options=options
    )
    async with client.aio as sdk:
        yield sdk


@pytest.fixture
async def claude(provider: Vertex, credentials: Credentials) -> AsyncIterator[AsyncAnthropicVertex]:
    more = {"credentials": credentials, "base_url": provider.url, "max_retries": 0}
    async with AsyncAnthropicVertex(region=LOCATION, project_id=PROJECT, **more) as sdk:
        yield sdk


async def test_gemini_streams_and_calls_a_tool(google: genai.client.AsyncClient, provider: Vertex) -> None:
    pieces = [piece async for piece in await google.models.generate_content_stream(**ASK)]
    assert "".join(piece.text or "" for piece in pieces) == WORDS
    assert pieces[-1].usage_metadata.candidates_token_count == 8
    assert (await google.models.generate_content(**ASK)).text == WORDS
    pieces = [piece async for piece in await google.models.generate_content_stream(**ASK, config=CALL)]
    [call] = [call for piece in pieces for call in piece.function_calls or ()]
    assert (call.name, call.args) == ("weather", {"city": "word"})
    assert (await google.models.count_tokens(**ASK)).total_tokens == 2
    assert provider.asked == ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "one token for all of them"


async def test_claude_streams_and_calls_a_tool(claude: AsyncAnthropicVertex) -> None:
    async with claude.messages.stream(**ASK_CLAUDE) as stream:
        answer = await stream.get_final_message()
    assert (answer.content[0].text, answer.usage.output_tokens) == (WORDS, 8)
    assert (await claude.messages.create(**ASK_CLAUDE)).content[0].text == WORDS
    asked = {**ASK_CLAUDE, "tools": [WEATHER], "tool_choice": {"type": "any"}}
    async with claude.messages.stream(**asked) as stream:
        [call] = (await stream.get_final_message()).content
    assert (call.name, call.input) == ("weather", {"city": "word"})
    counted = {name: value for name, value in ASK_CLAUDE.items() if name != "max_tokens"}
    assert (await claude.messages.count_tokens(**counted)).input_tokens == 2


async def test_a_refusal_is_the_sdks_typed_error(
    google: genai.client.AsyncClient, claude: AsyncAnthropicVertex, provider: Vertex
) -> None:
    provider.faults += [Fault("rate_limited"), Fault("rate_limited")]
    with pytest.raises(errors.ClientError, match="RESOURCE_EXHAUSTED"):
        await google.models.generate_content(**ASK)
    with pytest.raises(RateLimitError):
        await claude.messages.create(**ASK_CLAUDE)
    with pytest.raises(errors.ClientError, match="is not found"):
        await google.models.generate_content(model="gemini-absent", contents="Hi")
    with pytest.raises(NotFoundError):
        await claude.messages.create(**{**ASK_CLAUDE, "model": "claude-absent"})


async def test_a_token_that_is_not_the_last(claude: AsyncAnthropicVertex, provider: Vertex) -> None:
    await claude.messages.create(**ASK_CLAUDE)
    provider.given()
    with pytest.raises(AuthenticationError, match="UNAUTHENTICATED"):
        await claude.messages.create(**ASK_CLAUDE)


async def test_a_key_of_another_account_gets_no_token(provider: Vertex) -> None:
    account = loads(provider.credentials()) | {"client_email": "other@my-project-123.iam.gserviceaccount.com"}
    stranger = Credentials.from_service_account_info(account, scopes=[SCOPE])
    more = {"credentials": stranger, "base_url": provider.url, "max_retries": 0}
    async with AsyncAnthropicVertex(region=LOCATION, project_id=PROJECT, **more) as sdk:
        with pytest.raises(Exception, match="invalid_grant"):
            await sdk.messages.create(**ASK_CLAUDE)
