"""Canaries: a prompt, a key and an upstream's words go through every path, and stand in no log, error or listing."""

import asyncio
import json

import aiohttp

from tests.gateway import connected, process
from tests.upstream import SSE_HEAD, Upstream, chunk, message, plain

KEY, UPSTREAM_KEY = "sk-sl-canary-client-key", "canary-upstream-key"
PROMPT, ANSWER, WORDS = "canary-prompt", "canary-answer", "canary-upstream-words"
SCRIPTS = [  # each for a model of its own: one that failed rests, and the others are asked
    plain(400, {"error": {"message": f"{WORDS} {PROMPT}", "param": "temperature"}}),
    plain(500, f"{WORDS}".encode()),
    plain(500, f"{WORDS}".encode()),  # asked again: the one repeat that so few requests may have
    plain(429, {"error": {"message": WORDS}}, "retry-after: 3"),
    [SSE_HEAD, chunk(message({"error": {"message": f"{WORDS} {PROMPT}"}}))],
    [SSE_HEAD, chunk(message(f"{{{WORDS}".encode()))],
    plain(200, {"choices": [{"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}]}),
    plain(401, {"error": {"message": f"{WORDS} {UPSTREAM_KEY}"}}),  # the last: this key is not used again
]
CODES = [
    "backend_refused_request",
    "backend_failed",
    "rate_limit_exceeded",
    "backend_failed",
    "backend_protocol_error",
    None,
    "backend_authentication_failed",
]
MODELS = [f"m{number}" for number in range(len(CODES))]
RESTING = ["m2", "m6", "resting"]  # who asks for these hears why the gateway does not ask now


async def test_no_secret_prompt_answer_or_upstream_word_is_logged_or_told() -> None:
    async with Upstream(*SCRIPTS) as upstream:
        text = f"""
log.level = "debug"
server.api_keys = ["${{CANARY_KEY}}"]
[[backends]]
name = "up"
kind = "openai_compatible"
base_url = "{upstream.url}"
api_key = "${{CANARY_UPSTREAM}}"
models = {MODELS}
[models.resting]
targets = ["up/m2", "up/m6"]
"""
        told = ""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with process(text, CANARY_KEY=KEY, CANARY_UPSTREAM=UPSTREAM_KEY) as started:
            async with connected(started.base_url, additional_headers=headers) as socket:
                for model in MODELS + RESTING:
                    await socket.create(model, PROMPT, instructions=f"{PROMPT}-instructions")
                    ended = (await socket.until())[-1]
                    told += json.dumps(ended["response"]["error"])
                await socket.connection.send(f'{{"type": "{PROMPT}')
                told += json.dumps(await socket.until("error"))
                await socket.create("nope", PROMPT)
                told += json.dumps(await socket.until("error"))
            async with aiohttp.ClientSession() as session:
                url = f"{started.base_url}/models?key={KEY}"
                for given in ({}, {"Authorization": f"Bearer {KEY}x"}, headers):
                    async with session.get(url, headers=given) as answer:
                        told += await answer.text()
            host, port = started.base_url.split("/")[2].split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\x01\r\n\r\n".encode())
            assert b" 400 " in await reader.readline()
            writer.close()
            started.process.terminate()
            await started.process.wait()
            log = started.stderr
    assert len(upstream.requests) == len(SCRIPTS)
    assert all(seen.headers["authorization"] == f"Bearer {UPSTREAM_KEY}" for seen in upstream.requests)
    for canary in (KEY, UPSTREAM_KEY, PROMPT, ANSWER, WORDS):
        assert canary not in log
        assert canary not in told
    codes = [line["error"] for line in map(json.loads, log.splitlines()) if line["event"] == "request"]
    assert codes[: len(CODES)] == CODES
    assert len(codes) == len(CODES) + len(RESTING)
    assert None not in codes[len(CODES) :], "they were asked for in vain"
    assert all(line["request_id"] for line in map(json.loads, log.splitlines()) if line["event"] == "request")
