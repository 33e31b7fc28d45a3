"""The demonstration of free tiers: its providers talk as the real ones do, and a day of it keeps every limit."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from google import genai
from google.genai import types
from google.genai.errors import ClientError
from groq import AsyncGroq
from groq import RateLimitError as GroqRateLimitError
from openai import AsyncOpenAI, RateLimitError

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # Google's

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "scripts" / "demo"
ASK = {"messages": [{"role": "user", "content": "Say something about the weather"}], "max_tokens": 200}
FEW = {**ASK, "max_tokens": 1}


@pytest.fixture
async def urls() -> AsyncIterator[Mapping[str, str]]:
    """The five of them, at noon; a minute of theirs is 15 seconds."""
    noon = time.time() // 86400 * 86400 + 43200
    clock = f"{noon},{time.monotonic()},21600"
    child = await asyncio.create_subprocess_exec(
        sys.executable, DEMO / "serve.py", clock, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    yield json.loads(await child.stdout.readline())
    child.stdin.close()
    assert await child.wait() == 0


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("groq", "openai/gpt-oss-120b"),
        ("openrouter", "openai/gpt-oss-20b:free"),
        ("cloudflare", "@cf/openai/gpt-oss-120b"),
        ("llm7", "gpt-oss:20b"),
    ],
)
async def test_the_official_sdk_reads_their_answers(urls: Mapping[str, str], name: str, model: str) -> None:
    async with AsyncOpenAI(base_url=urls[name], api_key="demo", max_retries=0) as sdk:
        assert [each.id for each in (await sdk.models.list()).data] == [model]
        whole = await sdk.chat.completions.create(model=model, **ASK)
        assert whole.choices[0].message.content.startswith("word ")
        assert whole.usage.completion_tokens == len(whole.choices[0].message.content.split()) <= 200
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = [chunk async for chunk in await sdk.chat.completions.create(model=model, **FEW, **options)]
        assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "word "
        assert chunks[-1].usage.completion_tokens == 1


async def test_groq_refuses_with_axis_and_wait(urls: Mapping[str, str]) -> None:
    base = urls["groq"].removesuffix("/openai/v1")
    async with AsyncGroq(base_url=base, api_key="demo", max_retries=0) as sdk:
        first = await sdk.chat.completions.with_raw_response.create(model="openai/gpt-oss-120b", **FEW)
        assert first.headers["x-ratelimit-limit-requests"] == "200"  # of the day
        assert int(first.headers["x-ratelimit-remaining-tokens"]) < 8000  # of the minute
        with pytest.raises(GroqRateLimitError) as caught:
            await sdk.chat.completions.create(model="openai/gpt-oss-120b", **{**ASK, "max_tokens": 8000})
    error = caught.value.body["error"]
    assert "on tokens per minute (TPM): Limit 8000, Used " in error["message"]
    assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60


async def test_openrouter_counts_also_what_it_refuses(urls: Mapping[str, str]) -> None:
    async with AsyncOpenAI(base_url=urls["openrouter"], api_key="demo", max_retries=0) as sdk:
        ask = {"model": "openai/gpt-oss-20b:free", **FEW}
        for _ in range(20):
            await sdk.chat.completions.create(**ask)
        with pytest.raises(RateLimitError) as caught:
            await sdk.chat.completions.create(**ask)
    said = caught.value.body["metadata"]["headers"]
    assert caught.value.body["message"] == "Rate limit exceeded: free-models-per-min."
    assert (said["X-RateLimit-Limit"], said["X-RateLimit-Remaining"]) == ("20", "0")
    async with asyncio.timeout(10), AsyncOpenAI(base_url=urls["gemini"], api_key="demo") as sdk:
        record = await sdk.get("/../record", cast_to=object)
    assert record["openrouter"]["pools"]["requests per day"]["most"] == 21


async def test_google_says_in_the_body_which_quota(urls: Mapping[str, str]) -> None:
    options = types.HttpOptions(
        base_url=urls["gemini"].removesuffix("/v1beta"),
        api_version="v1beta",
        retry_options=types.HttpRetryOptions(attempts=1),
    )
    ask = {"model": "gemini-3.5-flash-lite", "contents": "Hello", "config": {"max_output_tokens": 100}}
    async with genai.Client(api_key="demo", http_options=options).aio as sdk:
        answer = await sdk.models.generate_content(**ask)
        assert answer.text.startswith("word ")
        parts = [part async for part in await sdk.models.generate_content_stream(**ask)]
        said = "".join(each.text or "" for each in parts)
        assert parts[-1].usage_metadata.candidates_token_count == len(said.split()) <= 100
        for _ in range(13):
            await sdk.models.generate_content(**ask)
        with pytest.raises(ClientError) as caught:
            await sdk.models.generate_content(**ask)
    assert caught.value.code == 429
    violation = caught.value.details["error"]["details"][0]["violations"][0]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert violation["quotaValue"] == "15"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_day_of_it_keeps_every_limit(tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    command = [ROOT / "scripts" / "demo-free-tiers", "--seconds", "60", "--picture", picture]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    words = "".join(ElementTree.parse(picture).getroot().itertext())
    assert words.count("never exceeded") == 7
    assert "exceeded" not in words.replace("never exceeded", "")
