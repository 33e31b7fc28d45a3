"""The official OpenAI SDK for Node, unmodified, asks the Responses API over HTTP."""

import asyncio
import json
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.gateway import gateway

CLIENT = Path(__file__).parent / "node" / "responses_http.mjs"
SAID = "Grüße, 世界! The end."
CONFIG = f"""
[[backends]]
kind = "fake"
name = "f"
models = ["fake"]
text = "{SAID}"
[[backends]]
kind = "fake"
name = "s"
models = ["slow"]
first_token_delay = 60
"""


@pytest.mark.needs("node")
async def test_every_call_of_the_responses_api() -> None:
    async with gateway(CONFIG) as running:
        child = await asyncio.create_subprocess_exec("node", CLIENT, running.base_url, "fake", stdout=PIPE, stderr=PIPE)
        out, err = await child.communicate()
    assert (child.returncode, err.decode()) == (0, "")
    assert json.loads(out) == {
        "create": SAID,
        "stream": SAID,
        "helper": SAID,
        "retrieve": SAID,
        "again": SAID,
        "items": ["hi"],
        "cancelled": "completed",
        "continued": SAID,
        "parsed": {"city": "word"},
        "background": "in_progress",
        "stopped": "cancelled",
        "refusals": [[404, "response_not_found", True], [404, "model_not_found", True]],
    }
