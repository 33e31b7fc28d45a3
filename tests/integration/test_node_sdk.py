"""The official OpenAI SDK for Node, unmodified, talks to a gateway."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway import Gateway, gateway
from tests.models import models_dir

pytestmark = pytest.mark.needs("node")

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8765/v1"
CLIENT = Path(__file__).parent / "node" / "responses.mjs"
TEXT = "Grüße, 世界! 👋 " * 20 + "The end."
CONFIG = f"""
[[backends]]
kind = "fake"
name = "fake"
text = "{TEXT}"
"""


@pytest.mark.model
async def test_the_readmes_examples_answer_with_the_real_model(tmp_path: Path) -> None:
    """As they stand there, but for the address; Node finds its packages beside the file."""
    python, node = (readme_block(language) for language in ("python", "js"))
    script = CLIENT.parent / "readme.tmp.mjs"
    model = models_dir() / "smollm2.gguf"
    try:
        async with gateway(f'[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{model}"') as running:
            (tmp_path / "ask.py").write_text(python.replace(ADDRESS, running.base_url))
            script.write_text(node.replace(ADDRESS, running.base_url))
            for command in ([sys.executable, str(tmp_path / "ask.py")], ["node", str(script)]):
                client = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
                out, err = await client.communicate()
                assert (client.returncode, err) == (0, b"")
                assert b"Paris" in out
    finally:
        script.unlink(missing_ok=True)


def readme_block(language: str) -> str:
    """The first example in that language."""
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert ADDRESS in found.group(1)
    return found.group(1)


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(CONFIG) as running:
        yield running


async def ask(running: Gateway, model: str) -> tuple[int | None, str, str]:
    client = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), running.base_url, model, "Say something.", stdout=PIPE, stderr=PIPE
    )
    out, err = await client.communicate()
    return client.returncode, out.decode(), err.decode()


async def test_it_streams_an_answer(running: Gateway) -> None:
    assert await ask(running, "fake") == (0, TEXT, "")


async def test_it_understands_a_refusal(running: Gateway) -> None:
    status, said, complaint = await ask(running, "no-such-model")
    assert (status, said) == (1, "")
    assert "no-such-model" in complaint
