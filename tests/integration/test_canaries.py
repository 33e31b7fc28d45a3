"""Canaries through every path: keys, prompts, tool arguments and upstream words are in no log, metric or error.

Each kind of backend is asked by way of the provider that stands in for it, each API and each fault at least once.
"""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from backends.fake import FakeBackend
from backends.registry import KINDS as EVERY
from tests.gateway import ROOT, Process, connected, process
from tests.providers.anthropic import Anthropic
from tests.providers.azure_openai import AzureOpenAI
from tests.providers.base import Fault, Provider, Refusal, Trouble
from tests.providers.bedrock import ACCESS, REGION, SECRET, Bedrock
from tests.providers.chat import Chat
from tests.providers.cohere import Cohere
from tests.providers.gemini import Gemini
from tests.providers.ollama import Ollama
from tests.providers.openai import OpenAI
from tests.providers.vertex import KEY as ACCOUNT_KEY
from tests.providers.vertex import LOCATION, PROJECT, Vertex

KEY, MINE, OURS = "sk-sl-canary-client-key", "sk-canary-callers-key", "sk-canary-upstream-key"
PROMPT, ARGUMENT, WORDS = "canary-prompt", "canary-argument", "canary-upstream-words"
TOKEN, ASSERTION = "ya29.token", "eyJ"  # how Google's access tokens begin, and what is signed to get one
PEM = ACCOUNT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().splitlines()
PRIVATE = PEM[len(PEM) // 2]
CANARIES = (KEY, MINE, OURS, PROMPT, ARGUMENT, WORDS, SECRET, TOKEN, ASSERTION, PRIVATE)
TALE = {"text": "so it went on " * 50, "tokens_per_second": 2000, "context": 4096, "models": ("gpt-fake",)}
FAULTS = [
    *get_args(Trouble),
    *(name for name in get_args(Refusal) if name != "bad_key"),
    "bad_key",
]  # the key goes last
TOOL = {"name": "look", "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}}
TURNS = [
    {"role": "user", "content": PROMPT},
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": json.dumps({"what": ARGUMENT})},
    {"type": "function_call_output", "call_id": "call_1", "output": f"{PROMPT}-result"},
]
APIS: dict[str, dict[str, Any]] = {
    "responses": {"input": TURNS, "tools": [{"type": "function", **TOOL}], "instructions": f"{PROMPT}-instructions"},
    "chat/completions": {
        "messages": [
            {"role": "user", "content": PROMPT},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "look", "arguments": json.dumps({"what": ARGUMENT})},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": f"{PROMPT}-result"},
        ],
        "tools": [{"type": "function", "function": TOOL}],
    },
    "completions": {"prompt": PROMPT},
    "messages": {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "system": f"{PROMPT}-system"},
    "messages/count_tokens": {"messages": [{"role": "user", "content": PROMPT}]},
    "embeddings": {"input": PROMPT},
}

Made = Callable[[FakeBackend], Provider]
KINDS: dict[str, Made] = {
    "openai_compatible": Chat,
    "openai": lambda behind: OpenAI(behind, keyed=True),
    "anthropic": Anthropic,
    "azure_openai": lambda behind: AzureOpenAI(behind, keyed=True),
    "bedrock": Bedrock,
    "cohere": Cohere,
    "gemini": Gemini,
    "ollama": Ollama,
    "vertex": Vertex,
    "vllm": Chat,
    "localai": Chat,
}
NAMES = ["up", *(f"up{number}" for number, _ in enumerate(FAULTS))]
SENT = {"vertex": TOKEN}  # of the gateway's own, where it is not the key


def poisoned(provider: Provider) -> Provider:
    """The same, whose key is a canary, and which says a canary in each refusal."""
    plain = provider.refusal

    def refusal(*arguments: Any) -> tuple[int, Any]:
        status, body = plain(*arguments)
        return status, said(body)

    provider.key = OURS  # type: ignore[misc]  # one of its own
    if isinstance(provider, Bedrock):
        provider.token = OURS
    provider.refusal = refusal  # type: ignore[method-assign]  # the same words, and one more
    return provider


def said(value: Any) -> Any:
    """`value` with the canary behind each of its sentences."""
    match value:
        case dict():
            return {name: said(each) for name, each in value.items()}
        case list():
            return [said(each) for each in value]
        case str() if " " in value:
            return f"{value} {WORDS} {PROMPT} {OURS}"
    return value


def configured(kind: str, provider: Provider, folder: Path) -> str:
    """A backend with keys of each source, and one for each fault, which rests after it. Nothing is tried twice."""
    (folder / "keys").write_text(f"{OURS}\n")
    keys = f'api_key = "${{CANARY_OURS}}"\napi_key_file = "{folder}/keys"'
    if isinstance(provider, Bedrock):
        credentials = f'access_key_id = "{ACCESS}"\nsecret_access_key = "{SECRET}"\nsession_token = "${{CANARY_OURS}}"'
        keys = f'region = "{REGION}"\n{credentials}'
    if isinstance(provider, Vertex):
        (folder / "account.json").write_bytes(provider.credentials())
        keys = f'project = "{PROJECT}"\nlocation = "{LOCATION}"\ncredentials_file = "{folder}/account.json"'
    backends = [
        f'''
[[backends]]
name = "{name}"
kind = "{kind}"
base_url = "{provider.url}"
models = ["gpt-fake"]
key_source = "hybrid"
{keys}
'''
        for name in NAMES
    ]
    return f"""
log.level = "debug"
deadlines.retry = 0.001
deadlines.idle = 0.3
deadlines.first_event = 2
server.api_keys = ["${{CANARY_KEY}}"]
health.failures = 1000
health.error_share = 1
{"".join(backends)}
"""


async def fails(started: Process, provider: Provider, headers: dict[str, str]) -> str:
    """Every fault on a socket, with both keys: what the errors say."""
    told = ""
    async with connected(started.base_url, additional_headers=headers) as client:
        for backend, name in zip(NAMES[1:], FAULTS, strict=True):
            provider.faults.append(Fault(name, at=2, seconds=0.6 if name == "stall" else 0.0))
            await client.send(
                {
                    "type": "response.create",
                    "model": f"{backend}/gpt-fake",
                    "max_output_tokens": 16,
                    **APIS["responses"],
                }
            )
            ended = (await client.until())[-1]
            told += json.dumps(ended.get("error") or ended["response"]["error"])
            provider.faults.clear()
        for frame in (
            f'{{"type": "{PROMPT}',
            json.dumps({"type": "response.create", "model": "nope", "input": PROMPT}),
        ):
            await client.connection.send(frame)
            told += json.dumps(await client.until("error"))
    return told


async def asked(started: Process, provider: Provider, headers: dict[str, str]) -> str:
    """Each API, whole and streamed, well and refused: the bodies of those that failed."""
    told = ""
    async with aiohttp.ClientSession(headers=headers) as session:
        for path, body in APIS.items():
            for stream, fault in ((False, None), (True, None), (False, "server_error"), (True, "server_error")):
                if fault:
                    provider.faults.append(Fault("server_error"))
                sent = {"model": "up/gpt-fake", **body} | ({"stream": True} if stream and path in STREAMED else {})
                async with session.post(f"{started.base_url}/{path}", json=sent) as answered:
                    text = await answered.text()
                    told += "" if answered.status == 200 else text
                provider.faults.clear()
        async with session.get(f"{started.base_url}/models?key={KEY}") as answered:
            told += await answered.text()
    return told


STREAMED = ("responses", "chat/completions", "completions", "messages")


async def leaves(started: Process, headers: dict[str, str]) -> None:
    """A cancel, a client that goes away, and one that comes back to its session."""
    session = "?sl_session=0123456789abcdef0123"
    async with connected(started.base_url, additional_headers=headers) as client:
        await client.create("up/gpt-fake", PROMPT)
        await client.until("response.output_text.delta", "response.failed")
        await client.send({"type": "response.cancel"})
        await client.until()
        await client.create("up/gpt-fake", PROMPT)
        await client.until("response.created")
    for _ in range(2):
        async with connected(started.base_url, session, additional_headers=headers) as client:
            await client.create("up/gpt-fake", PROMPT)
            await client.until("response.created")


async def operators(port: int, headers: dict[str, str]) -> str:
    """What the second listener shows."""
    told = ""
    async with aiohttp.ClientSession(headers=headers) as session:
        for path in ("metrics", "health"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answered:
                assert answered.status in (200, 503)
                told += await answered.text()
    return told


async def doctor(file: Path, environ: dict[str, str]) -> str:
    """What the examination prints."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "doctor", "--config", str(file), cwd=ROOT, env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await child.communicate()
    return out.decode()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_no_kind_over_the_network_is_forgotten() -> None:
    assert {*KINDS} == {*EVERY} - {"fake", "llama_cpp"}


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_that_is_secret_is_logged_shown_or_told(kind: str, tmp_path: Path) -> None:
    async with poisoned(KINDS[kind](FakeBackend("behind", **TALE))) as provider:
        text = configured(kind, provider, tmp_path)
        (tmp_path / "streamlane.toml").write_text(text)
        port = free_port()
        environ = {"CANARY_KEY": KEY, "CANARY_OURS": OURS, "STREAMLANE_OPS_PORT": f"{port}"}
        ours = {"Authorization": f"Bearer {KEY}"}
        mine = {f"X-Streamlane-Key-{name}": MINE for name in NAMES} | {"X-Request-Id": f"id-{MINE}"}
        async with process(text, **environ) as started:
            told = ""
            await leaves(started, ours)
            for headers in (ours, ours | mine):
                provider.key = MINE if "X-Streamlane-Key-up" in headers else OURS  # type: ignore[misc]  # one of its own
                told += await asked(started, provider, headers)
                told += await fails(started, provider, headers)
                told += await operators(port, ours)
            shown = await doctor(tmp_path / "streamlane.toml", environ | {"STREAMLANE_DATA_DIR": f"{tmp_path}/data"})
            started.process.terminate()
            await started.process.wait()
            log = started.stderr
    sent = str([seen.headers for seen in provider.seen])
    assert SENT.get(kind, OURS) in sent
    assert MINE in sent
    assert PROMPT in str([seen.body for seen in provider.seen])
    assert "up" in shown
    assert "streamlane_requests_total" in told
    assert len([line for line in log.splitlines() if '"event":"request"' in line]) > 2 * len(FAULTS)
    for name, where in (("log", log), ("told", told), ("doctor", shown)):
        assert [canary for canary in CANARIES if canary in where] == [], name
