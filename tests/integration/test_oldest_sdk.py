"""The oldest OpenAI SDK for Python that knows the Responses API, in an environment of its own, asks it over HTTP."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.gateway import answers, gateway
from tests.models import cache_dir

OLDEST = "1.66.0"
ASK = """
import json, sys
from openai import NotFoundError, OpenAI

client = OpenAI(base_url=sys.argv[1], api_key="unused", max_retries=0)
whole = client.responses.create(model="fake", input="hi")
stream = client.responses.create(model="fake", input="hi", stream=True)
events = list(stream)
found = {
    "whole": whole.output_text,
    "streamed": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
    "end": events[-1].type,
    "retrieved": client.responses.retrieve(whole.id).output_text,
    "items": [item.content[0].text for item in client.responses.input_items.list(whole.id)],
}
client.responses.delete(whole.id)
try:
    client.responses.retrieve(whole.id)
except NotFoundError as error:
    found["gone"] = error.code
print(json.dumps(found))
"""


def python_with_the_oldest_sdk() -> Path:
    """An interpreter that has it, made once and kept in the cache."""
    kept = cache_dir() / f"openai-{OLDEST}-{sys.version_info.major}.{sys.version_info.minor}"
    program = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / "venv"
            subprocess.run([sys.executable, "-m", "venv", made], check=True)
            subprocess.run([made / program, "-m", "pip", "install", "--quiet", f"openai=={OLDEST}"], check=True)
            shutil.move(made, kept)  # whole, or not at all
    return kept / program


@pytest.mark.slow
async def test_every_call_that_it_knows() -> None:
    python = await asyncio.to_thread(python_with_the_oldest_sdk)
    async with gateway(backends=[answers()]) as running:
        child = await asyncio.create_subprocess_exec(python, "-c", ASK, running.base_url, stdout=PIPE, stderr=PIPE)
        out, err = await child.communicate()
    assert child.returncode == 0, err.decode()
    assert json.loads(out) == {
        "whole": "Hello wörld",
        "streamed": "Hello wörld",
        "end": "response.completed",
        "retrieved": "Hello wörld",
        "items": ["hi"],
        "gone": "response_not_found",
    }
